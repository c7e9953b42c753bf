"""Existing kind clusters: their owner, whether they are healthy and in use, and the removal of those of a dead owner.

A cluster is identified by the networks of its zones. They are created first and removed last, and their labels name the owner,
the configuration, and whether the cluster is kept. A kind cluster of the same name without them is not touched.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, LABEL_CONFIGURATION, LABEL_KEEP, LABEL_OWNER, Docker, is_owner_alive
from clusters.kind.programs import KindNodes
from clusters.kind.removal import remove_containers, remove_networks
from clusters.kind.router import CloudNetwork, find_device
from clusters.kind.spec import KindPlan
from hitless.errors import UsageError, WorldError


def find_standing(docker: Docker, nodes: KindNodes, plan: KindPlan) -> bool:
    """Return whether a cluster of this name, or a part of one, exists and was made by hitless.

    Raises:
        UsageError: a kind cluster of this name is there, and hitless has not made it.
    """
    networks = docker.find_networks(f"{LABEL_CLUSTER}={plan.name}")
    if nodes.exists() and not networks:
        raise UsageError(
            where="--cluster-name",
            problem=f"hitless did not create the kind cluster {plan.name}; use another name, or delete it: "
            f"kind delete cluster --name {plan.name}",
        )
    return bool(networks)


def find_defect(docker: Docker, network: CloudNetwork, plan: KindPlan, configuration: str) -> str | None:
    """Return why a cluster that hitless made cannot be reused; None: docker shows no defect."""
    labels = [docker.network_labels(name) for name in docker.find_networks(f"{LABEL_CLUSTER}={plan.name}")]
    if len(labels) != len(plan.zones) or any(one.get(LABEL_CONFIGURATION) != configuration for one in labels):
        return "it was created from another configuration"
    if any(one.get(LABEL_KEEP) != "yes" for one in labels):
        return "it is left over from a run that was killed"
    if not network.is_present():
        return "its router is not running or has lost its route tables"
    return _find_node_defect(docker, network, plan)


def _find_node_defect(docker: Docker, network: CloudNetwork, plan: KindPlan) -> str | None:
    present = set(docker.find_containers(f"{KIND_LABEL}={plan.name}"))
    wanted = {node.name for node in plan.nodes}
    if present != wanted:
        return f"its nodes are {', '.join(sorted(present)) or 'gone'}, not {', '.join(sorted(wanted))}"
    for node in plan.nodes:
        if not docker.is_running(node.name):
            return f"its node {node.name} is not running"
        try:
            find_device(network.interfaces(node.name), node.address, node.name)
        except WorldError as error:
            return str(error)
    return None


def remove_cluster(docker: Docker, name: str) -> None:
    """Remove nodes, router and networks of a cluster that hitless made; what is already gone is no error. Raises WorldError."""
    label = f"{LABEL_CLUSTER}={name}"
    containers = (*docker.find_containers(f"{KIND_LABEL}={name}"), *docker.find_containers(label))
    try:
        remove_containers(docker, containers)
    finally:
        remove_networks(docker, docker.find_networks(label))


def clean_clusters(docker: Docker) -> tuple[str, ...]:
    """Remove clusters whose owner is dead, unless they are kept, and the remains of kept ones without nodes.

    Returns:
        The names of the clusters that were removed.
    """
    removed = []
    networks = docker.find_networks(LABEL_CLUSTER)
    labels = [docker.network_labels(network) for network in networks]
    for name in sorted({one[LABEL_CLUSTER] for one in labels}):
        mine = [one for one in labels if one[LABEL_CLUSTER] == name]
        is_kept = any(one.get(LABEL_KEEP) == "yes" for one in mine) and docker.find_containers(f"{KIND_LABEL}={name}")
        if not is_kept and not any(is_owner_alive(one.get(LABEL_OWNER, "")) for one in mine):
            remove_cluster(docker, name)
            removed.append(name)
    return tuple(removed)


@contextmanager
def in_use(name: str) -> Iterator[None]:
    """Keep other processes of this machine from using a cluster. Raises WorldError if one does."""
    directory = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = directory / f"hitless-kind-{name}.lock"
    refusal = f"the cluster {name} is in use by another process; use another --cluster-name"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorldError(refusal) from error
        # Its last owner removes the file under the lock; a process that opened it just before locks a deleted file.
        if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
            raise WorldError(refusal)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)

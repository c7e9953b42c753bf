"""Existing kind clusters: their owner, whether they are healthy and in use, and the removal of those of a dead owner.

A cluster is identified by the networks of its zones. They are created first and removed last, and their labels name the owner,
the configuration, and whether the cluster is kept. A kind cluster of the same name without them is not touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, LABEL_CONFIGURATION, LABEL_KEEP, LABEL_OWNER, Docker, is_owner_alive
from clusters.kind.programs import KindNodes
from clusters.kind.router import CloudNetwork, find_device
from clusters.kind.spec import KindPlan
from hitless.clock import wait_until
from hitless.errors import UsageError, WorldError
from hitless.plural import plural
from hitless.ports import Clock

GONE_S: Final = 15.0
"""How long an engine may take to forget the endpoints of removed containers. Chosen here: under load it takes a second or
two."""
_POLL_S: Final = 0.5
_IN_USE: Final = re.compile(r"has (\d+ )?active endpoint")
"""Source: libnetwork error.go, ActiveEndpointsError; with a number from engine 28.1 on (moby pull request 49773)."""
_GONE: Final = ("no such network", "not found", "no such container", "is already in progress")
"""In lower case; the last one is for a container that another client is removing. Source: moby daemon/{network,delete}.go."""


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


def remove_containers(docker: Docker, names: Sequence[str]) -> None:
    """End and remove containers with their volumes, one after the other; a missing container is no error.

    `docker rm A B C` removes them at the same time, and engines before 28.1 keep the number of a network's endpoints in a
    record that they change without a lock. If several decrements happen at once, one can be lost; the network then "has active
    endpoints" that are not listed, until the engine restarts. Source: libnetwork endpoint_cnt.go (atomicIncDecEpCnt) and
    store.go (getNetworksFromStore), as in engine 20.10; moby issue 42119 and pull request 49736.

    Raises:
        WorldError: some could not be removed; the others were.
    """
    refusals = []
    for name in names:
        try:
            docker.run("rm", "--force", "--volumes", name)
        except WorldError as error:
            if not _is_gone(error):
                refusals.append(f"{name}: {error}")
    if refusals:
        raise WorldError(f"cannot remove {len(refusals)} of {plural(len(names), 'container')}: {'; '.join(refusals)}")


def remove_networks(docker: Docker, names: Sequence[str], clock: Clock | None = None) -> None:
    """Disconnect all containers from networks and remove the networks; a missing network is no error.

    Raises:
        WorldError: some are still there after `GONE_S`, or the engine refused; it names what holds them. The others are gone.
    """
    refusals = []
    for name in names:
        try:
            _remove_network(docker, name, clock)
        except WorldError as error:
            refusals.append(str(error))
    if refusals:
        raise WorldError("; ".join(refusals))


def _remove_network(docker: Docker, name: str, clock: Clock | None) -> None:
    holders: tuple[str, ...] = ()

    def is_removed() -> bool:
        nonlocal holders
        try:
            docker.run("network", "rm", name)
        except WorldError as error:
            if _is_gone(error):
                return True
            if _IN_USE.search(str(error)) is None:
                raise
        else:
            return True
        holders = _find_holders(docker, name)
        for holder in holders:
            # One that disappeared meanwhile is no error; the others are checked again.
            with contextlib.suppress(WorldError):
                docker.run("network", "disconnect", "--force", name, holder)
        return False

    unmet = f"the network {name} cannot be removed"
    wait_until(is_removed, timeout_s=GONE_S, poll_s=_POLL_S, unmet=unmet, describe=lambda: _describe(holders), clock=clock)


def _is_gone(error: WorldError) -> bool:
    return any(words in str(error).lower() for words in _GONE)


def _find_holders(docker: Docker, network: str) -> tuple[str, ...]:
    """Return the names of a network's endpoints: the names of their containers, even if these no longer exist."""
    try:
        found = json.loads(docker.run("network", "inspect", "--format", "{{json .Containers}}", network)) or {}
    except WorldError:
        return ()  # it has gone in between; the next attempt notices
    return tuple(sorted(entry["Name"] for entry in found.values()))


def _describe(holders: Sequence[str]) -> str:
    if holders:
        return f"still connected after the disconnect: {', '.join(holders)}"
    return "it has no container, but the engine still counts an endpoint; restart the docker engine"

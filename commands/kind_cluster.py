"""`hitless kind up`, `status`, `exec` and `down`: a cluster with Calico to look around in, without a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker, find_docker
from clusters.kind.kept import in_use, remove_cluster
from clusters.kind.status import read_status
from commands.settings import BackendName, Outcome
from commands.terminal import print_table
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, UsageError
from hitless.words import Overlay, Profile
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Options, make_case

ClusterName = Annotated[str, typer.Option("--cluster-name", help="Name of the kind cluster.")]


def up(  # noqa: PLR0913 - each is an option
    *,
    cluster_name: ClusterName = DEFAULT_CLUSTER_NAME,
    scenario: Annotated[str, typer.Option(help="Whose Shoot and start mode: a scenario, or a YAML file.")] = "plain-switch",
    overlay: Annotated[Overlay | None, typer.Option(help="Encapsulation; default: the scenario's.")] = None,
    zones: Annotated[int | None, typer.Option(help="Number of zones; default: the scenario's.")] = None,
    nodes_per_zone: Annotated[int | None, typer.Option(help="Nodes a zone; default: the scenario's.")] = None,
    calico_version: Annotated[str | None, typer.Option(help="Calico's tag; default: the extension's.")] = None,
    kind_bin: Annotated[Path | None, typer.Option(help="kind; default: from PATH.")] = None,
    kind_kubectl_bin: Annotated[Path | None, typer.Option(help="kubectl; default: from PATH.")] = None,
    kind_image: Annotated[str | None, typer.Option(help="Node image; default: the pinned one.")] = None,
) -> None:
    """Bring up a cluster with Calico that stays up.

    `hitless compare --keep-cluster` and the suites use it again.
    """
    from commands.backends import make_backend  # noqa: PLC0415 - a Kubernetes client takes its time

    options = Options(
        profile=Profile.GARDENER, overlay=overlay, zones=zones, nodes_per_zone=nodes_per_zone, calico_version=calico_version
    )
    case = make_case(load_scenario(find_scenario(scenario)), options)
    backend = make_backend(
        BackendName.KIND,
        KindOptions(cluster_name=cluster_name, kind_bin=kind_bin, kubectl_bin=kind_kubectl_bin, image=kind_image, keep=True),
    )
    missing = backend.find_missing(case)
    if missing:
        raise MissingCapabilityError(f"this machine lacks {', '.join(missing)}; run `hitless doctor` to see how to get it")
    cluster = backend.make_cluster(case, RunClock())
    try:
        cluster.up()
    finally:
        cluster.down()
    status(cluster_name=cluster_name)
    sys.stdout.write(f"kubeconfig: {Path.cwd() / '.pytest-kind' / cluster_name / 'kubeconfig'}\n")


def status(*, cluster_name: ClusterName = DEFAULT_CLUSTER_NAME) -> None:
    """Show the containers, nodes and Calico of a cluster."""
    docker = find_cluster(cluster_name)
    rows = [(one.name, one.state) for one in read_status(docker, cluster_name)]
    print_table(f"The kind cluster {cluster_name}", ("container", "state"), rows, has_numbers=False)


def run_in_node(
    container: Annotated[str, typer.Argument(help="A node or the router, such as worker or router; `hitless kind status`.")],
    command: Annotated[list[str], typer.Argument(help="What to run there, such as ip route; after -- if it has options.")],
    *,
    cluster_name: ClusterName = DEFAULT_CLUSTER_NAME,
) -> None:
    """Run a command in a node or in the router.

    The exit code is the command's.
    """
    docker = find_cluster(cluster_name)
    labels = (f"{KIND_LABEL}={cluster_name}", f"{LABEL_CLUSTER}={cluster_name}")
    present = {name for label in labels for name in docker.find_containers(label)}
    name = next((one for one in (container, f"{cluster_name}-{container}") if one in present), None)
    if name is None:
        allowed = ", ".join(sorted(one.removeprefix(f"{cluster_name}-") for one in present))
        raise UsageError(where="NODE", found=container, expected=allowed or "nothing: the cluster has no containers")
    terminal = ("--tty",) if sys.stdin.isatty() and sys.stdout.isatty() else ()
    sys.stdout.flush()
    raise Outcome(docker.hand_over("exec", "--interactive", *terminal, name, *command))


def down(*, cluster_name: ClusterName = DEFAULT_CLUSTER_NAME) -> None:
    """Remove a cluster that was kept: nodes, router and zones."""
    docker = find_cluster(cluster_name)
    with in_use(cluster_name):
        remove_cluster(docker, cluster_name)
    sys.stdout.write(f"{cluster_name} is down\n")


def find_cluster(name: str) -> Docker:
    """Return the engine that has a cluster. Raises UsageError: it has none of this name."""
    docker = find_docker()
    docker.version()
    if not docker.find_networks(f"{LABEL_CLUSTER}={name}"):
        names = {docker.network_labels(network)[LABEL_CLUSTER] for network in docker.find_networks(LABEL_CLUSTER)}
        raise UsageError(
            where="--cluster-name", found=name, expected=", ".join(sorted(names)) or "nothing: hitless has no kind cluster here"
        )
    return docker

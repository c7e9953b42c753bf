"""`hitless kind`: images, clusters with Calico for manual use, and their part of `hitless clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker, find_docker
from clusters.kind.images import describe_remedy, list_images, load_archive, save_archive
from clusters.kind.kept import clean_clusters, in_use, remove_cluster
from clusters.kind.status import read_status
from clusters.kind.versions import CALICO_IMAGES, LOCAL_IMAGES, NODE_IMAGES, find_node_image
from commands import options
from commands.options import BackendName, Outcome
from commands.terminal import print_table
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, UsageError, WorldError
from hitless.plural import plural
from hitless.words import Profile
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Options, make_case

EXIT_MISSING: Final = 20

app = typer.Typer(help="Start, inspect and remove kind clusters and their images.", no_args_is_help=True)


@app.command()
def images(
    *,
    load: Annotated[list[Path] | None, typer.Option(help="Load this `docker save` archive first; may be repeated.")] = None,
    kubernetes: Annotated[str | None, typer.Option(help="Only the node image of this version, such as 1.36.")] = None,
    cluster_name: Annotated[
        str | None, typer.Option(help="Also copy the images that are present into the nodes of this cluster.")
    ] = None,
    kind_bin: options.KindBin = None,
    names: Annotated[
        bool, typer.Option("--names", help="Only print the images to pull, one per line; needs no docker.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the images that are present into this archive, for --load on another machine.")
    ] = None,
) -> None:
    """List the pinned images of a kind cluster.

    Says which are present; the exit code is 20 if one is missing.
    """
    nodes = tuple(NODE_IMAGES.values()) if kubernetes is None else (find_node_image(_parse_version(kubernetes)),)
    if names:
        sys.stdout.writelines(f"{image.reference}\n" for image in (*nodes, *CALICO_IMAGES))
        return
    docker = find_docker()
    docker.version()
    for archive in load or ():
        for name in load_archive(docker, archive):
            sys.stdout.write(f"loaded {name}\n")
    states = list_images(docker, nodes)
    print_table(
        "Images of a kind cluster",
        ("here", "image", "purpose, or how to get it"),
        (
            ("yes", image.reference, image.purpose if "@" in reference else f"{image.purpose}; by its tag")
            if reference is not None
            else ("no", image.reference, f"{image.purpose}\n{describe_remedy(image)}")
            for image, reference in states.items()
        ),
        has_numbers=False,
    )
    if save is not None:
        sys.stdout.writelines(f"saved {name}\n" for name in save_archive(docker, states, save))
    if cluster_name is not None:
        _load_into(cluster_name, kind_bin, [one for one in states.values() if one is not None])
    missing = [image.name for image, reference in states.items() if reference is None]
    # hitless builds the router's image, and one node image is enough.
    vital = {image.name for image in (*CALICO_IMAGES, *LOCAL_IMAGES)} - {LOCAL_IMAGES[0].name}
    has_node = any(states[node] is not None for node in nodes)
    raise typer.Exit(0 if has_node and not vital & set(missing) else EXIT_MISSING)


@app.command()
def up(  # noqa: PLR0913 - each is an option
    *,
    cluster_name: options.ClusterName = DEFAULT_CLUSTER_NAME,
    scenario: options.ScenarioName = "plain-switch",
    overlay: options.OverlayName = None,
    zones: options.Zones = None,
    nodes_per_zone: options.NodesPerZone = None,
    calico_version: options.CalicoVersion = None,
    kind_bin: options.KindBin = None,
    kind_kubectl_bin: options.KubectlBin = None,
    kind_image: options.NodeImage = None,
) -> None:
    """Bring up a cluster with Calico that stays up.

    It has the scenario's Shoot and start mode. `hitless compare --keep-cluster` and the suites use it again.
    """
    from commands.backends import make_backend  # noqa: PLC0415 - a Kubernetes client takes its time

    changes = Options(
        profile=Profile.GARDENER, overlay=overlay, zones=zones, nodes_per_zone=nodes_per_zone, calico_version=calico_version
    )
    case = make_case(load_scenario(find_scenario(scenario)), changes)
    backend = make_backend(
        BackendName.KIND,
        KindOptions(cluster_name=cluster_name, kind_bin=kind_bin, kubectl_bin=kind_kubectl_bin, image=kind_image, keep=True),
    )
    missing = backend.find_missing(case)
    if missing:
        raise MissingCapabilityError(f"this machine lacks {', '.join(missing)}; run `hitless doctor` to see how to install it")
    cluster = backend.make_cluster(case, RunClock())
    try:
        cluster.up()
    finally:
        cluster.down()
    status(cluster_name=cluster_name)
    sys.stdout.write(f"kubeconfig: {Path.cwd() / '.pytest-kind' / cluster_name / 'kubeconfig'}\n")


@app.command()
def status(*, cluster_name: options.ClusterName = DEFAULT_CLUSTER_NAME) -> None:
    """Show the containers, nodes and Calico of a cluster."""
    docker = _find_cluster(cluster_name)
    rows = list(read_status(docker, cluster_name).items())
    print_table(f"The kind cluster {cluster_name}", ("container", "state"), rows, has_numbers=False)


@app.command(name="exec")
def run_in_node(
    container: Annotated[
        str, typer.Argument(help="Node or router, such as worker or router; `hitless kind status` lists them.")
    ],
    command: Annotated[list[str], typer.Argument(help="Command to run, such as ip route; after -- if it has options.")],
    *,
    cluster_name: options.ClusterName = DEFAULT_CLUSTER_NAME,
) -> None:
    """Run a command in a node or in the router.

    The exit code is the command's.
    """
    docker = _find_cluster(cluster_name)
    labels = (f"{KIND_LABEL}={cluster_name}", f"{LABEL_CLUSTER}={cluster_name}")
    present = {name for label in labels for name in docker.find_containers(label)}
    name = next((one for one in (container, f"{cluster_name}-{container}") if one in present), None)
    if name is None:
        allowed = ", ".join(sorted(one.removeprefix(f"{cluster_name}-") for one in present))
        raise UsageError(where="NODE", found=container, expected=allowed or "nothing: the cluster has no containers")
    terminal = ("--tty",) if sys.stdin.isatty() and sys.stdout.isatty() else ()
    sys.stdout.flush()
    raise Outcome(docker.hand_over("exec", "--interactive", *terminal, name, *command))


@app.command()
def down(*, cluster_name: options.ClusterName = DEFAULT_CLUSTER_NAME) -> None:
    """Remove a cluster that was kept: nodes, router and zones."""
    docker = _find_cluster(cluster_name)
    with in_use(cluster_name):
        remove_cluster(docker, cluster_name)
    sys.stdout.write(f"{cluster_name} is down\n")


def clean_up() -> None:
    """Remove kind clusters whose owner has ended; without docker there are none."""
    try:
        docker = find_docker()
        docker.version()
    except MissingCapabilityError:
        return
    for name in clean_clusters(docker):
        sys.stdout.write(f"removed the kind cluster {name}, whose owner has ended\n")


def _load_into(cluster: str, kind_bin: Path | None, references: list[str]) -> None:
    """Copy images into a cluster's nodes; those of nodes themselves and the router's do not belong there."""
    from clusters.kind.programs import load_images  # noqa: PLC0415 - pytest-kind takes its time

    skipped = {image.name for image in NODE_IMAGES.values()} | {LOCAL_IMAGES[0].name}
    wanted = [reference for reference in references if reference.partition("@")[0] not in skipped]
    _find_cluster(cluster)
    if not wanted:
        raise WorldError("Docker has none of the images to copy into the nodes; `hitless kind images` explains how to get them")
    load_images(kind_bin, cluster, wanted)
    sys.stdout.write(f"copied {plural(len(wanted), 'image')} into the nodes of {cluster}\n")


def _parse_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise UsageError(where="--kubernetes", found=repr(text), expected="major and minor version, such as 1.36")
    return int(major), int(minor)


def _find_cluster(name: str) -> Docker:
    """Return the engine that has a cluster. Raises UsageError: it has none of this name."""
    docker = find_docker()
    docker.version()
    if not docker.find_networks(f"{LABEL_CLUSTER}={name}"):
        names = {docker.network_labels(network)[LABEL_CLUSTER] for network in docker.find_networks(LABEL_CLUSTER)}
        raise UsageError(
            where="--cluster-name", found=name, expected=", ".join(sorted(names)) or "nothing: hitless has no kind cluster here"
        )
    return docker

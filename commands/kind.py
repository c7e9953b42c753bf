"""`hitless kind`: images of kind clusters, the commands of `kind_cluster`, and the part of `hitless clean` that is theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from clusters.kind.docker import find_docker
from clusters.kind.images import describe_remedy, list_images, load_archive, save_archive
from clusters.kind.kept import clean_clusters
from clusters.kind.versions import CALICO_IMAGES, LOCAL_IMAGES, NODE_IMAGES, find_node_image
from commands import kind_cluster
from commands.terminal import print_table
from hitless.errors import MissingCapabilityError, UsageError, WorldError
from hitless.plural import plural

EXIT_MISSING: Final = 20

app = typer.Typer(help="Start, inspect and remove kind clusters and their images.", no_args_is_help=True)


@app.command()
def images(
    *,
    load: Annotated[list[Path] | None, typer.Option(help="Load this `docker save` archive first; may be repeated.")] = None,
    kubernetes: Annotated[str | None, typer.Option(help="Only the node image of this version, such as 1.36.")] = None,
    cluster_name: Annotated[str | None, typer.Option(help="Copy what is here into the nodes of this cluster, too.")] = None,
    kind_bin: Annotated[Path | None, typer.Option(help="kind; default: from PATH.")] = None,
    names: Annotated[bool, typer.Option("--names", help="Only print what to pull, one a line; needs no docker.")] = False,
    save: Annotated[Path | None, typer.Option(help="Write what is here into this archive, for --load elsewhere.")] = None,
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
        ("here", "image", "for, or how to get it"),
        (
            ("yes", state.image.reference, _describe(state.image.purpose, state.reference))
            if state.reference is not None
            else ("no", state.image.reference, f"{state.image.purpose}\n{describe_remedy(state.image)}")
            for state in states
        ),
        has_numbers=False,
    )
    if save is not None:
        sys.stdout.writelines(f"saved {name}\n" for name in save_archive(docker, states, save))
    if cluster_name is not None:
        _load_into(cluster_name, kind_bin, [one.reference for one in states if one.reference is not None])
    missing = [state.image.name for state in states if state.reference is None]
    # hitless builds the router's image, and one node image is enough.
    vital = {image.name for image in (*CALICO_IMAGES, *LOCAL_IMAGES)} - {LOCAL_IMAGES[0].name}
    has_node = any(state.reference is not None for state in states[: len(nodes)])
    raise typer.Exit(0 if has_node and not vital & set(missing) else EXIT_MISSING)


for _command, _name in (
    (kind_cluster.up, "up"),
    (kind_cluster.status, "status"),
    (kind_cluster.run_in_node, "exec"),
    (kind_cluster.down, "down"),
):
    app.command(_name)(_command)


def clean_up() -> None:
    """Take away kind clusters whose owner is dead; without docker there are none."""
    try:
        docker = find_docker()
        docker.version()
    except MissingCapabilityError:
        return
    for name in clean_clusters(docker):
        sys.stdout.write(f"removed the kind cluster {name}, whose owner is dead\n")


def _load_into(cluster: str, kind_bin: Path | None, references: list[str]) -> None:
    """Copy images into a cluster's nodes; those of nodes themselves and the router's do not belong there."""
    from clusters.kind.programs import load_images  # noqa: PLC0415 - pytest-kind takes its time

    skipped = {image.name for image in NODE_IMAGES.values()} | {LOCAL_IMAGES[0].name}
    wanted = [reference for reference in references if reference.partition("@")[0] not in skipped]
    kind_cluster.find_cluster(cluster)
    if not wanted:
        raise WorldError("Docker has none of the images to copy into the nodes; `hitless kind images` says how to get them")
    load_images(kind_bin, cluster, wanted)
    sys.stdout.write(f"copied {plural(len(wanted), 'image')} into the nodes of {cluster}\n")


def _parse_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise UsageError(where="--kubernetes", found=repr(text), expected="major and minor version, such as 1.36")
    return int(major), int(minor)


def _describe(purpose: str, reference: str) -> str:
    return purpose if "@" in reference else f"{purpose}; by its tag"

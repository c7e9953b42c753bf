"""Releases of the Calico extension whose decisions or manifests differ, and Calico as they render it.

Source: networking-calico at the tags v1.57.0 to v1.59.0, pkg/controller/actuator_reconcile.go, pkg/charts/utils.go and
imagevector/images.yaml; v1.57.0 and v1.60-dev were also observed (gardener/observed/decisions.tsv).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CALICO_VERSION: Final = "v3.31.6"
"""What extension v1.60 renders. Source: networking-calico imagevector/images.yaml:5."""
CALICO_IMAGES: Final = ("node", "cni", "typha", "kube-controllers")
"""Images by their names below the registry."""
_MINOR: Final = re.compile(r"v3\.(\d{1,3})\.")
_LOAD_BALANCER_SINCE: Final = 30
"""Calico 3.28's kube-controllers reject the controller `loadbalancer` and restart forever. Source: observed; calico 3.30
release notes."""


def calico_image(name: str, version: str = CALICO_VERSION) -> str:
    """Return the reference of one of Calico's images."""
    return f"quay.io/calico/{name}:{version}"


def enabled_controllers(version: str) -> str:
    """Return ENABLED_CONTROLLERS of kube-controllers. Source: networking-calico utils.go:350-351."""
    found = _MINOR.match(version)
    is_old = found is not None and int(found[1]) < _LOAD_BALANCER_SINCE
    return "node" if is_old else "node,loadbalancer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionRelease:
    """Differences between releases."""

    name: str
    """The release, such as v1.60."""
    calico_version: str
    """Tag of the Calico images that it renders."""
    admission_versions: tuple[str, ...] = ("v1alpha1", "v1beta1")
    """Versions of admissionregistration.k8s.io that make MutatingAdmissionPolicy available below Kubernetes 1.36. Before v1.59
    v1beta1 does not count: on 1.34 and 1.35, which serve it, the gate is off without a message."""
    keeps_ipip_with_pod_routes: bool = False
    """Whether FELIX_IPINIPENABLED stays true with createPodRoutes. Before v1.59 it does, so any change of such a Shoot looks
    like a switch from the overlay."""


RELEASES: Final[Mapping[str, ExtensionRelease]] = {
    release.name: release
    for release in (
        ExtensionRelease(
            name="v1.57", calico_version="v3.30.6", admission_versions=("v1alpha1",), keeps_ipip_with_pod_routes=True
        ),
        ExtensionRelease(
            name="v1.58", calico_version="v3.30.7", admission_versions=("v1alpha1",), keeps_ipip_with_pod_routes=True
        ),
        ExtensionRelease(name="v1.59", calico_version="v3.31.6"),
        ExtensionRelease(name="v1.60", calico_version=CALICO_VERSION),
    )
}
"""Release to its differences; v1.57 is the first that has the gate."""

LATEST: Final = RELEASES["v1.60"]
"""The release that the doubles follow unless a scenario names another."""


def find_release(version: str) -> ExtensionRelease:
    """Return the release that a version belongs to, by its minor version; the latest if it is not known."""
    minor = re.match(r"v\d+\.\d+", version)
    return RELEASES.get(minor[0], LATEST) if minor else LATEST

"""The frozen description of a kind cluster. `addresses` has the names and addresses that follow from it.

Pure: nothing here touches docker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gardener.releases import CALICO_VERSION
from hitless.errors import UsageError
from hitless.words import Mode, Overlay

NODES_MAX: Final = 16
"""Largest number of nodes. Chosen here: every node is a kubelet with its own containerd, and few machines can run more."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_NAME_ALLOWED: Final = "lower-case letters, digits and - inside, at most 40, because it becomes part of host names"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpec:
    """Size and images of a kind cluster."""

    name: str
    """Of the kind cluster, and the first part of every container's and network's name."""
    zones: int
    """Number of zones, named a, b, ..."""
    nodes_per_zone: int
    overlay: Overlay
    start_mode: Mode
    rp_filter: int
    """Of the nodes' all, default and every interface: 0 off, 1 strict, 2 loose. kind's own image says 1."""
    kubernetes: tuple[int, int]
    """Major and minor version."""
    image: str
    """Node image, as docker knows it."""
    calico_version: str = CALICO_VERSION
    """Tag of Calico's images."""
    has_arranged_blocks: bool = False
    """Whether calico-ipam's blocks lie in the nodes' podCIDRs: those of a cluster cannot be moved."""
    pod_cidr: str
    """Of the cluster."""
    node_mask: int
    """Prefix length of each node's part of it."""
    service_cidr: str
    feature_gates: tuple[str, ...] = ()
    """Feature gates of every Kubernetes component that are switched on."""
    runtime_config: tuple[str, ...] = ()
    """API groups and versions that kube-apiserver serves besides its own, such as admissionregistration.k8s.io/v1beta1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built. Raises UsageError."""
        if not _NAME.fullmatch(self.name):
            raise UsageError(where="--cluster-name", found=repr(self.name), expected=_NAME_ALLOWED)
        nodes = self.zones * self.nodes_per_zone
        if not 2 <= nodes <= NODES_MAX:  # noqa: PLR2004 - a mesh needs two ends
            raise UsageError(
                where="--zones and --nodes-per-zone",
                found=f"{self.zones} * {self.nodes_per_zone} nodes",
                expected=f"2 to {NODES_MAX} nodes on kind",
            )
        if self.rp_filter not in {0, 1, 2}:
            raise UsageError(where="kind", place="rp_filter", found=str(self.rp_filter), expected="0 to 2")

r"""The frozen description of a kind cluster, and the names and addresses that follow from it. Pure.

       docker network "kind": management, the API server, eth0
        |        |                |        |
    a's nodes: NAME-control-plane, NAME-worker ...  b's nodes: NAME-worker2 ...
        |        |                |        |         second interface: the zone
     NAME-zone-a 10.250.0.0/24   NAME-zone-b 10.250.1.0/24
              \                  /
             NAME-router, .1 in every zone           one route table per zone

The control plane is the first node of zone a and runs pods like every other node, because every node of a Shoot does and the
gate checks the route of every Node. docker's own address in a zone is .254, so that the router can be .1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final

from gardener.releases import CALICO_VERSION
from hitless.errors import UsageError
from hitless.words import Mode, Overlay

NODE_NETWORK: Final = "10.250.0.0/16"
"""All zones. Source: the shipped Shoots, spec.networking.nodes; calico-node finds its address by it."""
_TABLE_FIRST: Final = 101
NODES_MAX: Final = 16
"""Largest number of nodes. Chosen here: every node is a kubelet with its own containerd, and few machines can run more."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_NAME_ALLOWED: Final = "lower-case letters, digits and - inside, at most 40, because it becomes part of host names"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpec:
    """Size and images of a kind cluster."""

    name: str
    """Name of the kind cluster, and prefix of every container's and network's name."""
    zones: int
    """Number of zones, named a, b, ..."""
    nodes_per_zone: int
    overlay: Overlay
    start_mode: Mode
    rp_filter: int
    """Of the nodes, for all, default and every interface: 0 off, 1 strict, 2 loose. kind's own image says 1."""
    kubernetes: tuple[int, int]
    """Major and minor version."""
    image: str
    """Node image, as docker knows it."""
    calico_version: str = CALICO_VERSION
    """Tag of Calico's images."""
    has_arranged_blocks: bool = False
    """Whether calico-ipam's blocks lie in the nodes' podCIDRs; the blocks of an existing cluster cannot be moved."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node."""

    name: str
    """Of the container and of the Node object."""
    zone: str
    address: str
    """In its zone."""
    gateway: str
    """The router's address in the zone."""
    is_control_plane: bool

    @property
    def provider_id(self) -> str:
        """spec.providerID as on AWS: the route controller points routes to instances of no other cloud."""
        return f"aws:///{self.zone}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePlan:
    """One zone: a docker network with a route table of its own in the router."""

    name: str
    network: str
    """Name of the docker network."""
    subnet: str
    gateway: str
    """The router's address."""
    docker_gateway: str
    """The address that docker gives to its bridge; hitless does not use it."""
    table: int
    """Number of the router's route table."""
    nodes: tuple[NodePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindPlan:
    """Everything that has a name or an address."""

    name: str
    router: str
    """Name of the router container."""
    zones: tuple[ZonePlan, ...]

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        """All nodes, zone by zone: the order in which kind makes them."""
        return tuple(node for zone in self.zones for node in zone.nodes)

    def network_of(self, node: NodePlan) -> str:
        """Return the name of the docker network of a node's zone."""
        return next(zone.network for zone in self.zones if zone.name == node.zone)


def make_plan(spec: KindSpec) -> KindPlan:
    """Return names and addresses of the specified cluster."""
    zones = tuple(_make_zone(spec, index) for index in range(spec.zones))
    return KindPlan(name=spec.name, router=f"{spec.name}-router", zones=zones)


def _make_zone(spec: KindSpec, index: int) -> ZonePlan:
    zone, first = ascii_lowercase[index], index * spec.nodes_per_zone
    return ZonePlan(
        name=zone,
        network=f"{spec.name}-zone-{zone}",
        subnet=f"10.250.{index}.0/24",
        gateway=f"10.250.{index}.1",
        docker_gateway=f"10.250.{index}.254",
        table=_TABLE_FIRST + index,
        nodes=tuple(
            NodePlan(
                name=_name_node(spec.name, first + position),
                zone=zone,
                address=f"10.250.{index}.{11 + position}",
                gateway=f"10.250.{index}.1",
                is_control_plane=first + position == 0,
            )
            for position in range(spec.nodes_per_zone)
        ),
    )


def _name_node(cluster: str, number: int) -> str:
    """Return the name that kind gives to node `number`. Source: kind pkg/cluster/internal/providers/common/namer.go."""
    if number == 0:
        return f"{cluster}-control-plane"
    return f"{cluster}-worker" if number == 1 else f"{cluster}-worker{number}"

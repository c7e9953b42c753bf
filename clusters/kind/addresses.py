r"""Names and addresses of a kind cluster's nodes, zones and router. Pure: they follow from the KindSpec alone.

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

from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final

from clusters.kind.spec import KindSpec

NODE_NETWORK: Final = "10.250.0.0/16"
"""All zones. Source: the shipped Shoots, spec.networking.nodes; calico-node finds its address by it."""
_TABLE_FIRST: Final = 101


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
    """Return names and addresses of the cluster that was asked for."""
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

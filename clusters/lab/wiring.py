"""The netlink messages of a lab: bridges and tables of the router; devices, routes, neighbours and tunnels of nodes and pods.

Pure: the messages follow from the plan. LabNetwork makes the namespaces and sends them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from enum import StrEnum, unique
from typing import Final

from clusters.lab.spec import (
    POD_DEVICE,
    POD_GATEWAY,
    POD_GATEWAY6,
    POD_GATEWAY_MAC,
    POD_INDEX,
    TUNNEL_INDEX,
    UNDERLAY_DEVICE,
    UNDERLAY_INDEX,
    LabPlan,
    NodePlan,
    PodPlan,
    ZonePlan,
)
from clusters.linux.netlink import Message
from clusters.linux.netlink_messages import (
    Link,
    Route,
    add_address,
    add_bridge,
    add_route,
    add_table_rule,
    add_vxlan,
    add_vxlan_gpe,
    set_forwarding_entry,
    set_link,
    set_neighbour,
)
from hitless.calico import PROTOCOL_BIRD, PROTOCOL_BOOT, PROTOCOL_FELIX, TUNNEL_DEVICES
from hitless.words import Overlay

PROTOCOL_DHCP: Final = 16
"""Route protocol of a node's default route, as on a cloud's nodes. Source: linux/rtnetlink.h RTPROT_DHCP."""
PROTOCOL_RA: Final = 9
"""Route protocol of a node's IPv6 default route. Source: linux/rtnetlink.h RTPROT_RA."""
_RULE_PRIORITY_FIRST: Final = 1000
VXLAN_PORT: Final = 4789
"""Source: calico felix config_params.go, VXLANPort."""
VXLAN_IDENTIFIER: Final = 4096
"""Source: calico felix config_params.go, VXLANVNI."""
GPE_PORT: Final = 4790
"""Source: IANA, vxlan-gpe."""
GPE_IDENTIFIER: Final = 42
_UNDERLAY_MTU: Final = 1500


@unique
class Carrier(StrEnum):
    """The encapsulation of the overlay on the wire.

    | carrier | device | wire | cost | route to a peer's block |
    |---|---|---|---|---|
    | ipip | tunl0 | IP in IP | 20 octets | `via NODE dev tunl0 onlink proto 12` |
    | vxlan-gpe | tunl0 | IP in VXLAN-GPE, UDP port 4790 | 36 octets | `encap ip id 42 dst NODE dev tunl0 proto 12` |
    | vxlan | vxlan.calico | Ethernet in VXLAN, UDP port 4789 | 50 octets | `via VTEP dev vxlan.calico onlink proto 80` |

    vxlan-gpe replaces ipip on kernels without it: a layer-3 tunnel device that stays up like tunl0 and takes its far end from
    the route. Its underlay MTU is 16 octets larger, so that pods keep Calico's MTU (1480).
    """

    IPIP = "ipip"
    VXLAN_GPE = "vxlan-gpe"
    VXLAN = "vxlan"

    @property
    def device(self) -> str:
        """Name of the tunnel device."""
        return TUNNEL_DEVICES[Overlay.VXLAN if self is Carrier.VXLAN else Overlay.IPIP]

    @property
    def underlay_mtu(self) -> int:
        """MTU of the nodes' eth0, octets."""
        return _UNDERLAY_MTU + 16 if self is Carrier.VXLAN_GPE else _UNDERLAY_MTU

    @property
    def tunnel_mtu(self) -> int:
        """MTU of the tunnel device, and of pods that were made in OVERLAY, octets. Source: mechanics 4.6."""
        return _UNDERLAY_MTU - 50 if self is Carrier.VXLAN else _UNDERLAY_MTU - 20

    @property
    def native_pod_mtu(self) -> int:
        """MTU of pods that were made in NATIVE, octets."""
        return _UNDERLAY_MTU

    @property
    def protocol(self) -> int:
        """Route protocol of the program that writes its routes."""
        return PROTOCOL_FELIX if self is Carrier.VXLAN else PROTOCOL_BIRD


def make_overlay_route(carrier: Carrier, peer: NodePlan, tunnel_index: int) -> Route:
    """Return the route to a peer's block through the tunnel; the same on every node."""
    encapsulation, via, is_on_link = None, None, True
    match carrier:
        case Carrier.IPIP:
            via = peer.address
        case Carrier.VXLAN:
            via = peer.tunnel_address
        case Carrier.VXLAN_GPE:
            encapsulation, is_on_link = (GPE_IDENTIFIER, peer.address), False
    return Route(
        destination=peer.block,
        protocol=carrier.protocol,
        device=tunnel_index,
        via=via,
        is_on_link=is_on_link,
        encapsulation=encapsulation,
    )


def make_native_route(node: NodePlan, peer: NodePlan) -> Route:
    """Return BIRD's route without encapsulation: a peer in the zone directly, another by the gateway (mechanics 4.3)."""
    via = peer.address if peer.zone == node.zone else node.gateway
    return Route(destination=peer.block, protocol=PROTOCOL_BIRD, device=UNDERLAY_INDEX, via=via)


def add_vxlan_device(carrier: Carrier, node: NodePlan) -> Message:
    """Make vxlan.calico, or tunl0 as a VXLAN-GPE device."""
    mac = node.tunnel_mac if carrier is Carrier.VXLAN else None
    link = Link(name=carrier.device, index=TUNNEL_INDEX, mtu=carrier.tunnel_mtu, mac=mac)
    if carrier is Carrier.VXLAN_GPE:
        return add_vxlan_gpe(link, port=GPE_PORT)
    return add_vxlan(link, identifier=VXLAN_IDENTIFIER, port=VXLAN_PORT, local=node.address, lower=UNDERLAY_INDEX)


def set_vtep(peer: NodePlan) -> Iterable[Message]:
    """Tell vxlan.calico of a peer's end: its MAC behind the VTEP's address, its node behind the MAC."""
    yield set_neighbour(peer.tunnel_address, peer.tunnel_mac, TUNNEL_INDEX)
    yield set_forwarding_entry(peer.tunnel_mac, peer.address, TUNNEL_INDEX)


def node_veth(zone: ZonePlan, node: NodePlan, mtu: int) -> tuple[Link, Link]:
    """Return both ends of a node's link: the port of the zone's bridge, and the node's eth0."""
    return (
        Link(name=node.name, index=node.port_index, mtu=mtu, master=zone.bridge_index),
        Link(name=UNDERLAY_DEVICE, index=UNDERLAY_INDEX, mtu=mtu, mac=node.mac),
    )


def pod_veth(pod: PodPlan, mtu: int) -> tuple[Link, Link]:
    """Return both ends of a pod's link: the node's cali*, and the pod's eth0."""
    return (
        Link(name=pod.device, index=pod.device_index, mtu=mtu, mac=POD_GATEWAY_MAC),
        Link(name=POD_DEVICE, index=POD_INDEX, mtu=mtu, mac=pod.mac),
    )


def wire_bridges(plan: LabPlan, mtu: int) -> Iterator[Message]:
    """Yield the messages that make a bridge for each zone in the router."""
    yield set_link("lo", is_up=True)
    for zone in plan.zones:
        yield add_bridge(Link(name=zone.bridge, index=zone.bridge_index, mtu=mtu, mac=zone.mac))
        yield add_address(zone.gateway, 24, zone.bridge_index)
        if zone.gateway6:
            yield add_address(zone.gateway6, 64, zone.bridge_index)


def wire_tables(plan: LabPlan, *, has_neighbours: bool) -> Iterator[Message]:
    """Yield the messages that make a route table for each zone in the router."""
    for number, zone in enumerate(plan.zones):
        yield add_table_rule(zone.bridge, zone.table, _RULE_PRIORITY_FIRST + number)
        for other in plan.zones:
            route = Route(destination=other.subnet, protocol=PROTOCOL_BOOT, device=other.bridge_index, table=zone.table)
            yield add_route(route)
        if zone.subnet6:
            yield from _wire_table6(plan, zone, _RULE_PRIORITY_FIRST + number)
        for node in zone.nodes if has_neighbours else ():
            yield from _wire_neighbour(node, zone.bridge_index)


def _wire_table6(plan: LabPlan, zone: ZonePlan, priority: int) -> Iterator[Message]:
    """Yield a zone's IPv6 table. The nodes' prefixes are in it from the start: no route controller creates them."""
    yield add_table_rule(zone.bridge, zone.table, priority, family=socket.AF_INET6)
    for other in plan.zones:
        yield add_route(Route(destination=other.subnet6, protocol=PROTOCOL_BOOT, device=other.bridge_index, table=zone.table))
        yield from (add_route(make_prefix_route(zone, other, node)) for node in other.nodes)


def make_prefix_route(zone: ZonePlan, home: ZonePlan, node: NodePlan) -> Route:
    """Return the route of a zone's table to the prefix that the cloud delegates to a node, whose zone is `home`."""
    return Route(
        destination=node.pod_cidr6,
        protocol=PROTOCOL_BOOT,
        device=home.bridge_index,
        via=node.address6,
        table=zone.table,
    )


def wire_node(zone: ZonePlan, node: NodePlan, *, has_neighbours: bool) -> Iterator[Message]:
    """Yield the addresses, routes and neighbours of a node whose links exist."""
    yield set_link("lo", is_up=True)
    yield set_link(UNDERLAY_DEVICE, is_up=True)
    yield add_address(node.address, 24, UNDERLAY_INDEX)
    yield add_route(Route(destination="0.0.0.0/0", protocol=PROTOCOL_DHCP, device=UNDERLAY_INDEX, via=node.gateway))
    if node.address6:
        yield add_address(node.address6, 64, UNDERLAY_INDEX)
        yield add_route(Route(destination="::/0", protocol=PROTOCOL_RA, device=UNDERLAY_INDEX, via=zone.gateway6))
    for pod in node.pods:
        for destination in (f"{pod.address}/32", *([f"{pod.address6}/128"] if pod.address6 else [])):
            yield add_route(Route(destination=destination, protocol=PROTOCOL_BOOT, device=pod.device_index))
    if has_neighbours:
        for pod in node.pods:
            yield from _wire_neighbour(pod, pod.device_index)
        yield set_neighbour(zone.gateway, zone.mac, UNDERLAY_INDEX)
        if zone.gateway6:
            yield set_neighbour(zone.gateway6, zone.mac, UNDERLAY_INDEX)
        for peer in zone.nodes:
            if peer is not node:
                yield from _wire_neighbour(peer, UNDERLAY_INDEX)


def wire_pod(pod: PodPlan, *, has_neighbours: bool) -> Iterator[Message]:
    """Yield the address, routes and neighbour of a pod whose link exists."""
    yield set_link("lo", is_up=True)
    yield set_link(POD_DEVICE, is_up=True)
    yield add_address(pod.address, 32, POD_INDEX)
    yield add_route(Route(destination=f"{POD_GATEWAY}/32", protocol=PROTOCOL_BOOT, device=POD_INDEX))
    yield add_route(Route(destination="0.0.0.0/0", protocol=PROTOCOL_BOOT, device=POD_INDEX, via=POD_GATEWAY))
    if pod.address6:
        yield add_address(pod.address6, 128, POD_INDEX)
        yield add_route(Route(destination="::/0", protocol=PROTOCOL_BOOT, device=POD_INDEX, via=POD_GATEWAY6))
    for gateway in (POD_GATEWAY, *([POD_GATEWAY6] if pod.address6 else [])) if has_neighbours else ():
        yield set_neighbour(gateway, POD_GATEWAY_MAC, POD_INDEX)


def _wire_neighbour(neighbour: NodePlan | PodPlan, index: int) -> Iterator[Message]:
    """Yield the entries of a neighbour behind an interface, one for each of its addresses."""
    yield set_neighbour(neighbour.address, neighbour.mac, index)
    if neighbour.address6:
        yield set_neighbour(neighbour.address6, neighbour.mac, index)

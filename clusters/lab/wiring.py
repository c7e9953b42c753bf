"""The netlink messages that build a lab: bridges and tables of the router, devices, routes and neighbours of nodes and pods.

Pure: the messages follow from the plan. LabNetwork makes the namespaces and sends them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

from clusters.lab.addresses import (
    POD_DEVICE,
    POD_GATEWAY,
    POD_GATEWAY6,
    POD_GATEWAY_MAC,
    POD_INDEX,
    UNDERLAY_DEVICE,
    UNDERLAY_INDEX,
    LabPlan,
    NodePlan,
    PodPlan,
    ZonePlan,
)
from clusters.linux.netlink import Message
from clusters.linux.netlink_links import Link, add_address, add_bridge, set_link, set_neighbour
from clusters.linux.netlink_routes import Route, add_route, add_table_rule
from hitless.calico import PROTOCOL_BOOT

PROTOCOL_DHCP: Final = 16
"""Route protocol of a node's default route, as on a cloud's nodes. Source: linux/rtnetlink.h RTPROT_DHCP."""
PROTOCOL_RA: Final = 9
"""Route protocol of a node's IPv6 default route. Source: linux/rtnetlink.h RTPROT_RA."""
_RULE_PRIORITY_FIRST: Final = 1000


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

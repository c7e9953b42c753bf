"""The lab's RouteTables: routes of the router's namespace, one table per zone."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from clusters.lab.spec import LabPlan
from clusters.linux.netlink import Message, Netlink, list_routes
from clusters.linux.netlink_messages import Route, add_route, delete_route
from clusters.stores import check_destination, find_zone
from hitless.errors import RouteTableError
from hitless.facts import CloudRoute
from hitless.plural import plural

CLOUD_PROTOCOL: Final = 4
"""RTPROT_STATIC marks cloud routes; the zones' subnets have another protocol."""
_EXISTS: Final = frozenset({errno.EEXIST})


class LabRouteTables:
    """See `hitless.ports.RouteTables`. Every message is encoded once: a call takes less than 0.1 ms.

    The socket is in the router's namespace; its opener closes it.
    """

    def __init__(self, plan: LabPlan, netlink: Netlink) -> None:
        self._zones = {zone.name: zone for zone in plan.zones}
        self._nodes = {node.name: node for node in plan.nodes}
        self._by_address = {node.address: node.name for node in plan.nodes}
        self._netlink = netlink
        self._messages: dict[CloudRoute, Message] = {}

    def zones(self) -> tuple[str, ...]:
        """Return the zone names."""
        return tuple(self._zones)

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return the pod routes of a zone's table, in order of their destinations."""
        found = [
            CloudRoute(zone=zone, cidr=route.destination, node=self._by_address.get(route.via or "", str(route.via)))
            for route in list_routes(self._netlink, find_zone(self._zones, zone).table)
            if route.protocol == CLOUD_PROTOCOL
        ]
        return tuple(sorted(found, key=lambda route: IPv4Network(route.cidr)))

    def create(self, route: CloudRoute) -> None:
        """Create a route; effective on return. Raises RouteTableError if its destination has one already."""
        if self._netlink.execute([self.make(route)])[0]:
            raise RouteTableError(f"zone {route.zone} already has a route to {route.cidr}")

    def create_all(self, routes: Sequence[CloudRoute]) -> None:
        """Create many routes in batches. Raises RouteTableError."""
        if any(self._netlink.execute([self.make(route) for route in routes])):
            raise RouteTableError(f"some of {plural(len(routes), 'route')} already existed")

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route; effective on return. Raises RouteTableError if there is none."""
        message = delete_route(check_destination(cidr), table=find_zone(self._zones, zone).table, protocol=CLOUD_PROTOCOL)
        if self._netlink.execute([message])[0]:
            raise RouteTableError(f"zone {zone} has no route to {cidr}")

    def make(self, route: CloudRoute) -> Message:
        """Return the message that creates a route. Raises RouteTableError: no such zone or node, or not a CIDR."""
        if route not in self._messages:
            table = find_zone(self._zones, route.zone).table
            node = self._nodes.get(route.node)
            if node is None:
                raise RouteTableError(f"route to {route.cidr}: the node {route.node} does not exist")
            kernel_route = Route(
                destination=check_destination(route.cidr),
                protocol=CLOUD_PROTOCOL,
                device=self._zones[node.zone].bridge_index,
                via=node.address,
                table=table,
            )
            self._messages[route] = add_route(kernel_route, _EXISTS)
        return self._messages[route]

"""The kind clusters' RouteTables: routes of the router container, one table per zone."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from clusters.kind.docker import Docker
from clusters.kind.spec import KindPlan
from clusters.route_tables import check_destination, find_zone
from hitless.errors import RouteTableError, WorldError
from hitless.facts import CloudRoute, NodeFacts

CLOUD_PROTOCOL: Final = "static"
"""Marks cloud routes; the subnets of the zones have another protocol."""


class KindRouteTables:
    """See `hitless.ports.RouteTables`. A call is one `docker exec`: about 0.1 s, as long as a call to a cloud takes."""

    def __init__(self, docker: Docker, plan: KindPlan, nodes: Sequence[NodeFacts]) -> None:
        self._docker, self._router = docker, plan.router
        self._zones = {zone.name: zone for zone in plan.zones}
        self._nodes = {node.name: node for node in nodes}
        self._by_address = {node.address: node.name for node in nodes}

    def zones(self) -> tuple[str, ...]:
        """Return the zone names."""
        return tuple(self._zones)

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return the pod routes of a zone's table, in order of their destinations."""
        table = str(find_zone(self._zones, zone).table)
        seen = self._docker.execute_json(self._router, "ip", "-json", "route", "show", "table", table, "proto", CLOUD_PROTOCOL)
        found = [
            CloudRoute(zone=zone, cidr=route["dst"], node=self._by_address.get(route["gateway"], route["gateway"]))
            for route in seen
            if "gateway" in route
        ]
        return tuple(sorted(found, key=lambda route: IPv4Network(route.cidr)))

    def create(self, route: CloudRoute) -> None:
        """Create a route; effective on return. Raises RouteTableError if its destination has one already."""
        table, node = find_zone(self._zones, route.zone).table, self._nodes.get(route.node)
        if node is None:
            raise RouteTableError(f"route to {route.cidr}: the node {route.node} does not exist")
        # The gateway is looked up in the main table, where every zone is on-link.
        line = (check_destination(route.cidr), "via", node.address, "proto", CLOUD_PROTOCOL)
        try:
            self._docker.execute(self._router, "ip", "route", "add", *line, "table", str(table))
        except WorldError as error:
            if "File exists" not in str(error):
                raise
            raise RouteTableError(f"zone {route.zone} already has a route to {route.cidr}") from error

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route; effective on return. Raises RouteTableError if there is none."""
        table, destination = find_zone(self._zones, zone).table, check_destination(cidr)
        try:
            self._docker.execute(self._router, "ip", "route", "del", destination, "proto", CLOUD_PROTOCOL, "table", str(table))
        except WorldError as error:
            if "No such process" not in str(error):
                raise
            raise RouteTableError(f"zone {zone} has no route to {cidr}") from error

    def clear(self) -> None:
        """Delete every pod route of every zone, before a cluster is reused."""
        flush = [f"route flush table {zone.table} proto {CLOUD_PROTOCOL}" for zone in self._zones.values()]
        self._docker.execute(self._router, "ip", "-batch", "-", stdin="\n".join(flush) + "\n")

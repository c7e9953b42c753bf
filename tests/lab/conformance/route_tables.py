"""What every RouteTables must do: the conformance suite of the port.

A test module takes the suite in by subclassing `RouteTablesConformance` and giving two fixtures: `route_tables`, an
implementation whose tables have no route yet, and `nodes`, at least two nodes that routes may point to.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hitless.errors import RouteTableError
from hitless.facts import CloudRoute, NodeFacts
from hitless.ports import RouteTables


def make_route(zone: str, node: NodeFacts) -> CloudRoute:
    return CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name)


class RouteTablesConformance:
    def test_what_was_created_is_listed_in_its_zone_only(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        zone, *others = route_tables.zones()
        route_tables.create(make_route(zone, nodes[0]))
        assert (make_route(zone, nodes[0]),) == route_tables.list(zone)
        assert [()] * len(others) == [route_tables.list(other) for other in others]

    def test_the_list_is_in_order_of_destinations(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        zone = route_tables.zones()[0]
        for node in reversed(nodes):
            route_tables.create(make_route(zone, node))
        assert tuple(make_route(zone, node) for node in nodes) == route_tables.list(zone)

    def test_creating_twice_is_refused(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        zone = route_tables.zones()[0]
        route_tables.create(make_route(zone, nodes[0]))
        with pytest.raises(RouteTableError):
            route_tables.create(make_route(zone, nodes[0]))
        with pytest.raises(RouteTableError):
            route_tables.create(CloudRoute(zone=zone, cidr=nodes[0].pod_cidr, node=nodes[1].name))
        assert (make_route(zone, nodes[0]),) == route_tables.list(zone)

    def test_deleting_what_is_not_there_is_refused(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        zone = route_tables.zones()[0]
        with pytest.raises(RouteTableError):
            route_tables.delete(zone, nodes[0].pod_cidr)

    def test_a_deleted_route_may_be_created_again(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        zone = route_tables.zones()[-1]
        for _ in range(2):
            route_tables.create(make_route(zone, nodes[1]))
            route_tables.delete(zone, nodes[1].pod_cidr)
            assert route_tables.list(zone) == ()

    @pytest.mark.parametrize("cidr", ["", "100.96.0.1/24", "100.96.0.0/33", "fd00::/64", "everywhere"])
    def test_what_is_no_destination_is_refused(self, route_tables: RouteTables, nodes: Sequence[NodeFacts], cidr: str) -> None:
        with pytest.raises(RouteTableError):
            route_tables.create(CloudRoute(zone=route_tables.zones()[0], cidr=cidr, node=nodes[0].name))

    def test_an_unknown_zone_is_refused(self, route_tables: RouteTables, nodes: Sequence[NodeFacts]) -> None:
        with pytest.raises(RouteTableError):
            route_tables.create(make_route("no-such-zone", nodes[0]))
        with pytest.raises(RouteTableError):
            route_tables.list("no-such-zone")
        with pytest.raises(RouteTableError):
            route_tables.delete("no-such-zone", nodes[0].pod_cidr)

"""What the lab's faults break, and that their cures heal it."""

from __future__ import annotations

import pytest

from clusters.faults import ClusterFaults
from clusters.lab.kube import MemoryKube
from gardener.manifests.admission import admit
from hitless.clock import JumpingClock
from hitless.errors import ApiUnavailableError, RouteTableError, UsageError
from hitless.facts import CloudRoute
from hitless.words import JsonObject, Kind


class Tables:
    """RouteTables in a dict."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, CloudRoute]] = {"a": {}, "b": {}}

    def zones(self) -> tuple[str, ...]:
        return tuple(self.tables)

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        return tuple(route for _, route in sorted(self.tables[zone].items()))

    def create(self, route: CloudRoute) -> None:
        if route.cidr in self.tables[route.zone]:
            raise RouteTableError(f"{route.cidr} is there already")
        self.tables[route.zone][route.cidr] = route

    def delete(self, zone: str, cidr: str) -> None:
        if self.tables[zone].pop(cidr, None) is None:
            raise RouteTableError(f"{cidr} is not there")


ROUTE = CloudRoute(zone="b", cidr="100.96.0.0/24", node="node-a1")
OTHER = CloudRoute(zone="b", cidr="100.96.1.0/24", node="node-a2")


class Broken:
    """A lab's faults, and what they act on."""

    def __init__(self) -> None:
        self.kube = MemoryKube(admit=admit, clock=JumpingClock())
        self.tables = Tables()
        self.tables.create(ROUTE)
        self.tables.create(OTHER)
        self.outage: list[str] = []
        self.faults = ClusterFaults(
            kube=self.kube,
            routes=self.tables,
            begin_route_outage=lambda: self.outage.append("begin"),
            end_route_outage=lambda: self.outage.append("end"),
        )


def test_the_known_faults() -> None:
    assert Broken().faults.known() == {"kube-api-down", "route-api-down", "node-route-lost"}


def test_the_kubernetes_api_goes_away_and_comes_back() -> None:
    world = Broken()
    world.faults.inject("kube-api-down", {})
    with pytest.raises(ApiUnavailableError):
        world.kube.list(Kind.NODE)
    world.faults.cure("kube-api-down")
    assert world.kube.list(Kind.NODE) == ()


def test_the_route_api_goes_away_and_comes_back() -> None:
    world = Broken()
    world.faults.inject("route-api-down", {})
    world.faults.cure("route-api-down")
    assert world.outage == ["begin", "end"]


def test_a_lost_route_is_gone_from_one_table_until_it_is_cured() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", {"zone": "b", "node": "node-a1"})
    assert world.tables.list("b") == (OTHER,)
    world.faults.cure("node-route-lost")
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_one_cure_heals_every_lost_route() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", {"zone": "b", "node": "node-a1"})
    world.faults.inject("node-route-lost", {"zone": "b", "node": "node-a2"})
    world.faults.cure("node-route-lost")
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_a_route_that_was_restored_meanwhile_stays() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", {"zone": "b", "node": "node-a1"})
    world.tables.create(ROUTE)
    world.faults.cure("node-route-lost")
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_healing_what_is_whole_is_no_error() -> None:
    world = Broken()
    for name in sorted(world.faults.known()):
        world.faults.cure(name)
    assert world.tables.list("b") == (ROUTE, OTHER)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("meteorite", {}, "fault: name: found 'meteorite'; expected kube-api-down, node-route-lost, route-api-down"),
        ("kube-api-down", {"zone": "a"}, "fault kube-api-down: options: found 'zone'; expected no options"),
        ("node-route-lost", {}, "fault node-route-lost: options: found no options; expected node, zone"),
        ("node-route-lost", {"zone": "b", "node": 1}, "fault node-route-lost: options.node: found 1; expected a name"),
        ("node-route-lost", {"zone": "c", "node": "x"}, "fault node-route-lost: zone: found 'c'; expected a, b"),
        (
            "node-route-lost",
            {"zone": "b", "node": "x"},
            "fault node-route-lost: node: found 'x'; expected node-a1, node-a2",
        ),
        (
            "node-route-lost",
            {"zone": "a", "node": "x"},
            "fault node-route-lost: node: found 'x'; expected no such fault, because zone a has no routes",
        ),
    ],
)
def test_a_fault_that_cannot_be_is_refused_and_breaks_nothing(name: str, options: JsonObject, message: str) -> None:
    world = Broken()
    with pytest.raises(UsageError) as refused:
        world.faults.inject(name, options)
    assert str(refused.value) == message
    assert world.tables.list("b") == (ROUTE, OTHER)
    assert not world.kube.is_away


def test_an_unknown_cure_is_refused() -> None:
    with pytest.raises(UsageError, match="found 'meteorite'; expected kube-api-down"):
        Broken().faults.cure("meteorite")

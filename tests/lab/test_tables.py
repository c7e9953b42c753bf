"""The lab's route tables: the contract of the port, and that packets follow them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clusters.lab.network import LabNetwork
from hitless.facts import NodeFacts
from hitless.ports import RouteTables
from tests.lab.conformance.route_tables import RouteTablesConformance, make_route
from tests.lab.lab_traffic import QUIET_S, missing_pairs, pod_sockets


@pytest.fixture
def route_tables(overlay_lab: LabNetwork) -> RouteTables:
    return overlay_lab.tables


@pytest.fixture
def nodes(overlay_lab: LabNetwork) -> Sequence[NodeFacts]:
    return overlay_lab.nodes


class TestLabRouteTables(RouteTablesConformance):
    pass


def test_a_native_lab_starts_with_every_route_in_every_table(native_lab: LabNetwork) -> None:
    expected = {zone: tuple(make_route(zone, node) for node in native_lab.nodes) for zone in ("a", "b")}
    assert expected == {zone: native_lab.tables.list(zone) for zone in native_lab.tables.zones()}


def test_without_a_cloud_route_the_senders_of_that_zone_lose(native_lab: LabNetwork) -> None:
    native_lab.tables.delete("a", native_lab.nodes[3].pod_cidr)
    senders, receivers = ("node-a1", "node-a2"), ("node-b2",)
    expected = {
        (f"{source}-{sender}", f"{destination}-{receiver}")
        for source in senders
        for destination in receivers
        for sender in ("mesh", "control")
        for receiver in ("mesh", "control")
    }
    with pod_sockets(native_lab) as sockets:
        assert expected == missing_pairs(native_lab, sockets, QUIET_S)
        native_lab.tables.create(make_route("a", native_lab.nodes[3]))
        assert set() == missing_pairs(native_lab, sockets)

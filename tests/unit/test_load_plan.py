"""What a scenario says of load, and where it lands in a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hitless.documents import validate
from hitless.errors import UsageError
from hitless.facts import Endpoint
from hitless.words import SECOND, Nanoseconds
from scenarios.parts import LoadPlan, make_load
from tests.unit.histories import facts

LONGEST_NS = Nanoseconds(60 * SECOND)


def test_users_are_in_pods_of_different_zones_and_every_node_answers() -> None:
    load = make_load(LoadPlan(), facts("abc", 2), LONGEST_NS)
    assert load.clients == ("node-a1-mesh", "node-b1-mesh")
    assert load.servers == tuple(f"node-{zone}{number}-mesh" for number in (1, 2) for zone in "abc")
    assert (load.users, load.interval_ns, load.body_octets) == (12, 100_000_000, 1_000)
    assert (load.timeout_ns, load.duration_ns_max) == (2 * SECOND, LONGEST_NS)


def test_a_small_cluster_has_users_on_every_node_and_each_pod_as_many() -> None:
    load = make_load(LoadPlan(users=15, clients=5), facts("a", 2), LONGEST_NS)
    assert (load.clients, load.users) == (("node-a1-mesh", "node-a2-mesh"), 14)


def test_only_pods_take_part() -> None:
    cluster = facts("a", 2)
    host = Endpoint(name="node-a1-host", node="node-a1", zone="a", address="10.250.0.10", is_host=True)
    outside = Endpoint(name="outside", node="outside", zone="", address="192.0.2.1", is_outside=True)
    load = make_load(LoadPlan(), replace(cluster, endpoints=(outside, host, *cluster.endpoints)), LONGEST_NS)
    assert load.servers == ("node-a1-mesh", "node-a2-mesh")


def test_a_large_cluster_has_a_bounded_number_of_servers() -> None:
    assert len(make_load(LoadPlan(), facts("ab", 100), LONGEST_NS).servers) == 64


@pytest.mark.parametrize(
    ("document", "place", "allowed"),
    [
        ({"users": 13}, "load.users", "a multiple of clients (2), because every client pod has the same number of users"),
        ({"users": 100, "rate_hz": 5.1}, "load.rate_hz", "at most 500 requests per second in total"),
        ({"users": 102}, "load.users", "a value less than or equal to 100"),
        ({"body_octets": 2_000}, "load.body_octets", "a value less than or equal to 1200"),
        ({"rate_hz": float("nan")}, "load.rate_hz", "a finite number"),
        ({"clients": 9}, "load.clients", "a value less than or equal to 8"),
        ({"timeout_ms": 1}, "load.timeout_ms", "a value greater than or equal to 100"),
        ({"user": 1}, "load.user", "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(document: dict[str, Any], place: str, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(LoadPlan, document, "scenario.yaml", "load")
    assert (caught.value.place, caught.value.expected) == (place, allowed)

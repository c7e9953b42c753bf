"""The cloud around the route tables: quota, outages, throttling."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.doubles.cloud import Cloud, CloudBehaviour
from hitless.errors import RouteApiUnavailableError, RouteQuotaError, RouteTableError, RouteThrottledError
from hitless.facts import CloudRoute
from hitless.words import SECOND, Nanoseconds
from tests.clocks import JumpingClock, ms
from tests.unit.fakes_gardener import (
    MemoryTables,
)

ROUTE = CloudRoute(zone="a", cidr="100.96.1.0/24", node="node-a1")


def test_a_full_table_refuses_and_the_others_do_not() -> None:
    cloud = Cloud(MemoryTables(), CloudBehaviour(quota={"a": 1}), JumpingClock())
    cloud.create(ROUTE)
    with pytest.raises(RouteQuotaError, match="RouteLimitExceeded: the route table of zone a"):
        cloud.create(replace(ROUTE, cidr="100.96.2.0/24"))
    cloud.create(replace(ROUTE, zone="b"))
    cloud.delete("a", ROUTE.cidr)
    cloud.create(ROUTE)
    assert cloud.describe() == {"a": (ROUTE,), "b": (replace(ROUTE, zone="b"),)}


def test_an_outage_refuses_every_call_until_it_ends() -> None:
    cloud = Cloud(MemoryTables(), CloudBehaviour(), JumpingClock())
    cloud.set_away(True)
    for call in (cloud.describe, lambda: cloud.list("a"), lambda: cloud.create(ROUTE), lambda: cloud.delete("a", ROUTE.cidr)):
        with pytest.raises(RouteApiUnavailableError):
            call()
    assert cloud.zones() == ("a", "b")
    cloud.set_away(False)
    cloud.set_away(False)
    assert cloud.list("a") == ()


def test_the_errors_of_the_tables_pass() -> None:
    cloud = Cloud(MemoryTables(), CloudBehaviour(), JumpingClock())
    with pytest.raises(RouteTableError, match="NotFound"):
        cloud.delete("a", ROUTE.cidr)


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 5), st.integers(1, 50))
def test_no_more_calls_are_granted_than_burst_and_rate_allow(gaps: list[int], burst: int, rate: int) -> None:
    clock = JumpingClock()
    cloud = Cloud(MemoryTables(), CloudBehaviour(calls_per_second=rate, burst=burst), clock)
    granted = 0
    for gap in gaps:
        clock.wait_until(Nanoseconds(clock.now_ns() + ms(gap)))
        try:
            cloud.list("a")
        except RouteThrottledError:
            continue
        granted += 1
    assert granted <= burst + rate * clock.now_ns() / SECOND + 1e-3


def test_each_action_has_a_bucket_of_its_own() -> None:
    clock = JumpingClock()
    cloud = Cloud(MemoryTables(), CloudBehaviour(calls_per_second=1, burst=2), clock)
    for _ in range(2):
        cloud.describe()
    with pytest.raises(RouteThrottledError, match="DescribeRouteTables: RequestLimitExceeded"):
        cloud.describe()
    for number in range(2):
        cloud.create(CloudRoute(zone="a", cidr=f"100.96.{number}.0/24", node="node-a1"))
    with pytest.raises(RouteThrottledError, match="CreateRoute: RequestLimitExceeded"):
        cloud.create(CloudRoute(zone="a", cidr="100.96.9.0/24", node="node-a1"))


def test_a_pause_accumulates_at_most_the_burst() -> None:
    clock = JumpingClock()
    cloud = Cloud(MemoryTables(), CloudBehaviour(calls_per_second=10, burst=3), clock)
    clock.wait_until(Nanoseconds(60 * SECOND))
    for _ in range(3):
        cloud.list("a")
    with pytest.raises(RouteThrottledError, match="the limit is 10 per second"):
        cloud.list("a")
    clock.wait_until(Nanoseconds(60 * SECOND + ms(100)))
    assert cloud.list("a") == ()

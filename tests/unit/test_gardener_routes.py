"""The route controller: its calls, its ticks and its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.conditions import network_unavailable
from gardener.doubles.cloud import Cloud, CloudBehaviour
from gardener.doubles.route_controller import (
    USER,
    RouteController,
    RouteControllerMode,
    conclude,
    find_cidr,
    follow_nodes,
    plan_table,
)
from gardener.timings import TIMINGS
from hitless.errors import ApiUnavailableError
from hitless.facts import CloudRoute
from hitless.loop import Loop
from hitless.words import SECOND, JsonObject, Kind, Nanoseconds, Profile
from tests.clocks import ms
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import (
    CALICO_IS_UP,
    NODES,
    ROUTE_CREATED,
    Bench,
    MemoryTables,
)

FAST = TIMINGS[Profile.FAST]
IDEAL, FAITHFUL = RouteControllerMode.IDEAL, RouteControllerMode.FAITHFUL


class Routes:
    """A route controller alone, scaled up at time zero on nodes with no condition."""

    def __init__(self, behaviour: CloudBehaviour | None = None, mode: RouteControllerMode = FAITHFUL) -> None:
        bench = Bench()
        self.clock, self.kube, self.tables = bench.clock, bench.kube, MemoryTables()
        self.recorder = ListRecorder(self.clock)
        self.cloud = Cloud(self.tables, behaviour or CloudBehaviour(), self.clock)
        self.controller = RouteController(
            kube=self.kube,
            cloud=self.cloud,
            recorder=self.recorder,
            timings=replace(FAST, route_controller_start_ns=ms(0), route_controller_first_tick_ns=ms(0)),
            mode=mode,
            replicas=0,
        )
        self.controller.scale(1, ms(0))
        self.loop = Loop((self.controller,), self.kube, self.clock)

    def run_for(self, until_ns: Nanoseconds) -> None:
        self.loop.run(lambda: False, until_ns)

    def at(self, t_ns: Nanoseconds, act: Callable[[], object]) -> None:
        def call() -> None:
            act()

        self.loop.at(t_ns, call)

    def times(self, name: str) -> list[int]:
        return [int(event.t_ns) for event in self.recorder.named(name)]

    def reasons(self) -> dict[str, str]:
        found = {node["metadata"]["name"]: network_unavailable(node) for node in self.kube.list(Kind.NODE)}
        return {name: entries[0]["reason"] for name, entries in found.items() if entries}


def with_pod_cidr(node: JsonObject, cidr: str) -> JsonObject:
    return {**node["spec"], "podCIDR": cidr, "podCIDRs": [cidr]}


# The tables and the calls.


def test_one_route_after_the_other_each_with_its_latency() -> None:
    routes = Routes(CloudBehaviour(create_ns=ms(30)))
    routes.run_for(ms(1000))
    created = routes.recorder.named("route.created")
    assert [(event.facts["zone"], event.facts["node"]) for event in created] == [(z, n.name) for z in "ab" for n in NODES]
    assert [int(event.t_ns) for event in created] == [ms(30) * (number + 1) for number in range(8)]
    assert [event.t_ns - event.facts["began_ns"] for event in created] == [ms(30)] * 8
    assert routes.times("condition.written") == [ms(240 + 5 * number) for number in (1, 2, 3, 4)]
    assert [event.facts for event in routes.recorder.named("routes.synced")] == [{"nodes": [node.name for node in NODES]}]


def test_the_next_tick_comes_on_the_grid_and_does_nothing_more() -> None:
    routes = Routes()
    routes.run_for(ms(3000))
    assert len(routes.recorder.named("route.created")) == 8
    assert len(routes.recorder.named("condition.written")) == 4
    assert routes.controller.is_settled()


def test_the_sync_period_brings_a_full_update_that_changes_nothing() -> None:
    routes = Routes()
    routes.run_for(Nanoseconds(25 * SECOND))
    assert len(routes.recorder.named("routes.synced")) == 1
    assert len(routes.recorder.named("route.created", "route.deleted", "condition.written")) == 12


def test_a_tick_that_falls_into_an_update_comes_as_soon_as_it_ends() -> None:
    routes = Routes()
    node = routes.kube.get(Kind.NODE, "node-a1")
    new = {**node, "metadata": {"name": "node-b3"}, "spec": with_pod_cidr(node, "100.96.13.0/24")}
    routes.at(ms(100), lambda: routes.kube.apply(new, actor="test"))
    routes.run_for(ms(1000))
    # Eight routes of 40 ms and four conditions of 5 ms end at 340 ms, the next tick on the grid would come at 350 ms.
    assert routes.times("route.created")[8] == ms(340 + 40)


def test_a_new_node_gets_its_route_at_the_next_tick() -> None:
    routes = Routes()
    node = routes.kube.get(Kind.NODE, "node-a1")
    new = {
        **node,
        "metadata": {"name": "node-b3"},
        "spec": {**node["spec"], "podCIDR": "100.96.13.0/24", "podCIDRs": ["100.96.13.0/24"]},
    }
    routes.at(ms(1010), lambda: routes.kube.apply(new, actor="test"))
    routes.run_for(ms(2000))
    assert routes.times("route.created")[-2:] == [ms(1050 + 40), ms(1050 + 80)]
    assert routes.reasons()["node-b3"] == "RouteCreated"
    assert len(routes.recorder.named("routes.synced")) == 2


def test_a_deleted_node_loses_its_route_and_a_deleting_one_keeps_it() -> None:
    routes = Routes()
    deleting = routes.kube.get(Kind.NODE, "node-a2")
    deleting["metadata"] = {"name": "node-a2", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    routes.at(ms(1000), lambda: routes.kube.apply(deleting, actor="test"))
    routes.at(ms(1000), lambda: routes.kube.delete(Kind.NODE, "node-b1"))
    routes.run_for(ms(2000))
    assert [event.facts["node"] for event in routes.recorder.named("route.deleted")] == ["node-b1", "node-b1"]
    assert {route.node for route in routes.tables.list("a")} == {"node-a1", "node-a2", "node-b2"}


def test_a_route_to_the_wrong_node_is_deleted_first() -> None:
    routes = Routes()
    routes.tables.create(CloudRoute(zone="a", cidr=NODES[0].pod_cidr, node="node-of-old"))
    routes.run_for(ms(1000))
    assert [event.name for event in routes.recorder.events[:2]] == ["route.deleted", "route.created"]
    assert routes.tables.list("a")[0].node == "node-a1"


def test_a_node_without_pod_cidr_or_instance_is_skipped_and_never_gets_the_condition() -> None:
    routes = Routes()
    node = routes.kube.get(Kind.NODE, "node-a1")
    routes.kube.apply({**node, "metadata": {"name": "node-x"}, "spec": {"podCIDR": "100.96.20.0/24"}}, actor="test")
    routes.run_for(ms(1000))
    assert "node-x" not in routes.reasons()
    assert routes.recorder.named("routes.synced") == []


def test_after_a_failure_it_looks_again_on_a_tick_ever_later() -> None:
    routes = Routes(mode=IDEAL)
    routes.cloud.set_away(True)
    routes.run_for(Nanoseconds(4 * SECOND))
    failures = routes.recorder.named("reconcile.failed")
    waits = [event.facts["retry_ns"] for event in failures]
    expected = [ms(50)]
    while len(expected) < len(waits):
        expected.append(Nanoseconds(min(4 * expected[-1] // 3, ms(400))))
    assert waits == expected
    assert waits[-1] == ms(400)
    # The first retry is due just after the next tick, so it comes with the one after it.
    assert routes.times("reconcile.failed")[:2] == [ms(0), ms(100)]
    assert {time % ms(50) for time in routes.times("reconcile.failed")} == {0}
    assert not routes.controller.is_settled()


def test_faithful_an_api_that_does_not_answer_takes_the_route_from_every_node() -> None:
    routes = Routes()
    routes.run_for(ms(1000))
    routes.cloud.set_away(True)
    node = routes.kube.get(Kind.NODE, "node-a1")
    routes.kube.apply(
        {**node, "spec": {**node["spec"], "podCIDR": "100.96.9.0/24", "podCIDRs": ["100.96.9.0/24"]}}, actor="test"
    )
    routes.run_for(ms(1200))
    assert set(routes.reasons().values()) == {"NoRouteCreated"}
    routes.cloud.set_away(False)
    routes.run_for(ms(3000))
    assert set(routes.reasons().values()) == {"RouteCreated"}
    assert len(routes.recorder.named("routes.synced")) == 2


def test_ideal_an_api_that_does_not_answer_says_nothing() -> None:
    routes = Routes(mode=IDEAL)
    routes.cloud.set_away(True)
    routes.run_for(ms(500))
    assert set(routes.reasons().values()) == {"CalicoIsUp"}


def test_throttling_delays_and_is_overcome() -> None:
    routes = Routes(CloudBehaviour(calls_per_second=5, burst=2), mode=IDEAL)
    routes.run_for(Nanoseconds(6 * SECOND))
    assert any("RequestLimitExceeded" in event.facts["error"] for event in routes.recorder.named("route.failed"))
    assert len(routes.recorder.named("routes.synced")) == 1
    assert set(routes.reasons().values()) == {"RouteCreated"}


def test_an_overwritten_condition_stays_until_the_sync_period_is_over() -> None:
    routes = Routes()
    routes.at(ms(1000), lambda: routes.kube.merge_condition("node-a1", CALICO_IS_UP, actor="system:calico"))
    routes.run_for(ms(9000))
    assert routes.reasons()["node-a1"] == "CalicoIsUp"
    routes.run_for(Nanoseconds(12 * SECOND))
    assert routes.reasons()["node-a1"] == "RouteCreated"


def test_a_patch_that_fails_is_tried_ten_times_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = Routes()
    merge, tries = routes.kube.merge_condition, list[int]()

    def refuse_first_node(node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        assert actor == USER
        if node == "node-a1":
            tries.append(int(routes.clock.now_ns()))
            raise ApiUnavailableError("etcd leader changed")
        return merge(node, condition, actor=actor)

    monkeypatch.setattr(routes.kube, "merge_condition", refuse_first_node)
    routes.run_for(Nanoseconds(5 * SECOND))
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits == [ms(10) * 3**number // 2**number for number in range(9)]
    assert routes.reasons() == {
        "node-a1": "CalicoIsUp",
        "node-a2": "RouteCreated",
        "node-b1": "RouteCreated",
        "node-b2": "RouteCreated",
    }
    assert routes.recorder.named("routes.synced") == []
    [failure] = routes.recorder.named("reconcile.failed")
    assert failure.facts["retry_ns"] == FAST.route_controller_sync_ns


def test_ideal_a_patch_that_failed_is_tried_again_at_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = Routes(mode=IDEAL)
    merge, tries = routes.kube.merge_condition, list[str]()

    def refuse_ten_times(node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        tries.append(node)
        if len(tries) <= 10:
            raise ApiUnavailableError("etcd leader changed")
        return merge(node, condition, actor=actor)

    monkeypatch.setattr(routes.kube, "merge_condition", refuse_ten_times)
    routes.run_for(Nanoseconds(5 * SECOND))
    assert set(routes.reasons().values()) == {"RouteCreated"}
    assert routes.controller.is_settled()


def test_scaled_to_zero_it_drops_what_it_was_doing() -> None:
    routes = Routes()
    routes.at(ms(100), lambda: routes.controller.scale(0, ms(100)))
    routes.run_for(ms(1000))
    assert routes.times("route.created") == [ms(40), ms(80)]
    assert routes.controller.is_settled()
    routes.at(ms(1000), lambda: routes.controller.scale(1, ms(1000)))
    routes.run_for(ms(2000))
    assert len(routes.times("route.created")) == 8


def test_the_wall_clock_is_written() -> None:
    bench = Bench()
    controller = RouteController(
        kube=bench.kube,
        cloud=bench.switch.cloud,
        recorder=bench.recorder,
        timings=FAST,
        mode=FAITHFUL,
        replicas=1,
    )
    Loop((controller,), bench.kube, bench.clock).run(lambda: False, ms(1000))
    entry = network_unavailable(bench.kube.get(Kind.NODE, "node-a1"))[0]
    assert entry == {**ROUTE_CREATED, "lastTransitionTime": entry["lastTransitionTime"]}
    assert datetime.fromisoformat(entry["lastTransitionTime"]).utcoffset() == timedelta(0)


# The plan.


@pytest.mark.parametrize(
    ("spec", "cidr"),
    [
        ({"providerID": "aws:///a/i-1", "podCIDRs": ["100.96.1.0/24"]}, "100.96.1.0/24"),
        ({"providerID": "aws:///a/i-1", "podCIDRs": ["2001:db8::/64", "100.96.1.0/24"]}, "100.96.1.0/24"),
        ({"providerID": "aws:///a/i-1", "podCIDRs": ["2001:db8::/64"]}, None),
        ({"providerID": "aws:///a/i-1", "podCIDRs": ["nonsense"]}, None),
        ({"providerID": "aws:///a/", "podCIDRs": ["100.96.1.0/24"]}, None),
        ({"providerID": "azure:///a/i-1", "podCIDRs": ["100.96.1.0/24"]}, None),
        ({"podCIDRs": ["100.96.1.0/24"]}, None),
        ({"providerID": "aws:///a/i-1"}, None),
    ],
)
def test_a_node_needs_an_ipv4_pod_cidr_and_an_instance(spec: JsonObject, cidr: str | None) -> None:
    assert find_cidr({"metadata": {"name": "x"}, "spec": spec}) == cidr


def test_a_node_that_loses_its_instance_keeps_its_route() -> None:
    known = {"x": "100.96.1.0/24"}
    assert follow_nodes(known, [{"metadata": {"name": "x"}, "spec": {}}]) == known
    assert follow_nodes(known, []) == {}


names = st.sampled_from(["n1", "n2", "n3"])
cidrs = st.sampled_from(["100.96.1.0/24", "100.96.2.0/24", "100.96.3.0/24"])


@given(st.dictionaries(cidrs, names), st.dictionaries(names, cidrs))
def test_the_calls_turn_what_is_there_into_what_is_wanted(present: dict[str, str], wanted: dict[str, str]) -> None:
    table = MemoryTables(("a",))
    for cidr, node in present.items():
        table.create(CloudRoute(zone="a", cidr=cidr, node=node))
    unique = {node: cidr for cidr, node in {cidr: node for node, cidr in wanted.items()}.items()}
    calls = plan_table("a", table.list("a"), unique)
    for call in calls:
        if call.is_delete:
            table.delete("a", call.route.cidr)
        else:
            table.create(call.route)
    assert {(route.cidr, route.node) for route in table.list("a")} == {(cidr, node) for node, cidr in unique.items()}
    assert plan_table("a", table.list("a"), unique) == ()


@pytest.mark.parametrize(
    ("failed", "ideal", "faithful"),
    [((), True, True), (("a",), False, True), (("b",), False, False), (("a", "b"), False, False)],
)
def test_what_route_created_means(failed: tuple[str, ...], ideal: bool, faithful: bool) -> None:  # noqa: FBT001 - parametrised
    cidr = "100.96.1.0/24"
    refused = {(zone, cidr) for zone in failed}
    found = [conclude(mode, ("a", "b"), [cidr], refused)[cidr] for mode in (IDEAL, FAITHFUL)]
    assert found == [ideal, faithful]

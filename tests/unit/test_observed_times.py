"""The doubles take the times that the real parts were seen to take: the `gardener` timings, with a simulated clock."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest

from gardener.conditions import route_condition
from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.route_controller import RouteControllerMode
from gardener.timings import TIMINGS
from hitless.facts import CloudRoute
from hitless.words import SECOND, Kind, Mode, Profile
from tests.clocks import ms, seconds
from tests.unit.fakes_gardener import NODES, Bench, make_shoot

GARDENER = TIMINGS[Profile.GARDENER]
HELD_FOR_EVER = CloudBehaviour(quota={"b": 0})
IDEAL = RouteControllerMode.IDEAL


def make_bench(behaviour: CloudBehaviour | None = None) -> Bench:
    return Bench(behaviour=behaviour, mode=IDEAL, timings=GARDENER)


def held(bench: Bench) -> list[int]:
    return bench.times("gate.held")


def since_opening(bench: Bench, kind: str) -> float:
    """Return when the first object of a kind was applied, s after the gate opened or did not apply."""
    [opened] = bench.times("gate.opened") or bench.times("gate.not_applicable")
    applied = [at for at in bench.times("manifest.applied", kind=kind) if at > opened]
    return (applied[0] - opened) / SECOND


@pytest.mark.parametrize(
    "names",
    [
        ("apply_gap", "resource_manager_start", "definitions", "deletion_requeue"),
        ("annotation_seen", "restore_retry", "extension_start", "extension_reconcile"),
        ("condition_write", "route_create", "route_controller_tick", "route_controller_first_tick", "route_controller_health"),
        ("cleanup_route", "pool_skew", "vxlan_skew", "containers_stop", "bird_rewrite", "cleanup_routes"),
        ("cleanup_routes", "felix_start", "calico_up", "ready", "bird_alone", "bird_graceful_restart"),
    ],
    ids=["resource manager", "extension", "route controller", "the pool changes", "a pod is replaced"],
)
def test_the_fast_profile_keeps_the_order_within_a_part(names: tuple[str, ...]) -> None:
    for profile in Profile:
        found = {field.name.removesuffix("_max").removesuffix("_ns"): field.name for field in fields(TIMINGS[profile])}
        values = [getattr(TIMINGS[profile], found[name]) for name in names]
        assert values == sorted(values)


# gardener-resource-manager after the gate opened.


def test_deleted_at_once_applied_five_seconds_later_the_pool_last() -> None:
    bench = make_bench()
    bench.request()
    assert bench.run(seconds(120))
    [opened] = bench.times("gate.opened")
    assert bench.times("object.deleted", name="calico-kube-controllers") == [opened + ms(100)]
    assert since_opening(bench, "ConfigMap") == pytest.approx(5.2, abs=0.05)
    assert 6.0 <= since_opening(bench, "DaemonSet") <= 6.4
    gap = since_opening(bench, "IPPool") - since_opening(bench, "DaemonSet")
    assert 0.019 <= gap <= 0.046


def test_with_pod_routes_nothing_is_deleted_and_the_pool_changes_within_a_second() -> None:
    bench = Bench(shoot=make_shoot(network={"overlay": {"enabled": True}}), timings=GARDENER, is_gated=False)
    bench.request(make_shoot(network={"overlay": {"enabled": False, "createPodRoutes": True}}))
    assert bench.run(seconds(120))
    assert bench.names("object.deleted") == []
    assert since_opening(bench, "IPPool") == pytest.approx(0.8, abs=0.2)


# The extension while it holds.


def test_looks_come_at_the_observed_times() -> None:
    bench = make_bench(HELD_FOR_EVER)
    bench.request()
    bench.run(seconds(4000))
    looks = [(at - held(bench)[0]) / SECOND for at in held(bench)]
    observed = (0.65, 1.3, 2.6, 5.2, 10.4, 20.6, 41, 82, 164, 328, 656)
    assert looks[7:18] == pytest.approx(observed, rel=0.03)
    assert bench.facts("gate.held")[-1]["retry_ns"] == 1000 * SECOND


def test_a_route_that_comes_after_eleven_minutes_is_seen_after_twenty_two() -> None:
    bench = make_bench(HELD_FOR_EVER)

    def tell() -> None:
        bench.switch.route_controller.set_away(is_away=True, at_ns=bench.clock.now_ns())
        for node in NODES:
            bench.kube.merge_condition(node.name, route_condition(is_created=True), actor="test")

    bench.loop.at(seconds(3 + 660), tell)
    bench.request()
    bench.run(seconds(4000))
    [opened] = bench.times("gate.opened")
    assert (opened - held(bench)[0]) / SECOND == pytest.approx(1314, rel=0.01)


def test_an_annotation_causes_a_look_within_50_ms_that_counts_as_a_failure() -> None:
    bench = make_bench(HELD_FOR_EVER)
    for at_s in (50.0, 51.0, 52.0):
        bench.loop.at(seconds(at_s), lambda: bench.switch.extension.annotate(bench.clock.now_ns()))
    bench.request()
    bench.run(seconds(1000))
    assert [at for at in held(bench) if seconds(45) < at < seconds(60)] == [
        seconds(50.05),
        seconds(51.05),
        seconds(52.05),
    ]
    assert next(later - at for at, later in pairwise(held(bench)) if at == seconds(52.05)) == pytest.approx(328e9, rel=0.01)


def test_a_restart_while_it_holds_looks_after_three_seconds_and_forgets_the_back_off() -> None:
    bench = make_bench(HELD_FOR_EVER)
    bench.loop.at(seconds(100), lambda: bench.switch.extension.set_away(is_away=True, at_ns=bench.clock.now_ns()))
    bench.loop.at(seconds(110), lambda: bench.switch.extension.set_away(is_away=False, at_ns=bench.clock.now_ns()))
    bench.request()
    bench.run(seconds(200))
    after = [at for at in held(bench) if at > seconds(100)]
    assert after[:2] == [seconds(112.9), seconds(112.9) + ms(5)]


def test_nothing_is_written_while_it_holds_and_the_overlay_on_again_ends_it() -> None:
    bench = make_bench(HELD_FOR_EVER)
    before = [bench.kube.list(kind) for kind in (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.IP_POOL)]
    bench.request()
    bench.request(bench.shoot.with_mode(Mode.NATIVE).with_network(veth_mtu="1400"), at_ns=seconds(30))
    bench.run_for(seconds(60))
    assert [bench.kube.list(kind) for kind in (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.IP_POOL)] == before
    bench.request(bench.shoot, at_ns=seconds(60))
    bench.run_for(seconds(70))
    assert bench.times("gate.not_applicable") == [seconds(63)]
    assert bench.switch.extension.is_settled()


def test_a_restore_that_is_held_looks_fourteen_times_a_second() -> None:
    bench = make_bench(HELD_FOR_EVER)
    bench.request()
    bench.loop.at(seconds(10), lambda: bench.switch.extension.restore(bench.clock.now_ns()))
    bench.run(seconds(30))
    looks = [at for at in held(bench) if seconds(20) <= at < seconds(21)]
    assert len(looks) in {14, 15}
    assert bench.facts("gate.held")[-1]["error"] == (
        "Error restoring Network: waiting for routes to be created on all nodes before disabling overlay"
    )


def test_after_a_migration_the_gate_does_not_apply_and_the_pool_changes_within_a_second() -> None:
    bench = make_bench(HELD_FOR_EVER)
    bench.request()
    bench.loop.at(seconds(20), bench.switch.extension.migrate)
    bench.loop.at(seconds(40), lambda: bench.switch.extension.restore(bench.clock.now_ns()))
    bench.run(seconds(60))
    assert max(held(bench)) < seconds(20)
    assert bench.facts("gate.not_applicable") == [{"reason": "last-manifest-unreadable"}]
    assert since_opening(bench, "IPPool") == pytest.approx(0.8, abs=0.2)
    assert bench.names("object.deleted", "gate.opened", "routes.synced") == []


# The route controller.


def test_the_first_tick_comes_5_05_s_after_the_process_started() -> None:
    bench = make_bench()
    bench.request()
    bench.run(seconds(60))
    first = bench.recorder.named("route.created")[0].facts["began_ns"]
    assert first == bench.times("controller.scaled")[0] + GARDENER.route_controller_start_ns + seconds(5.05)


def test_short_throttling_is_invisible_and_long_throttling_is_not() -> None:
    short = make_bench(CloudBehaviour(calls_per_second=2))
    long = make_bench(CloudBehaviour(calls_per_second=0.1))
    for bench in (short, long):
        bench.request()
        bench.run(seconds(300))
    assert short.names("route.failed", "reconcile.failed") == []
    assert {facts["reason"] for facts in short.facts("condition.written")} == {"RouteCreated"}
    assert "RequestLimitExceeded" in long.facts("route.failed")[0]["error"]


def test_a_throttled_call_is_tried_three_times_more_within_5_4_s() -> None:
    bench = make_bench(CloudBehaviour(calls_per_second=0.001, burst=1))
    bench.request()
    bench.run(seconds(60))
    created, failed = bench.times("route.created")[0], bench.times("route.failed")[0]
    assert (failed - created) / SECOND == pytest.approx(0.25 + 0.3 + 1.1 + 4.03, abs=0.01)


def test_an_instance_is_looked_up_before_each_route_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make_bench()
    calls: list[str] = []
    describe, create = bench.switch.cloud.describe_instance, bench.switch.cloud.create

    def describe_instance() -> None:
        calls.append("DescribeInstances")
        describe()

    def create_route(route: CloudRoute) -> None:
        calls.append("CreateRoute")
        create(route)

    monkeypatch.setattr(bench.switch.cloud, "describe_instance", describe_instance)
    monkeypatch.setattr(bench.switch.cloud, "create", create_route)
    bench.request()
    assert bench.run(seconds(120))
    assert calls == ["DescribeInstances", "CreateRoute"] * 8


@pytest.mark.parametrize("began_s", [8.0, 11.3])
def test_a_call_that_hangs_has_no_time_out_and_ends_with_its_answer(began_s: float) -> None:
    bench = make_bench()
    bench.request()
    bench.loop.at(seconds(began_s), lambda: bench.switch.cloud.set_hanging(True))
    bench.loop.at(seconds(30), lambda: bench.switch.cloud.set_hanging(False))
    assert bench.run(seconds(120))
    assert bench.names("reconcile.failed") == []
    assert next(at for at in bench.times("route.created") if at > seconds(began_s)) >= seconds(30)
    assert len(bench.names("route.created")) == 8


def test_a_call_that_hangs_for_25_s_ends_with_its_process() -> None:
    bench = make_bench()
    bench.request()
    bench.loop.at(seconds(11.3), lambda: bench.switch.cloud.set_hanging(True))
    bench.loop.at(seconds(60), lambda: bench.switch.cloud.set_hanging(False))
    assert bench.run(seconds(200))
    [failed] = bench.times("reconcile.failed")
    # The call that was under way at 11.3 s should have ended at 11.3 s, the next quarter of a second after the first tick.
    assert (failed - seconds(11.3)) / SECOND == pytest.approx(25, abs=0.3)
    assert bench.facts("reconcile.failed")[0]["retry_ns"] == seconds(10.05)
    assert len(bench.names("route.created")) == 8


def test_without_nodes_at_its_start_it_leaves_stale_routes_alone() -> None:
    bench = Bench(start=Mode.NATIVE, timings=GARDENER)
    for node in NODES:
        bench.kube.delete(Kind.NODE, node.name)
    bench.run_for(seconds(120))
    assert bench.names("route.deleted", "reconcile.failed") == []
    assert len(bench.tables.list("a")) == 4


def test_a_node_with_ipv6_first_gets_its_route_and_never_the_condition() -> None:
    bench = make_bench()
    node = bench.kube.get(Kind.NODE, "node-b2")
    spec = {**node["spec"], "podCIDR": "2001:db8::/64", "podCIDRs": ["2001:db8::/64", node["spec"]["podCIDR"]]}
    bench.kube.apply({**node, "spec": spec}, actor="test")
    bench.request()
    assert not bench.run(seconds(120))
    assert {facts["node"] for facts in bench.facts("route.created")} == {each.name for each in NODES}
    assert bench.facts("gate.held")[-1]["missing"] == ["node-b2"]

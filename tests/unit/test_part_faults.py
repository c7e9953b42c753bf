"""Gardener's parts that do not run for a while, and a cloud whose routes come later."""

from __future__ import annotations

from gardener.doubles.cloud import CloudBehaviour
from gardener.timings import TIMINGS
from hitless.words import MILLISECOND, Nanoseconds, Profile
from tests.clocks import ms
from tests.unit.fakes_gardener import NODES, Bench

ALL_ROUTES = 2 * len(NODES)


def away(bench: Bench, name: str, from_ms: float, to_ms: float) -> None:
    bench.loop.at(ms(from_ms), lambda: bench.switch.faults.inject(name, {}))
    bench.loop.at(ms(to_ms), lambda: bench.switch.faults.cure(name, {}))


def test_while_the_extension_is_away_its_gate_is_not_asked_and_it_looks_at_once_when_it_is_back() -> None:
    bench = Bench()
    bench.request(at_ns=ms(0))
    away(bench, "extension-away", 50, 900)
    assert bench.run()
    looks = [t_ns / MILLISECOND for t_ns in bench.times("gate.held") + bench.times("gate.opened")]
    assert not [at_ms for at_ms in looks if 51 < at_ms < 900]
    start_ns = TIMINGS[Profile.FAST].extension_start_ns
    assert bench.times("gate.opened") == [ms(900) + start_ns]  # every route is there by then


def test_a_route_controller_that_was_away_starts_without_memory_and_creates_what_is_missing() -> None:
    bench = Bench()
    bench.request(at_ns=ms(0))
    away(bench, "route-controller-away", 150, 500)
    assert bench.run()
    created = bench.times("route.created")
    assert len(created) == ALL_ROUTES
    assert not [t_ns for t_ns in created if ms(151) < t_ns < ms(560)]


def test_what_is_written_is_applied_while_the_extension_is_away() -> None:
    bench = Bench(is_gated=False)
    bench.request(at_ns=ms(0))
    away(bench, "extension-away", 35, 2_000)
    bench.run_for(ms(1_000))
    assert {facts["kind"] for facts in bench.facts("manifest.applied")} >= {"DaemonSet", "IPPool"}


def test_packets_follow_an_accepted_route_only_when_it_is_effective() -> None:
    bench = Bench(behaviour=CloudBehaviour(effective_ns=ms(300)))
    bench.request(at_ns=ms(0))
    assert bench.run()
    accepted, created = bench.times("route.accepted"), bench.times("route.created")
    assert len(accepted) == len(created) == ALL_ROUTES
    assert [round((late - early) / MILLISECOND) for early, late in zip(accepted, created, strict=True)] == [300] * ALL_ROUTES
    assert bench.times("gate.opened")[0] < created[-1]  # the gate has no way to know


def test_a_route_that_is_not_effective_yet_counts_against_the_quota_and_can_be_deleted() -> None:
    bench = Bench(behaviour=CloudBehaviour(effective_ns=ms(300), quota={"a": 2}))
    bench.request(at_ns=ms(0))
    bench.run_for(ms(400))
    assert len(bench.switch.cloud.list("a")) == 2
    accepted = bench.switch.cloud.list("b")[-1]
    assert not bench.switch.cloud.is_effective(accepted)
    bench.switch.cloud.delete("b", accepted.cidr)
    assert accepted not in bench.switch.cloud.list("b")
    assert accepted not in bench.switch.cloud.take_effective(Nanoseconds(10**12))


def test_an_annotation_makes_the_extension_look() -> None:
    bench = Bench(behaviour=CloudBehaviour(quota={"a": 0, "b": 0}))
    bench.request(at_ns=ms(0))
    bench.loop.at(ms(700), lambda: bench.switch.faults.inject("network-annotated", {}))
    bench.run_for(ms(710))
    before, after = bench.times("gate.held")[-2:]
    assert after - before < ms(100)
    assert ms(700) < after < ms(706)


def test_a_migration_while_it_holds_ends_the_hold_and_the_restore_asks_no_gate() -> None:
    bench = Bench()
    bench.request(at_ns=ms(0))
    away(bench, "control-plane-migrated", 100, 300)
    assert bench.run()
    assert not [at_ns for at_ns in bench.times("gate.held") if at_ns > ms(100)]
    assert bench.facts("gate.not_applicable") == [{"reason": "last-manifest-unreadable"}]
    assert bench.times("manifest.applied", kind="IPPool")[0] < bench.times("route.created")[-1]
    assert [facts["replicas"] for facts in bench.facts("controller.scaled")] == [1, 1]
    assert len(bench.names("route.created")) == ALL_ROUTES

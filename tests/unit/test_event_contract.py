"""Doubles and observers record the events of the table in hitless/events.py, and all that a cluster must."""

from __future__ import annotations

import pytest

from hitless.events import Event
from hitless.loop import Loop
from hitless.words import MILLISECOND, Mode, Nanoseconds, Overlay
from switches.observer import ObserverOptions, SwitchObserver
from tests.event_contract import TABLE, events_of, is_in_the_contract
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import Bench
from tests.unit.lab_fakes import World, make_shoot


def strangers(events: list[Event]) -> list[Event]:
    return [event for event in events if not is_in_the_contract(event)]


def test_the_table_is_read() -> None:
    assert TABLE["run.started"] == frozenset()
    assert TABLE["switch.requested"] == {"mode"}
    assert TABLE["condition.dropped"] == {"node", "reason", "actor"}
    assert TABLE["route.deleted"] == {"zone", "cidr", "node", "began_ns"}


@pytest.mark.parametrize("overlay", list(Overlay))
def test_calicos_doubles_record_what_a_cluster_must(overlay: Overlay) -> None:
    world = World(make_shoot(Mode.OVERLAY, overlay))
    world.request(make_shoot(Mode.NATIVE, overlay), at_ms=10)
    world.run_until_settled(after_ms=1_000)
    assert {event.name for event in world.recorder.events} >= events_of("roll", "pod", "calico")
    assert strangers(world.recorder.events) == []


@pytest.mark.parametrize("is_gated", [False, True])
def test_gardeners_doubles_record_events_of_the_table(*, is_gated: bool) -> None:
    bench = Bench(is_gated=is_gated)
    bench.request(at_ns=Nanoseconds(10 * MILLISECOND))
    assert bench.run()
    assert {"switch.requested", "manifest.applied", "route.created", "condition.written", "routes.synced"} <= set(bench.names())
    assert strangers(bench.recorder.events) == []


def test_observers_record_events_of_the_table() -> None:
    world = World()
    recorder = ListRecorder(world.clock)
    observers = (SwitchObserver(kube=world.kube, recorder=recorder, clock=world.clock, options=ObserverOptions(idle_s=1)),)
    world.loop = Loop((*world.participants, *observers), world.kube, world.clock)
    world.request(make_shoot(Mode.NATIVE), at_ms=10)
    world.run(until_ms=5_000)
    assert {event.name for event in recorder.events} >= {"switch.requested", "manifest.applied", *events_of("roll", "pod")}
    assert strangers(recorder.events) == []

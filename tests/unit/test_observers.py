"""The observers beside doubles that they only see by their traces in the API: the same events, each recorded once."""

from __future__ import annotations

from collections import Counter

from hitless.loop import Loop
from hitless.words import SECOND, Kind, Mode, Nanoseconds
from switches.observer import CalicoObserver, SwitchObserver
from tests.unit.lab_fakes import TakenDown, World, make_shoot, seconds

LONG = seconds(600)


class Observed:
    """Calico's doubles as the real Calico, and both observers, who share a record that the doubles do not write to."""

    def __init__(self) -> None:
        self.world = World()
        self.clock, self.kube = self.world.clock, self.world.kube
        self.recorder = TakenDown(self.clock)
        self.calico = CalicoObserver(self.kube, self.recorder)
        self.switch = SwitchObserver(kube=self.kube, recorder=self.recorder, clock=self.clock, idle_ns=seconds(1))
        self.world.loop = Loop((*self.world.participants, self.calico, self.switch), self.kube, self.clock)

    def switch_to_native(self) -> None:
        self.world.request(make_shoot(Mode.NATIVE), at_ms=100)
        assert self.world.loop.run(self.switch.is_settled, LONG)

    def told(self, *subjects: str) -> Counter[tuple[str, object]]:
        return tell(self.recorder, *subjects)


def tell(recorder: TakenDown, *subjects: str) -> Counter[tuple[str, object]]:
    """Return how often each event of these subjects was recorded, by name and node or generation."""
    return Counter(
        (event.name, event.facts.get("node", event.facts.get("generation")))
        for event in recorder.events
        if event.name.partition(".")[0] in subjects
    )


def test_what_calico_does_is_recorded_as_its_doubles_record_it() -> None:
    observed = Observed()
    observed.switch_to_native()
    expected = tell(observed.world.recorder, "roll", "pod")
    assert {name for name, _ in expected} == {"roll.started", "roll.finished", "pod.deleted", "pod.created", "pod.ready"}
    assert observed.told("roll", "pod") == expected


def test_each_fact_is_recorded_once() -> None:
    observed = Observed()
    observed.switch_to_native()
    facts = [(event.t_ns, event.name, repr(sorted(event.facts.items()))) for event in observed.recorder.events]
    assert len(set(facts)) == len(facts)
    assert [event.facts for event in observed.recorder.events if event.name == "switch.requested"] == [{"mode": "NATIVE"}]
    applied = [event.facts["kind"] for event in observed.recorder.events if event.name == "manifest.applied"]
    assert sorted(applied) == ["DaemonSet", "IPPool", "IPPool"]


def test_the_run_is_held_from_the_apply_until_the_roll_is_over() -> None:
    observed = Observed()
    calico, world = observed.calico, observed.world
    assert calico.is_settled()
    world.request(make_shoot(Mode.NATIVE), kinds=(Kind.DAEMON_SET,))
    # The apply is due now; nothing has told the observer of it when it is asked.
    world.loop.run(lambda: world.kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"] > 1, LONG)
    assert not calico.is_settled()
    assert world.loop.run(calico.is_settled, LONG)
    finished = [event.t_ns for event in world.recorder.events if event.name == "roll.finished"]
    assert len(finished) == 1
    assert observed.clock.now_ns() >= finished[0]


def test_an_observer_that_the_api_does_not_answer_asks_again_and_holds_the_run() -> None:
    observed = Observed()
    observed.kube.set_away(True)
    assert observed.calico.reconcile(Nanoseconds(5)) == 5 + SECOND
    assert not observed.calico.is_settled()
    observed.kube.set_away(False)
    assert observed.calico.is_settled()


def test_who_has_seen_enough_ends_a_watch_in_the_middle_of_a_roll() -> None:
    world, asked = World(), [False]
    calico = CalicoObserver(world.kube, TakenDown(world.clock), lambda: asked[0])
    world.request(make_shoot(Mode.NATIVE), kinds=(Kind.DAEMON_SET,))
    world.loop.run(lambda: world.kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"] > 1, LONG)
    assert not calico.is_settled()
    asked[0] = True
    assert calico.is_settled()

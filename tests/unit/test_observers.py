"""The observers beside doubles that they only see by their traces in the API: the same events, each recorded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from clusters.kind.cluster import CalicoCluster
from clusters.kind.docker import Docker
from clusters.kind.nodes import KindMachines
from gardener.conditions import calico_is_down, other_conditions
from gardener.feature_gates import FeatureGates
from gardener.manifests.render import render
from hitless.events import Recorder
from hitless.facts import ClusterFacts
from hitless.loop import Loop
from hitless.ports import Cluster, Participant
from hitless.run import run
from hitless.store import RunStore, read_history
from hitless.words import SECOND, Kind, Mode, Nanoseconds
from switches.observer import CalicoObserver, ObserverOptions, SwitchObserver
from tests.clocks import seconds
from tests.recorders import ListRecorder
from tests.unit.lab_fakes import World, make_shoot
from tests.unit.run_fakes import FakeCluster, FakeSwitch, make_plan

LONG = seconds(600)


class Observed:
    """Calico's doubles as the real Calico, and both observers; the doubles write to another record."""

    def __init__(self) -> None:
        self.world = World()
        self.clock, self.kube = self.world.clock, self.world.kube
        self.calicos, self.everything = ListRecorder(self.clock), ListRecorder(self.clock)
        self.calico = CalicoObserver(self.kube, self.calicos)
        self.switch = SwitchObserver(
            kube=self.kube, recorder=self.everything, clock=self.clock, options=ObserverOptions(idle_s=1)
        )
        self.world.loop = Loop((*self.world.participants, self.calico, self.switch), self.kube, self.clock)

    def switch_to_native(self) -> None:
        self.world.request(make_shoot(Mode.NATIVE), at_ms=100)
        assert self.world.loop.run(self.switch.is_settled, LONG)


def tell(recorder: ListRecorder, *subjects: str) -> Counter[tuple[str, object]]:
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
    assert tell(observed.calicos, "roll", "pod") == tell(observed.everything, "roll", "pod") == expected


def test_what_the_doubles_of_a_switch_record_themselves_is_left_to_them() -> None:
    observed = Observed()
    observed.switch_to_native()
    assert {event.name.partition(".")[0] for event in observed.calicos.events} <= {"roll", "pod", "condition"}


def test_a_patient_observer_lets_others_go_first() -> None:
    world, recorder = World(), ListRecorder(World().clock)
    observer = CalicoObserver(world.kube, recorder, seconds(1))
    (name, *_) = sorted(node.name for node in world.nodes)
    world.kube.merge_condition(name, calico_is_down(), actor="calico-node")
    assert observer.reconcile(seconds(5)) == seconds(6)
    assert recorder.events == []
    assert observer.reconcile(seconds(6)) is None
    assert [event.name for event in recorder.events] == ["condition.written"]


def test_a_condition_of_calicos_that_goes_was_not_removed_by_calico() -> None:
    observed = Observed()
    (name, *_) = sorted(node.name for node in observed.world.nodes)
    node = observed.kube.get(Kind.NODE, name)
    node["status"]["conditions"] = list(other_conditions(node))
    observed.kube.replace_status(node, actor="provider-aws")
    observed.calico.reconcile(observed.clock.now_ns())
    observed.switch.reconcile(observed.clock.now_ns())
    assert [event.name for event in observed.everything.events] == ["condition.removed"]
    assert observed.calicos.events == []


def test_each_fact_is_recorded_once() -> None:
    observed = Observed()
    observed.switch_to_native()
    events = observed.everything.events
    facts = [(event.t_ns, event.name, repr(sorted(event.facts.items()))) for event in events]
    assert len(set(facts)) == len(facts)
    assert [event.facts for event in events if event.name == "switch.requested"] == [{"mode": "NATIVE"}]
    applied = [event.facts["kind"] for event in events if event.name == "manifest.applied"]
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


def test_the_operator_can_end_a_watch_during_a_roll() -> None:
    world, asked = World(), [False]
    recorder = ListRecorder(world.clock)
    observer = SwitchObserver(
        kube=world.kube,
        recorder=recorder,
        clock=world.clock,
        options=ObserverOptions(idle_s=None, is_asked_to_end=lambda: asked[0]),
    )
    world.request(make_shoot(Mode.NATIVE), kinds=(Kind.DAEMON_SET,))
    world.loop.run(lambda: world.kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"] > 1, LONG)
    assert not observer.is_settled()
    asked[0] = True
    assert observer.is_settled()


class BusyCalico:
    """A double that acts as real Calico does: no run asks it whether it is done; a Participant."""

    def __init__(self, double: Participant) -> None:
        self.name, self.watches, self.reconcile = double.name, double.watches, double.reconcile

    def is_settled(self) -> bool:
        return True


class RealCalico(FakeCluster):
    """A kind cluster, as far as its Calico goes."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.kube = world.kube  # type: ignore[assignment]  # the fake is its own API
        self.world = world
        self.observer: Sequence[Participant] = ()

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        kind = CalicoCluster.__new__(CalicoCluster)
        kind._kube = self.world.kube  # type: ignore[assignment]  # nothing is installed by it
        # Without a node there is no kernel to watch.
        kind._docker, kind._facts, kind._clock, kind._lock = Docker(Path("docker")), (), self.world.clock, ExitStack()
        kind._machines = cast("KindMachines", SimpleNamespace(left=frozenset()))
        self.observer = kind.participants(recorder)
        return (*self.observer, *map(BusyCalico, self.world.participants))


class AppliedSwitch(FakeSwitch):
    """Applies the template of the other mode, and is done."""

    def __init__(self, cluster: RealCalico) -> None:
        super().__init__(cluster)
        self._world = cluster.world

    def request(self, _: int) -> None:
        for document in render(make_shoot(Mode.NATIVE), FeatureGates()):
            if document["kind"] == Kind.DAEMON_SET:
                self._world.apply(document)


def test_a_run_on_real_calico_does_not_settle_during_its_roll(tmp_path: Path) -> None:
    world = World()
    cluster = RealCalico(world)
    plan = make_plan(make_switch=lambda *_: AppliedSwitch(cluster), duration_ns_max=LONG)
    run(plan, cast("Cluster", cluster), world.clock, RunStore(tmp_path / "run", world.clock))
    history = read_history(tmp_path / "run")
    assert history.errors == ()
    (finished,) = (event.t_ns for event in world.recorder.events if event.name == "roll.finished")
    (settled,) = history.events_named("run.settled")
    assert settled.t_ns >= finished
    assert [event.name for event in history.events_named("roll.started", "roll.finished")] == ["roll.started", "roll.finished"]


def test_the_observer_of_a_switch_takes_the_place_of_the_clusters(tmp_path: Path) -> None:
    world = World()
    cluster = RealCalico(world)

    def make_switch(_cluster: Cluster, _facts: ClusterFacts, recorder: Recorder) -> AppliedSwitch:
        switch = AppliedSwitch(cluster)
        switch.participants = (
            SwitchObserver(kube=world.kube, recorder=recorder, clock=world.clock, options=ObserverOptions(idle_s=1)),
        )
        return switch

    run(
        make_plan(make_switch=make_switch, duration_ns_max=LONG, is_until_settled=False),
        cast("Cluster", cluster),
        world.clock,
        RunStore(tmp_path / "run", world.clock),
    )
    history = read_history(tmp_path / "run")
    recorded = Counter((event.name, event.facts.get("node")) for event in history.events_named("pod.ready", "roll.finished"))
    assert recorded == {("roll.finished", None): 1} | {("pod.ready", node.name): 1 for node in world.nodes}

"""All that take part in a run's loop are held to the suite of the port: Gardener's doubles, Calico's, the observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from gardener.feature_gates import FeatureGates
from gardener.manifests.admission import policy_manifests
from gardener.manifests.render import render
from hitless.ports import KubeApi, Participant
from hitless.words import Mode
from switches.observer import CalicoObserver, ObserverOptions, SwitchObserver
from tests.clocks import JumpingClock
from tests.lab.conformance.participant import ParticipantConformance
from tests.unit.fakes_gardener import Bench
from tests.unit.lab_fakes import World, make_shoot


class TestDoublesOfGardener(ParticipantConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(is_gated=False)

    @pytest.fixture
    def participants(self, bench: Bench) -> Sequence[Participant]:
        return bench.switch.participants

    @pytest.fixture
    def kube(self, bench: Bench) -> KubeApi:
        return bench.kube

    @pytest.fixture
    def clock(self, bench: Bench) -> JumpingClock:
        return bench.clock

    @pytest.fixture
    def switch_over(self, bench: Bench) -> Callable[[], None]:
        return partial(bench.change, bench.shoot.with_mode(Mode.NATIVE))


class TestDoublesOfCalico(ParticipantConformance):
    @pytest.fixture
    def world(self) -> World:
        return World()

    @pytest.fixture
    def participants(self, world: World) -> Sequence[Participant]:
        return world.participants

    @pytest.fixture
    def kube(self, world: World) -> KubeApi:
        return world.kube

    @pytest.fixture
    def clock(self, world: World) -> JumpingClock:
        return world.clock

    @pytest.fixture
    def switch_over(self, world: World) -> Callable[[], None]:
        def act() -> None:
            shoot = make_shoot(Mode.NATIVE)
            for document in (*policy_manifests(shoot), *render(shoot, FeatureGates())):
                world.apply(document)

        return act


class TestObserverOfSwitch(TestDoublesOfCalico):
    """It looks on while the doubles switch."""

    @pytest.fixture
    def participants(self, world: World) -> Sequence[Participant]:
        kube, recorder = world.kube, world.recorder
        switch = SwitchObserver(kube=kube, recorder=recorder, clock=world.clock, options=ObserverOptions(idle_s=1))
        return (switch, *world.participants)


class TestObserverOfCalico(TestDoublesOfCalico):
    """It looks on while the doubles switch."""

    @pytest.fixture
    def participants(self, world: World) -> Sequence[Participant]:
        return (CalicoObserver(world.kube, world.recorder), *world.participants)

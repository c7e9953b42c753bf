"""Scenarios of the catalogue on a lab that someone else switches: as by `pytest suites/ --backend kubeconfig`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kubernetes.watched import find_mismatches
from clusters.lab.cluster import LabCluster
from commands.arms import execute_trial
from commands.backends import Backend, make_backend
from commands.options import BackendName
from commands.performers import SwitchName, find_impossible, make_performer
from hitless.clock import RunClock
from hitless.errors import WorldError
from hitless.ports import Clock, Cluster
from hitless.words import Arm, Verdict
from scenarios.plan import Case
from switches.observer import ObserverOptions
from tests.cases import case_of
from tests.lab.test_watch import IMAGE, RATE_HZ, QuietCluster, StrangersCluster

OBSERVER = make_performer(SwitchName.OBSERVER, ObserverOptions(until_s=20.0, idle_s=1.0))


@pytest.fixture
def make_watched(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """The backend of a kubeconfig, over a lab; `switches`: whether someone switches it."""
    labs: list[LabCluster] = []

    def make(*, switches: bool) -> Backend:
        def make_cluster(case: Case, clock: Clock) -> Cluster:
            for lab in labs:
                lab.down()
            labs.append(LabCluster(case, clock))
            assert isinstance(clock, RunClock)
            kind = StrangersCluster if switches else QuietCluster
            return kind(labs[-1], case, Arm.GATED, clock, tmp_path / f"pods-{len(labs)}")

        watched = make_backend(BackendName.KUBECONFIG, kubeconfig=Path("none"), image=IMAGE)
        return replace(watched, make_cluster=make_cluster)

    yield make
    for lab in labs:
        lab.down()


def watched_case(scenario: str) -> Case:
    case = case_of(scenario, nodes_per_zone=1, rate_hz=RATE_HZ)
    assert find_impossible(OBSERVER, case, Arm.GATED) is None
    return case


def test_an_observed_switch_is_judged_as_the_scenario_says(make_watched: Callable[..., Backend], tmp_path: Path) -> None:
    case = watched_case("plain-switch")
    judged = execute_trial(make_watched(switches=True), OBSERVER, case, Arm.GATED, 1, tmp_path / "run")
    assert judged.verdict is Verdict.PASS, [finding for result in judged.results for finding in result.findings]
    assert {result.check for result in judged.results} == {"coverage", "instrument", "continuity", "hygiene"}
    assert (judged.history.header.scenario, judged.history.header.arm) == ("plain-switch", Arm.GATED)
    names = [event.name for event in judged.history.events]
    assert names.index("run.live") < names.index("switch.requested") < names.index("run.settled")
    assert not {"gate.held", "gate.opened", "calibration.pulsed", "fault.injected"} & set(names)


def test_without_a_switch_there_is_no_verdict_for_the_scenario(make_watched: Callable[..., Backend], tmp_path: Path) -> None:
    impatient = make_performer(SwitchName.OBSERVER, ObserverOptions(until_s=3.0, idle_s=1.0))
    with pytest.raises(WorldError, match="no switch to NATIVE was seen within 3 s"):
        execute_trial(make_watched(switches=False), impatient, watched_case("plain-switch"), Arm.GATED, 1, tmp_path / "run")
    assert (tmp_path / "run" / "verdict.json").exists()


def test_nothing_happens_is_true_of_a_cluster_that_is_left_alone(make_watched: Callable[..., Backend], tmp_path: Path) -> None:
    case = watched_case("nothing-happens")
    for arm in Arm:
        judged = execute_trial(make_watched(switches=False), OBSERVER, case, arm, 1, tmp_path / arm.value)
        assert judged.verdict is Verdict.PASS, [finding for result in judged.results for finding in result.findings]


def test_a_lab_is_as_its_scenario_begins() -> None:
    case = watched_case("plain-switch")
    lab = LabCluster(case, RunClock())
    try:
        lab.up()
        assert find_mismatches(lab.kube, case) == ()
    finally:
        lab.down()

"""`hitless watch` in a lab that someone else switches: real packets and agents; the doubles are the other performer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from analysis.evidence import JudgedRun
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.prober_manifests import PodRole, ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from clusters.kubernetes.watched import WatchedCluster
from clusters.lab.cluster import LabCluster
from commands.arms import execute_plan
from commands.compare import compare_watched, judge_stored
from commands.options import Format
from commands.watch import WatchOptions, make_watch_plan
from hitless.clock import RunClock
from hitless.errors import UsageError, WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts
from hitless.ports import KubeApi, Participant
from hitless.words import MILLISECOND, Arm, Kind, Mode, Nanoseconds, Verdict
from scenarios.plan import Case, make_plan
from switches.observer import ObserverOptions
from tests.cases import case_of
from tests.clocks import HastyClock
from tests.lab.conformance.cluster import WatchedClusterConformance
from tests.lab.needs import CPUS, second_cpu
from tests.lab.pod_cluster import ProcessPods
from tests.recorders import ListRecorder
from tests.unit.test_report_schema import check_schema

IMAGE = "hitless/prober:1"
RATE_HZ = 100.0 if CPUS > 1 else 20.0
"""The rate that the machine sustains: every pod is a process."""


class Operator:
    """Requests the switch a while after the watch has begun; a Participant."""

    def __init__(self, request: Callable[[], object], delay_ns: int) -> None:
        self._request, self._delay_ns = request, delay_ns
        self._due_ns: int | None = None
        self._is_done = False
        self.name, self.watches = "operator", frozenset[Kind]()

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        if self._due_ns is None:
            self._due_ns = now_ns + self._delay_ns
        if now_ns < self._due_ns:
            return Nanoseconds(self._due_ns)
        self._is_done = True
        self._request()
        return None

    def is_settled(self) -> bool:
        return self._is_done


class ReadOnly:
    """The API of a watched cluster as a watch may use it: it has no method that writes."""

    def __init__(self, kube: KubeApi) -> None:
        self.get, self.list, self.take_changes = kube.get, kube.list, kube.take_changes

    def start(self, _kinds: object) -> None:
        """It is watched as long as it lives."""

    def stop(self) -> None:
        """As above."""


class StrangersCluster(WatchedCluster):
    """A lab as a watched cluster: hitless only watches, the doubles switch it at their own time."""

    def __init__(self, lab: LabCluster, case: Case, arm: Arm, clock: RunClock, directory: Path) -> None:
        self._lab, self._plan, self._directory = lab, make_plan(case, arm, 1, clock), directory
        self._clock = clock
        self._lab_facts = lab.up()
        addresses = {(PodRole.HOST, node.name): node.address for node in self._lab_facts.nodes}
        addresses |= {
            (PodRole(end.name.rpartition("-")[2]), end.node): end.address for end in self._lab_facts.endpoints if end.is_pod
        }
        self.host = ProcessPods(directory, addresses, self._enter)
        pods = ProberPods(self.host, ProberSpec(image=IMAGE), clock=HastyClock())
        super().__init__(cast("KindKube", ReadOnly(lab.kube)), pods)

    def _enter(self, role: PodRole, node: str) -> tuple[str, str]:
        name = node if role is PodRole.HOST else f"{node}-{role.value}"
        return "nsenter", f"--net={self._lab._network.namespace_path(name)}"

    def up(self) -> ClusterFacts:
        facts = super().up()
        assert [(node.name, node.address, node.gateway) for node in facts.nodes] == [
            (node.name, node.address, node.gateway) for node in self._lab_facts.nodes
        ]
        assert (facts.pod_mtu, facts.underlay_mtu) == (self._lab_facts.pod_mtu, self._lab_facts.underlay_mtu)
        return facts

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        unseen = ListRecorder(self._clock)
        switch = self._plan.make_switch(self._lab, self._lab_facts, unseen)
        operator = Operator(lambda: switch.request(0), 300 * MILLISECOND)
        return (*super().participants(recorder), *switch.participants, *self._lab.participants(unseen), operator)


class QuietCluster(StrangersCluster):
    """A cluster that is left alone."""

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        return WatchedCluster.participants(self, recorder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A watch of someone else's switch, stored and over."""

    judged: JudgedRun
    cluster: StrangersCluster
    directory: Path
    """Of the watch; its one run is in it."""


@pytest.fixture(scope="module")
def watches(tmp_path_factory: pytest.TempPathFactory) -> dict[Arm, Watched]:
    """One of each arm."""
    found = {}
    for arm in Arm:
        clock, directory = RunClock(), tmp_path_factory.mktemp(arm.lower())
        case = case_of()
        lab = LabCluster(case, clock)
        try:
            cluster = StrangersCluster(lab, case, arm, clock, directory / "pods")
            judged = watch(cluster, clock, directory / "watch" / "1", arm=arm)
        finally:
            lab.down()
        found[arm] = Watched(judged=judged, cluster=cluster, directory=directory / "watch")
    return found


@pytest.fixture
def make_stranger(tmp_path: Path) -> Iterator[Callable[..., tuple[StrangersCluster, RunClock]]]:
    labs: list[LabCluster] = []

    def make(arm: Arm, kind: type[StrangersCluster] = StrangersCluster) -> tuple[StrangersCluster, RunClock]:
        clock = RunClock()
        case = case_of()
        labs.append(LabCluster(case, clock))
        return kind(labs[-1], case, arm, clock, tmp_path / "pods"), clock

    yield make
    for lab in labs:
        lab.down()


class TestWatchedCluster(WatchedClusterConformance):
    @pytest.fixture
    def recorder(self, clock: RunClock) -> Recorder:
        return ListRecorder(clock)

    @pytest.fixture
    def cluster(self, clock: RunClock, tmp_path: Path) -> Iterator[WatchedCluster]:
        case = case_of()
        lab = LabCluster(case, clock)
        watched = QuietCluster(lab, case, Arm.GATED, clock, tmp_path / "pods")
        yield watched
        watched.down()
        assert (watched.host.objects, watched.host.supervisors) == ({}, {})
        lab.down()


def watch(cluster: StrangersCluster, clock: RunClock, directory: Path, **changes: Any) -> JudgedRun:  # noqa: ANN401 - options
    observer = ObserverOptions(until_s=40.0, idle_s=1.0)
    plain: dict[str, Any] = {"observer": observer, "rate_hz": RATE_HZ, "expected": Mode.NATIVE}
    return execute_plan(make_watch_plan(cluster.kube, WatchOptions(**(plain | changes)), clock), cluster, clock, directory)


def names_of(judged: JudgedRun) -> list[str]:
    return [event.name for event in judged.history.events]


EIGHT_SENDERS = second_cpu("eight senders that are processes of their own")


@EIGHT_SENDERS
def test_an_observed_ungated_switch_loses(watches: dict[Arm, Watched]) -> None:
    judged = watches[Arm.UNGATED].judged
    verdicts = {result.check: result.verdict for result in judged.results}
    assert verdicts == {
        "coverage": Verdict.PASS,
        "instrument": Verdict.PASS,
        "continuity": Verdict.FAIL,
        "hygiene": Verdict.PASS,
    }, judged.results
    request = judged.history.first_event("switch.requested")
    assert request is not None
    assert request.facts == {"mode": "NATIVE"}
    first_loss = min(outage.onset_before_ns for found in judged.measures.values() for outage in found.outages)
    assert first_loss > request.t_ns - 100 * MILLISECOND
    assert json.loads((watches[Arm.UNGATED].directory / "1" / "verdict.json").read_text())["verdict"] == "FAIL"


def test_an_observed_gated_switch_loses_nothing_and_leaves_nothing_behind(watches: dict[Arm, Watched]) -> None:
    judged, cluster = watches[Arm.GATED].judged, watches[Arm.GATED].cluster
    assert judged.verdict is Verdict.PASS, [finding for result in judged.results for finding in result.findings]
    names = names_of(judged)
    nodes = len(judged.history.facts.nodes)
    written = [event for event in judged.history.events_named("condition.written") if event.facts["reason"] == "RouteCreated"]
    assert {event.facts["node"] for event in written} == {node.name for node in judged.history.facts.nodes}
    assert (names.count("pod.created"), names.count("pod.ready")) == (nodes, nodes)
    order = ("run.live", "switch.requested", "roll.started", "roll.finished", "run.settled", "run.probing_stopped")
    assert [name for name in names if name in order] == list(order)
    applied = [event.facts["kind"] for event in judged.history.events_named("manifest.applied")]
    assert {"DaemonSet", "IPPool"} <= set(applied)
    assert (cluster.host.objects, cluster.host.supervisors) == ({}, {})
    assert len(judged.history.final_nodes) == nodes


@EIGHT_SENDERS
def test_two_stored_watches_are_compared_and_judged_again_through_the_links(
    watches: dict[Arm, Watched], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gated, ungated = (watches[arm].directory for arm in (Arm.GATED, Arm.UNGATED))
    # The headers say which is which.
    assert compare_watched((gated, ungated), tmp_path, Format.JSON) is Verdict.PASS
    summary = json.loads(capsys.readouterr().out)
    assert (summary["verdict"], summary["scenario"]) == ("PASS", "watch")
    check_schema(summary)
    latest = tmp_path / "latest"
    assert {path.name for path in latest.iterdir()} == {
        *("gated-1", "ungated-1", "verdict.json", "summary.json", "report.md", "chart.svg", "report.html")
    }
    assert (latest / "gated-1").resolve() == (gated / "1").resolve()
    assert judge_stored(latest, Format.TEXT) is Verdict.PASS
    assert "UNGATED against GATED" in capsys.readouterr().out
    with pytest.raises(UsageError, match="was given twice"):
        compare_watched((gated, gated), tmp_path, Format.JSON)
    with pytest.raises(UsageError, match="are both GATED"):
        compare_watched((gated, gated / "1"), tmp_path, Format.JSON)


def test_a_watch_without_a_switch_ends_on_request(
    make_stranger: Callable[..., tuple[StrangersCluster, RunClock]], tmp_path: Path
) -> None:
    cluster, clock = make_stranger(Arm.GATED, QuietCluster)
    asked = iter([False] * 30)
    observer = ObserverOptions(until_s=40.0, idle_s=None, is_asked_to_end=lambda: next(asked, True))
    judged = watch(cluster, clock, tmp_path / "run", observer=observer, expected=None)
    assert judged.verdict is Verdict.PASS
    assert [result.check for result in judged.results] == ["coverage", "instrument", "continuity"]
    expected = ["run.started", "run.live", "calibration.not_possible", "run.settled", "run.probing_stopped"]
    assert names_of(judged) == expected


def test_a_watch_whose_records_would_not_fit_is_refused(
    make_stranger: Callable[..., tuple[StrangersCluster, RunClock]],
) -> None:
    cluster, clock = make_stranger(Arm.GATED)
    options = WatchOptions(rate_hz=1000.0, observer=ObserverOptions(until_s=86_400.0))
    with pytest.raises(UsageError, match=r"records of 86400 s do not fit .*: 1000 probes per second and \d+ nodes"):
        make_watch_plan(cluster.kube, options, clock)
    for reach in ("routes", "faults"):
        with pytest.raises(WorldError):
            getattr(cluster, reach)
    assert cluster.host.objects == {}

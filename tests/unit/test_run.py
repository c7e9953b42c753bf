"""The main path, on a cluster of fakes: what is done in which order, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hitless.errors import WorldError
from hitless.events import Event, Recorder
from hitless.facts import CloudRoute, ClusterFacts, Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.fault_table import Fault, FaultTable
from hitless.history import RunHeader
from hitless.load import Load
from hitless.plan import PlannedFault, RunPlan
from hitless.ports import Cluster, Participant
from hitless.records import CLOCK_ROW, REFLECTOR_ROW, SENDER_ROW, SKIPPED_ROW, AgentReport, ProbeRecords, encode_header
from hitless.run import run
from hitless.store import RunStore, read_history
from hitless.words import MILLISECOND, Arm, Capability, FlowId, FlowRole, Kind, Mode, Nanoseconds, Overlay, Profile
from tests.clocks import JumpingClock

HEADER = RunHeader(
    scenario="fake",
    arm=Arm.GATED,
    trial=1,
    profile=Profile.FAST,
    overlay=Overlay.IPIP,
    start_mode=Mode.OVERLAY,
    wanted_mode=Mode.NATIVE,
    end_mode=Mode.NATIVE,
    interval_ns=Nanoseconds(MILLISECOND),
    forwarding_delay_threshold_ns=Nanoseconds(2_000 * MILLISECOND),
    validation_ns=Nanoseconds(3 * MILLISECOND),
    checks={"continuity": {"downtime_ms": 0}},
    mutant=None,
)
NODES = tuple(
    NodeFacts(
        name=f"node-{zone}1",
        zone=zone,
        address=f"10.250.{index}.11",
        pod_cidr=f"100.96.{index}.0/24",
        gateway=f"10.250.{index}.1",
    )
    for index, zone in enumerate("ab")
)
FACTS = ClusterFacts(
    backend="lab",
    carrier="ipip",
    nodes=NODES,
    endpoints=tuple(
        Endpoint(name=f"{node.name}-mesh", node=node.name, zone=node.zone, address=f"100.96.{index}.2")
        for index, node in enumerate(NODES)
    ),
    zone_gateways={"a": "10.250.0.1", "b": "10.250.1.1"},
    underlay_mtu=1500,
    pod_mtu=1480,
    permanent_neighbours=False,
    rp_filter=2,
    versions={"kernel": "6"},
)
FLOWS = (Flow(id=FlowId(1), source="node-a1-mesh", destination="node-b1-mesh", role=FlowRole.MESH),)


def make_records() -> ProbeRecords:
    sender = np.zeros(2, SENDER_ROW)
    sender["flow"], sender["seq"], sender["copies"] = 1, [0, 1], 1
    clock = np.zeros(1, CLOCK_ROW)
    return ProbeRecords(
        sender=sender,
        reflector=np.zeros(1, REFLECTOR_ROW),
        skipped=np.zeros(0, SKIPPED_ROW),
        clocks={"sender": clock},
        reports=(AgentReport(agent="sender", counters={"sent": 2}, finished=True),),
    )


class FakeTables:
    """Two zones with a route each."""

    def zones(self) -> tuple[str, ...]:
        return ("a", "b")

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        return (CloudRoute(zone=zone, cidr="100.96.0.0/24", node="node-a1"),)


class FakeCluster:
    """Every port in one; writes down what was asked of it and fails where told to."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.calls: list[str] = []
        self.facts = FACTS
        self._fails_at, self._error = fails_at, error
        self.kube = self.prober = self.faults = self
        self.routes = FakeTables()
        self.offered = frozenset({Capability.ROUTE_TABLES})
        self.calibrator = None
        self.load: Load | None = None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._fails_at:
            raise self._error or WorldError(f"{name} failed")

    def up(self) -> ClusterFacts:
        self._call("up")
        return self.facts

    def down(self) -> None:
        self._call("down")

    def participants(self, _: Recorder) -> Sequence[Participant]:
        return ()

    def capabilities(self) -> frozenset[Capability]:
        return self.offered

    def counters(self) -> dict[str, dict[str, int]]:
        self._call("counters")
        return {"vpc": {"Ip.InReceives": 1}}

    def inspect(self) -> tuple[Any, ...]:
        self._call("inspect")
        return ()

    def start(self, *_: object) -> None:
        self._call("start")

    def is_live(self) -> bool:
        self._call("is_live")
        return True

    def stop(self) -> None:
        self._call("stop")

    def collect(self) -> ProbeRecords:
        self._call("collect")
        return make_records()

    def inject(self, name: str, _: object) -> None:
        self._call(f"inject {name}")

    def cure(self, name: str, _: object) -> None:
        self._call(f"cure {name}")

    def take_changes(self) -> frozenset[Kind]:
        return frozenset()

    def list(self, kind: Kind) -> tuple[dict[str, Any], ...]:
        return ({"kind": kind.value},)


class FakeSwitch:
    """Records the request."""

    participants: tuple[Participant, ...] = ()

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    @property
    def faults(self) -> FaultTable:
        call = self._cluster._call
        return FaultTable({"own": Fault(inject=lambda _: call("inject own part"), cure=lambda _: call("cure own part"))})

    def request(self, number: int) -> None:
        self._cluster._call("request" if number == 0 else f"request {number}")


def make_plan(**changes: Any) -> RunPlan:  # noqa: ANN401 - fields of a plan
    plan = RunPlan(
        header=HEADER,
        probing=ProbeSpec(
            interval_ns=Nanoseconds(MILLISECOND), drain_ns=Nanoseconds(0), duration_ns_max=Nanoseconds(10 * MILLISECOND)
        ),
        make_flows=lambda _: FLOWS,
        make_switch=lambda cluster, _facts, _recorder: FakeSwitch(cast("FakeCluster", cluster)),
        faults=(),
        baseline_ns=Nanoseconds(MILLISECOND),
        duration_ns_max=Nanoseconds(5 * MILLISECOND),
        is_until_settled=True,
        requests_ns=(Nanoseconds(0),),
    )
    return replace(plan, **changes)


Executed = tuple[FakeCluster, Path]


@pytest.fixture
def execute(tmp_path: Path) -> Callable[..., Executed]:
    def run_it(cluster: FakeCluster, plan: RunPlan, listener: Callable[[Event], None] | None = None) -> Executed:
        clock = JumpingClock()
        directory = tmp_path / "run"
        run(plan, cast("Cluster", cluster), clock, RunStore(directory, clock, listener))
        return cluster, directory

    return run_it


def test_everything_happens_in_order_and_is_stored(execute: Callable[..., Executed]) -> None:
    cluster, directory = execute(FakeCluster(), make_plan())
    assert cluster.calls == ["up", "counters", "start", "is_live", "request", "stop", "collect", "counters", "inspect", "down"]
    history = read_history(directory)
    assert history.header == HEADER
    assert history.facts == FACTS
    assert history.flows == FLOWS
    assert [event.name for event in history.events] == [
        "run.started",
        "run.live",
        "calibration.not_possible",
        "run.settled",
        "run.probing_stopped",
    ]
    assert history.records.sender.tolist() == make_records().sender.tolist()
    assert history.records.reports == make_records().reports
    assert history.records.clocks["sender"].tolist() == make_records().clocks["sender"].tolist()
    assert history.counters_after == {"vpc": {"Ip.InReceives": 1}}
    assert history.errors == ()
    assert not (directory / "agents").exists()


def test_the_tables_of_all_zones_are_read_at_the_end_where_a_cluster_has_any(execute: Callable[..., Executed]) -> None:
    _, directory = execute(FakeCluster(), make_plan())
    routes = tuple(CloudRoute(zone=zone, cidr="100.96.0.0/24", node="node-a1") for zone in "ab")
    assert read_history(directory).final_cloud_routes == routes


def test_no_table_is_read_where_the_tables_are_out_of_reach(execute: Callable[..., Executed]) -> None:
    cluster = FakeCluster()
    cluster.offered = frozenset()
    _, directory = execute(cluster, make_plan())
    history = read_history(directory)
    assert (history.final_cloud_routes, history.errors) == (None, ())


def test_faults_are_cured_in_reverse_order_at_the_end(execute: Callable[..., Executed]) -> None:
    faults = tuple(
        PlannedFault(name=name, options={}, at_ns=Nanoseconds(at_ms * MILLISECOND), for_ns=for_ns)
        for name, at_ms, for_ns in (("a", 0, None), ("b", 1, None), ("c", 1, Nanoseconds(MILLISECOND)))
    )
    cluster, _ = execute(FakeCluster(), make_plan(faults=faults, is_until_settled=False))
    assert [call for call in cluster.calls if "inject" in call or "cure" in call] == [
        "inject a",
        "inject b",
        "inject c",
        "cure c",
        "cure b",
        "cure a",
    ]


def test_a_faults_events_tell_what_it_broke_and_when(execute: Callable[..., Executed]) -> None:
    fault = PlannedFault(name="a", options={"zone": "b"}, at_ns=Nanoseconds(0), for_ns=None)
    _, directory = execute(FakeCluster(), make_plan(faults=(fault,), is_until_settled=False))
    injected, cured = read_history(directory).events_named("fault.injected", "fault.cured")
    assert (injected.facts["fault"], injected.facts["options"]) == ("a", {"zone": "b"})
    assert (cured.facts["fault"], cured.facts["options"]) == ("a", {"zone": "b"})
    assert injected.facts["began_ns"] <= injected.t_ns <= cured.facts["began_ns"] <= cured.t_ns


def test_a_fault_breaks_the_node_that_the_cluster_has_at_the_place_that_the_scenario_names(
    execute: Callable[..., Executed],
) -> None:
    cluster = FakeCluster()
    places = (("kind-control-plane", "a"), ("kind-worker", "b"), ("kind-worker2", "b"))
    nodes = tuple(replace(FACTS.nodes[0], name=name, zone=zone) for name, zone in places)
    cluster.facts = replace(FACTS, nodes=nodes)
    fault = PlannedFault(name="a", options={"node": "node-b2"}, at_ns=Nanoseconds(0), for_ns=None)
    _, directory = execute(cluster, make_plan(faults=(fault,), is_until_settled=False))
    events = read_history(directory).events_named("fault.injected", "fault.cured")
    assert [event.facts["options"] for event in events] == [{"node": "kind-worker2"}] * 2


@pytest.mark.parametrize("place", ["start", "is_live", "request", "inject a", "cure a", "stop", "collect", "inspect"])
def test_after_an_error_the_rest_is_still_done(execute: Callable[..., Executed], place: str) -> None:
    fault = PlannedFault(name="a", options={}, at_ns=Nanoseconds(0), for_ns=None)
    cluster, directory = execute(FakeCluster(place), make_plan(faults=(fault,), is_until_settled=False))
    assert cluster.calls[-1] == "down"
    assert {"stop", "collect", "inspect"} <= set(cluster.calls)
    history = read_history(directory)
    assert any(f"{place} failed" in error for error in history.errors)


def test_a_run_does_not_settle_before_every_fault_was_injected(execute: Callable[..., Executed]) -> None:
    late = PlannedFault(name="a", options={}, at_ns=Nanoseconds(3 * MILLISECOND), for_ns=None)
    cluster, directory = execute(FakeCluster(), make_plan(faults=(late,)))
    assert "inject a" in cluster.calls
    assert [event.name for event in read_history(directory).events][-4:] == [
        "fault.injected",
        "run.settled",
        "fault.cured",
        "run.probing_stopped",
    ]


def test_a_run_makes_every_request_before_it_settles(
    execute: Callable[..., Executed],
) -> None:
    later = Nanoseconds(3 * MILLISECOND)
    cluster, directory = execute(FakeCluster(), make_plan(requests_ns=(Nanoseconds(0), later)))
    assert [call for call in cluster.calls if call.startswith("request")] == ["request", "request 1"]
    (settled,) = read_history(directory).events_named("run.settled")
    assert settled.t_ns >= MILLISECOND + later


def test_a_request_that_was_never_made_is_said(execute: Callable[..., Executed]) -> None:
    never = (Nanoseconds(0), Nanoseconds(9 * MILLISECOND))
    _, directory = execute(FakeCluster(), make_plan(requests_ns=never, is_until_settled=False))
    expected = "probing: the run ended before 1 request; lengthen duration_s, or inject and request earlier"
    assert read_history(directory).errors == (expected,)


def test_a_fault_of_the_switch_is_injected_and_cured_there(execute: Callable[..., Executed]) -> None:
    fault = PlannedFault(name="own", options={}, at_ns=Nanoseconds(0), for_ns=None)
    cluster, _ = execute(FakeCluster(), make_plan(faults=(fault,), is_until_settled=False))
    assert [call for call in cluster.calls if "own part" in call] == ["inject own part", "cure own part"]


def test_a_fault_that_was_never_injected_is_said(execute: Callable[..., Executed]) -> None:
    never = PlannedFault(name="a", options={}, at_ns=Nanoseconds(9 * MILLISECOND), for_ns=None)
    cluster, directory = execute(FakeCluster(), make_plan(faults=(never,)))
    assert "inject a" not in cluster.calls
    assert read_history(directory).errors == (
        "probing: the run ended before 1 fault; lengthen duration_s, or inject and request earlier",
    )


def test_a_fault_that_is_due_exactly_at_the_end_is_injected_and_cured(execute: Callable[..., Executed]) -> None:
    last = PlannedFault(name="a", options={}, at_ns=Nanoseconds(5 * MILLISECOND), for_ns=None)
    cluster, directory = execute(FakeCluster(), make_plan(faults=(last,), is_until_settled=False))
    assert [call for call in cluster.calls if call.endswith(" a")] == ["inject a", "cure a"]
    history = read_history(directory)
    assert history.errors == ()
    start_ns = MILLISECOND  # the baseline
    assert [event.t_ns for event in history.events_named("fault.injected")] == [start_ns + 5 * MILLISECOND]


@pytest.mark.parametrize("error", [WorldError("no"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_after_every_end_of_a_live_run_probing_continues_for_the_validation_time(
    execute: Callable[..., Executed], tmp_path: Path, error: BaseException
) -> None:
    with nullcontext() if isinstance(error, WorldError) else pytest.raises(type(error)):
        execute(FakeCluster("request", error), make_plan())
    history = read_history(tmp_path / "run")
    (stopped,) = history.events_named("run.probing_stopped")
    requested_ns = MILLISECOND  # the baseline
    assert stopped.t_ns == requested_ns + HEADER.validation_ns


def test_a_run_that_never_became_live_has_no_validation_time(execute: Callable[..., Executed]) -> None:
    _, directory = execute(FakeCluster("start"), make_plan())
    assert [(event.name, event.t_ns) for event in read_history(directory).events][-1] == ("run.probing_stopped", 0)


def test_flows_that_are_not_answered_in_time_are_said(execute: Callable[..., Executed]) -> None:
    cluster = FakeCluster()
    cluster.is_live = lambda: False  # type: ignore[method-assign]
    _, directory = execute(cluster, make_plan())
    expected = ("probing: nothing was switched: not every flow was answered after 20 s",)
    assert read_history(directory).errors == expected
    assert "request" not in cluster.calls


class InterruptedWait(JumpingClock):
    """Ctrl-C comes in a certain wait."""

    def __init__(self, due_ns: int) -> None:
        super().__init__()
        self._interrupted_ns = due_ns

    def wait_until(self, due_ns: Nanoseconds) -> None:
        super().wait_until(due_ns)
        if due_ns == self._interrupted_ns:
            raise KeyboardInterrupt


def test_ctrl_c_in_the_validation_time_ends_it_and_the_rest_is_done(tmp_path: Path) -> None:
    settled_ns = 2 * MILLISECOND  # the baseline, and an interval after the request
    cluster, clock = FakeCluster(), InterruptedWait(settled_ns + HEADER.validation_ns)
    with pytest.raises(KeyboardInterrupt):
        run(make_plan(), cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert cluster.calls[-5:] == ["stop", "collect", "counters", "inspect", "down"]
    assert read_history(tmp_path / "run").errors == ("validation: interrupted",)


def test_a_cluster_that_cannot_be_taken_down_is_said_and_the_run_is_stored(tmp_path: Path) -> None:
    clock, cluster = JumpingClock(), FakeCluster("down")
    store = RunStore(tmp_path / "run", clock)
    with pytest.raises(WorldError, match="down failed"):
        run(make_plan(), cast("Cluster", cluster), clock, store)
    assert read_history(tmp_path / "run").errors == ()
    with pytest.raises(ValueError, match="closed file"):
        store.events.record("too.late")


@pytest.mark.parametrize("place", ["up", "request"])
def test_a_cluster_that_cannot_be_taken_down_hides_no_earlier_error(tmp_path: Path, place: str) -> None:
    clock, cluster = JumpingClock(), FakeCluster(place, RuntimeError("first"))
    failing = cluster.down

    def fail_down() -> None:
        failing()
        raise WorldError("down failed")

    cluster.down = fail_down  # type: ignore[method-assign]
    store = RunStore(tmp_path / "run", clock)
    with pytest.raises(RuntimeError, match="first") as raised:
        run(make_plan(), cast("Cluster", cluster), clock, store)
    assert raised.value.__notes__ == ["taking the cluster down failed, too: WorldError: down failed"]
    with pytest.raises(ValueError, match="closed file"):
        store.events.record("too.late")


def test_a_bug_at_the_end_leaves_no_step_out(tmp_path: Path) -> None:
    clock, cluster = JumpingClock(), FakeCluster("stop", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        run(make_plan(), cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert cluster.calls[-5:] == ["stop", "collect", "counters", "inspect", "down"]
    assert read_history(tmp_path / "run").errors == ("stopping of the agents: RuntimeError: a bug",)


def test_a_bug_comes_through_and_is_on_record(tmp_path: Path) -> None:
    cluster, clock = FakeCluster("request", RuntimeError("a bug")), JumpingClock()
    with pytest.raises(RuntimeError, match="a bug"):
        run(make_plan(), cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert cluster.calls[-1] == "down"
    assert read_history(tmp_path / "run").errors == ("probing: RuntimeError: a bug",)


@pytest.mark.parametrize("place", ["start", "is_live", "request", "stop"])
def test_an_interrupt_takes_everything_down_and_comes_through(tmp_path: Path, place: str) -> None:
    cluster = FakeCluster(place, KeyboardInterrupt())
    clock = JumpingClock()
    with pytest.raises(KeyboardInterrupt):
        run(make_plan(), cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert cluster.calls[-1] == "down"
    history = read_history(tmp_path / "run")
    assert history.first_event("run.interrupted") is not None
    assert history.errors


def test_a_cluster_that_does_not_come_up_is_taken_down(tmp_path: Path) -> None:
    cluster = FakeCluster("up")
    clock = JumpingClock()
    with pytest.raises(WorldError):
        run(make_plan(), cast("Cluster", cluster), clock, RunStore(tmp_path / "run", clock))
    assert cluster.calls == ["up", "down"]


def test_a_run_that_was_killed_says_so(execute: Callable[..., Executed]) -> None:
    _, directory = execute(FakeCluster(), make_plan())
    (directory / "final.json").unlink()
    (directory / "agents.json").unlink()
    assert read_history(directory).errors == ("the run ended before its end was stored", "no probe records were stored")


def test_what_killed_agents_left_is_read(execute: Callable[..., Executed]) -> None:
    _, directory = execute(FakeCluster(), make_plan())
    (directory / "agents.json").unlink()
    (directory / "agents").mkdir()
    (directory / "agents" / "sender.sender").write_bytes(encode_header("sender", {}) + make_records().sender.tobytes())
    history = read_history(directory)
    assert history.records.sender.tolist() == make_records().sender.tolist()
    assert [report.finished for report in history.records.reports] == [False]
    assert history.errors == ("the probe records were not collected; they are read as the agents left them",)


def test_a_last_event_that_was_cut_off_is_left_out(execute: Callable[..., Executed]) -> None:
    _, directory = execute(FakeCluster(), make_plan())
    path = directory / "events.jsonl"
    path.write_text(path.read_text()[:-20])
    assert [event.name for event in read_history(directory).events][-1] == "run.settled"

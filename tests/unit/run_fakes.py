"""A cluster of fakes for the main path, a plan for it, and its execution on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from hitless.errors import WorldError
from hitless.events import Event, Recorder
from hitless.facts import ClusterFacts, Flow, ProbeSpec
from hitless.faults import Fault, FaultTable
from hitless.load import Load
from hitless.plan import RunPlan
from hitless.ports import Cluster, Participant
from hitless.records import CLOCK_ROW, REFLECTOR_ROW, SENDER_ROW, SKIPPED_ROW, AgentReport, ProbeRecords
from hitless.run import run
from hitless.store import RunStore
from hitless.words import MILLISECOND, Capability, FlowId, FlowRole, Kind, Nanoseconds
from tests.clocks import JumpingClock
from tests.unit.fakes_gardener import MemoryTables
from tests.unit.histories import facts, header

HEADER = header(
    interval_ns=Nanoseconds(MILLISECOND), validation_ns=Nanoseconds(3 * MILLISECOND), checks={"continuity": {"downtime_ms": 0}}
)
FACTS = facts(nodes_per_zone=1)
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


class FakeCluster:
    """Every port in one; writes down what was asked of it and fails where told to."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.calls: list[str] = []
        self.facts = FACTS
        self._fails_at, self._error = fails_at, error
        self.kube = self.prober = self.faults = self
        self.routes = MemoryTables()
        self.routes.fill(FACTS.nodes[:1])
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


def execute(
    directory: Path,
    cluster: FakeCluster | None = None,
    listener: Callable[[Event], None] | None = None,
    clock: JumpingClock | None = None,
    **plan: Any,  # noqa: ANN401 - fields of a plan
) -> FakeCluster:
    """Execute a plan on a cluster, store the run in a folder, and return the cluster."""
    cluster, clock = cluster or FakeCluster(), clock or JumpingClock()
    run(make_plan(**plan), cast("Cluster", cluster), clock, RunStore(directory, clock, listener))
    return cluster

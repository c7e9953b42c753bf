"""The evidence of a run: its history and everything measured of it, each computed once; and the run with its verdict.

Checks and reports ask the same questions of the same records. Each answer is kept, so a run's probes are classified once,
however many checks look at them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

from analysis.causes.attribution import Attribution, attribute
from analysis.classify import Probes, classify_flow
from analysis.cloud_routes import CloudRoutes
from analysis.connections import ConnectionMeasure, measure_connections
from analysis.instrument import OverflowLoss, overflow_losses
from analysis.ledger import Ledger, make_ledger
from analysis.measure import FlowMeasure, Measures, measure
from analysis.paths import FlowPaths, TtlPaths, find_paths
from analysis.route_history import RouteHistory
from hitless.history import History
from hitless.verdicts import CheckResult
from hitless.words import FlowId, FlowRole, JsonObject, Verdict


@dataclass(frozen=True, eq=False)
class Evidence:
    """One run as checks and reports see it. Every part is computed on first use."""

    history: History

    @cached_property
    def probes(self) -> Mapping[FlowId, Probes]:
        """The classified probes of every flow, in order of their ids."""
        return {flow.id: classify_flow(self.history, flow) for flow in self.history.flows}

    @cached_property
    def measures(self) -> Mapping[FlowId, FlowMeasure]:
        """All numbers of every flow."""
        return measure(self.history, self.probes, self.routes, self.ttls)

    @cached_property
    def routes(self) -> RouteHistory:
        """The nodes' routes over time."""
        return RouteHistory(self.history)

    @cached_property
    def cloud_routes(self) -> CloudRoutes:
        """The cloud's routes over time."""
        return CloudRoutes(self.history)

    @cached_property
    def ttls(self) -> TtlPaths:
        """The paths that the received TTLs allow."""
        return TtlPaths(self.history)

    @cached_property
    def overflows(self) -> tuple[OverflowLoss, ...]:
        """Packets that the instrument's own sockets dropped."""
        return tuple(overflow_losses(self.history))

    @cached_property
    def connections(self) -> Mapping[FlowId, ConnectionMeasure]:
        """The connections of every TCP flow."""
        return measure_connections(self.history)

    @cached_property
    def ledger(self) -> Ledger | None:
        """Where the kernel dropped packets. None: the cluster has no such counters."""
        return make_ledger(self.history, self.measures)

    @cached_property
    def causes(self) -> tuple[Attribution, ...]:
        """The causes of every outage, by flow, then in order of time."""
        return attribute(self.history, self.measures, self.probes, self.routes, self.cloud_routes, self.ttls)

    def paths(self, *roles: FlowRole) -> Iterator[FlowPaths]:
        """Yield the path of every probe, flow by flow. They are not kept: in a large mesh they are as large as the records."""
        return find_paths(self.history, self.probes, self.routes, self.ttls, *roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """One run, measured and judged. All of it follows from the history."""

    evidence: Evidence
    """The run and everything that the checks measured of it."""
    results: tuple[CheckResult, ...]
    """Of every check that ran, in the order in which they ran."""
    verdict: Verdict
    """By `hitless.verdicts.judge` over the results."""

    @property
    def history(self) -> History:
        """The run's history."""
        return self.evidence.history

    @property
    def measures(self) -> Measures:
        """All numbers of every flow, control flows included."""
        return self.evidence.measures

    def as_json(self) -> JsonObject:
        """Return the verdict and the results of the checks as one JSON object."""
        return {"verdict": self.verdict, "results": [asdict(result) for result in self.results]}

    @property
    def is_valid(self) -> bool:
        """Whether every validity check passed; otherwise the other results mean nothing."""
        validity = tuple(result for result in self.results if result.is_validity)
        return bool(validity) and all(result.verdict is Verdict.PASS for result in validity)

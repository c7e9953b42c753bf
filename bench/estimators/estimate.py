"""From measured outages to what each tool would have reported of them: of a flow, and of an arm.

An outage has a part in which the path was down for certain and a margin in which it may have been. A sample of a tool meets
the path at one instant (a round trip is short against every period); its phase is not known, and each flow has its own.
So a report is a range: the fewest failed samples of the shortest outage over all phases, the most of the longest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure, Outage
from bench.estimators.tools import Failure, Tool, Unit, make_tools
from bench.estimators.tries import fails_possibly, fails_surely
from bench.estimators.windows import Hits, Windows, count_hits, heads, leave_out, make_windows, meet
from hitless.words import MILLISECOND, SECOND, FlowRole, FlowSet

Range = tuple[float, float | None]
"""Least and most; most None: a flow was still down when the probing ended."""
Share = tuple[float, float]
"""A probability between these two; the outages' margins leave open which."""

_BEYOND_NS: Final = 120 * SECOND
"""An outage without an end may go on for this long: longer than any tool's patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """When one flow was down."""

    surely: Windows
    possibly: Windows
    until_ns: int | None
    """The probing ended here, and the flow was down; what a tool did later does not count. None: the flow was up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a tool would have reported of one flow."""

    report: Range
    """In the tool's unit."""
    nothing: Share
    """Probability that it would have reported nothing, over all phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a tool would have reported of the flows of an arm."""

    does: str
    """How it samples and what it reports."""
    unit: Unit
    """Of the two ranges below."""
    worst_flow: Range | None
    """Of the flow that was down longest by our measure; None: none was."""
    all_flows: Range
    """Of all flows of all trials together."""
    flows_reported: Share
    """Number of flows of which it would have reported anything, the mean over all phases."""
    nothing: Share
    """Probability that it would have reported nothing in a trial, the mean over the trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEstimates:
    """One arm: what we measured, and what each tool would have said. Of the small UDP mesh, the reference of every report."""

    flows: int
    """Each counted once per trial."""
    flows_hit: int
    """Of them, those with an outage."""
    worst_flow_ms: Range | None
    """Downtime of the flow that was down longest, by us; None: none was."""
    all_flows_ms: Range
    """Downtime of all flows together, by us."""
    tools: dict[str, Estimate]
    """Name of the tool to its estimate."""


def make_path(outages: Sequence[Outage], *, is_open: bool = False, clock_bound_ns: int = 0) -> Path:
    """Return when a flow was down.

    Args:
        outages: its outages, in order.
        is_open: whether the last of them had not ended when the probing did.
        clock_bound_ns: by how much the onset windows were widened for the events' clock; no event is looked at here.
    """
    surely, possibly = [], []
    for outage in outages:
        since_ns, certain_ns = outage.onset_after_ns + clock_bound_ns, outage.onset_before_ns - clock_bound_ns
        # A delayed probe can extend the certain part beyond the possible one.
        surely.append((max(certain_ns, since_ns), min(certain_ns + outage.shortest_ns, outage.end_ns)))
        possibly.append((since_ns, int(outage.end_ns)))
    until_ns = possibly[-1][1] if is_open else None
    if until_ns is not None:
        possibly.append((until_ns, until_ns + _BEYOND_NS))
    return Path(surely=make_windows(surely), possibly=make_windows(possibly), until_ns=until_ns)


def read_flow(tool: Tool, path: Path) -> Reading:
    """Return what a tool would have reported of one flow."""
    least = _count(tool, path, path.surely, tool.slowest_ns, lambda down, failure: fails_surely(down, failure.surely))
    utmost = _count(tool, path, path.possibly, tool.quickest_ns, lambda down, failure: fails_possibly(down, failure.possibly))
    most = None if path.until_ns is not None else utmost.most * tool.worth
    return Reading(report=(least.fewest * tool.worth, most), nothing=(utmost.nothing, least.nothing))


def estimate_arm(runs: Sequence[JudgedRun]) -> ArmEstimates:
    """Return what each tool would have reported of the runs of one arm; there is one at least."""
    trials = [_paths_of(run) for run in runs]
    hit = [(measure, path) for trial in trials for measure, path in trial if measure.outages]
    worst = max(hit, key=lambda one: one[0].downtime.rank, default=None)
    agents = max(1, *(len(run.history.facts.nodes) for run in runs))
    return ArmEstimates(
        flows=sum(len(trial) for trial in trials),
        flows_hit=len(hit),
        worst_flow_ms=None if worst is None else _downtime_ms(worst[0]),
        all_flows_ms=_add([_downtime_ms(measure) for measure, _ in hit]),
        tools={tool.name: _estimate(tool, trials, None if worst is None else worst[1]) for tool in make_tools(agents)},
    )


_Trial = Sequence[tuple[FlowMeasure, Path]]


def _estimate(tool: Tool, trials: Sequence[_Trial], worst: Path | None) -> Estimate:
    readings = [[read_flow(tool, path) for measure, path in trial if measure.outages] for trial in trials]
    silences = [(math.prod(one.nothing[0] for one in trial), math.prod(one.nothing[1] for one in trial)) for trial in readings]
    every_one = [one for trial in readings for one in trial]
    return Estimate(
        does=tool.does,
        unit=tool.unit,
        worst_flow=None if worst is None else read_flow(tool, worst).report,
        all_flows=_add([one.report for one in every_one]),
        flows_reported=_round(sum(1 - one.nothing[1] for one in every_one), sum(1 - one.nothing[0] for one in every_one)),
        nothing=_round(*(sum(silence[end] for silence in silences) / len(silences) for end in (0, 1))),
    )


def _paths_of(run: JudgedRun) -> _Trial:
    return [
        (measure, _path_of(run, measure))
        for flow in run.history.flows_of(FlowRole.MESH)
        if flow.flow_set is FlowSet.UDP and (measure := run.measures.get(flow.id)) is not None
    ]


def _path_of(run: JudgedRun, measure: FlowMeasure) -> Path:
    records, outages = run.history.records, measure.outages
    is_open = bool(outages) and outages[-1].is_censored
    if is_open:  # at the end, or only at the start: then it ended with an answer
        first, last = (int(np.searchsorted(records.sender["flow"], flow)) for flow in (measure.flow, measure.flow + 1))
        is_open = not np.any(records.sender["received"][first:last] == outages[-1].end_ns)
    return make_path(outages, is_open=is_open, clock_bound_ns=records.run_clock_bound_ns)


def _count(tool: Tool, path: Path, down: Windows, period_ns: int, fails: Callable[[Windows, Failure], Windows]) -> Hits:
    failing = fails(down, tool.first)
    if tool.later is not tool.first:
        begins = heads(down, period_ns)
        failing = meet(failing, begins)
        if tool.later is not None:
            failing = make_windows((*failing, *leave_out(fails(down, tool.later), begins)))
    if path.until_ns is not None:
        failing = make_windows((begin, min(end, path.until_ns)) for begin, end in failing)
    return count_hits(failing, period_ns)


def _downtime_ms(measure: FlowMeasure) -> Range:
    longest = measure.downtime.longest_ns
    return measure.downtime.shortest_ns / MILLISECOND, None if longest is None else longest / MILLISECOND


def _add(ranges: Sequence[Range]) -> Range:
    mosts = [most for _, most in ranges]
    most = None if None in mosts else round(sum(value for value in mosts if value is not None), 3)
    return round(sum(least for least, _ in ranges), 3), most


def _round(least: float, most: float) -> Share:
    return round(least, 6), round(most, 6)

"""The chart as plain rows: flows downwards, bars of outages, event marks with a lane for each label.

Pure, and drawn from outages and events, never from probes: a chart of 870 flows is as small as their outages. The page and the
picture draw the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from analysis.comparison import Comparison
from analysis.connections import Complaint, ConnectionMeasure
from analysis.evidence import JudgedRun
from analysis.load_seconds import tally
from analysis.measure import FlowMeasure
from hitless.events import Event
from hitless.facts import Flow
from hitless.history import History
from hitless.load import LoadRecords, RequestOutcome
from hitless.plural import plural
from hitless.records import Rows
from hitless.words import MILLISECOND, Arm, FlowId, FlowRole, Kind
from reports.causes import causes_of_flow
from reports.summary import measures_of

BARS_MAX: Final = 200
"""Bars of a line that flows share."""
FLOWS_MAX: Final = 40
"""Flows that get a line of their own; beyond it those that lost nothing share one, then the lightest hit ones."""

PLOT_PX: Final = 900
"""Width of the picture's time axis, and of the page's until its script knows the screen's."""
LABEL_PX: Final = 6.2
"""Width of one character of an event label, 10 px sans-serif; rendered labels take 5 to 6."""

Measured = tuple[Flow, FlowMeasure]
Causes = Mapping[tuple[FlowId, int], str]
"""Flow and the first lost probe of its outage to the likeliest cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One outage, ms from the operator's request."""

    from_ms: float
    """It began no earlier than this."""
    certain_from_ms: float
    certain_to_ms: float
    """Between these it lasted for certain."""
    to_ms: float
    """It ended no later than this; where it is censored, the probing ended here."""
    sign: str
    """Stands behind the bar: `>=` where the outage was still open, `x` where a connection was reset."""
    text: str
    """How much was lost and for how long; of an outage also its likeliest cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One flow, the flows that share a line, or the application load."""

    name: str
    bars: Sequence[Bar]
    note: str = ""
    """What befell it, and why; empty: its name says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One event."""

    at_ms: float
    label: str
    lane: int = 0
    """Line of text that the label stands in, 0 lowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One arm's trial."""

    title: str
    lines: tuple[Line, ...]
    """Top down."""
    marks: tuple[Mark, ...]
    first_ms: float
    """When the probing started, and"""
    last_ms: float
    """ended."""

    @property
    def lanes(self) -> int:
        """How many lines of text the labels take."""
        return max((mark.lane + 1 for mark in self.marks), default=1)


def shown_run(comparison: Comparison, arm: Arm) -> JudgedRun | None:
    """Return the trial that charts and timelines show: the trial that lost most; of several, the first."""
    runs = comparison.runs_of(arm)
    return max(runs, key=lambda run: sum(measure.lost for measure in measures_of(run, FlowRole.MESH)), default=None)


def make_panels(comparison: Comparison) -> tuple[tuple[Panel, ...], tuple[float, float]]:
    """Return the drawing of the trial that each arm shows, the baseline above what is compared with it, and the time axis."""
    runs = [shown_run(comparison, arm) for arm in (Arm.UNGATED, Arm.GATED)]
    panels = [make_panel(run) for run in runs if run is not None]
    span = shown_span(panels)
    return tuple(lay_out(panel, span) for panel in panels), span


def make_panel(run: JudgedRun) -> Panel:
    """Return the drawing of one run, its labels not laid out yet: that needs the scale, which both panels share."""
    history = run.history
    origin = history.origin_ns
    found = [(flow, run.measures[flow.id]) for flow in history.flows_of(FlowRole.MESH) if flow.id in run.measures]
    causes = {(said.flow, said.outage.first_seq): said.cause.kind.value for said in run.evidence.causes}
    names, own = _name_lines(history), _choose_flows(found)
    lines = [
        Line(name=names[flow.id], note=_note(run, flow, measure), bars=_bars(measure, origin, causes))
        for flow, measure in found
        if flow.id in own
    ]
    if rest := [measure for flow, measure in found if flow.id not in own]:
        hit = sum(measure.is_hit for measure in rest)
        name = f"{plural(len(rest), 'other flow' if own else 'flow')}, {hit or 'none'} hit"
        lines.append(Line(name=name, bars=_visible([bar for measure in rest for bar in _bars(measure, origin, causes)])))
    lines += _family_lines(run, origin, causes)
    if history.load is not None:
        lines.append(_load_line(history.load, origin))
    sent = history.records.sender["send_began_ns"]
    return Panel(
        title=_title(run, found),
        lines=tuple(lines),
        marks=tuple(sorted(_marks(history, origin), key=lambda mark: mark.at_ms)),
        first_ms=(int(sent.min()) - origin) / MILLISECOND if sent.size else 0.0,
        last_ms=(int(sent.max()) - origin) / MILLISECOND if sent.size else 0.0,
    )


def shown_span(panels: Sequence[Panel]) -> tuple[float, float]:
    """Return the time that all panels show, ms: from shortly before the request to shortly after the last that happened.

    Where nothing happened it is the whole time of the probing.
    """
    began = min((panel.first_ms for panel in panels), default=0.0)
    ends = [bar.to_ms for panel in panels for line in panel.lines for bar in line.bars]
    ends += [mark.at_ms for panel in panels for mark in panel.marks]
    if not ends:
        return began, max([began + 1.0, *(panel.last_ms for panel in panels)])
    # The validation time follows the last event; enough of it is shown to fit the last label.
    last = max(*ends, began + 1.0, 1.0) * 1.14
    return max(began, -0.08 * last), last


def lay_out(panel: Panel, span: tuple[float, float]) -> Panel:
    """Give every label a lane in which it meets no other label and no line of another mark.

    A label stands right of its mark. From the last mark to the first each goes one lane above all marks that its label
    reaches over: so their lines end below it, and its own line passes left of their labels. The marks are in order of time.
    """
    scale = PLOT_PX / (span[1] - span[0])
    placed: list[Mark] = []
    for mark in reversed(panel.marks):
        reach_ms = mark.at_ms + (len(mark.label) * LABEL_PX + 8) / scale
        lane = max((other.lane + 1 for other in placed if other.at_ms < reach_ms), default=0)
        placed.append(replace(mark, lane=lane))
    return replace(panel, marks=tuple(reversed(placed)))


def _title(run: JudgedRun, found: Sequence[Measured]) -> str:
    header = run.history.header
    hit = sum(measure.is_hit for _, measure in found)
    lost = sum(measure.lost for _, measure in found)
    what = (
        f"{hit} of {plural(len(found), 'flow')} hit, {plural(lost, 'probe')} lost"
        if hit
        else f"none of {plural(len(found), 'flow')} lost a probe"
    )
    return f"{header.arm} trial {header.trial}: {what}"


def _name_lines(history: History) -> dict[int, str]:
    """Return flow id to a short label: node names where each node has one endpoint among the mesh flows."""
    nodes = {endpoint.name: endpoint.node for endpoint in history.facts.endpoints}
    flows = history.flows_of(FlowRole.MESH)
    ends = {end for flow in flows for end in (flow.source, flow.destination)}
    is_short = len({nodes.get(end) for end in ends}) == len(ends) and all(end in nodes for end in ends)
    return {flow.id: f"{nodes[flow.source]} > {nodes[flow.destination]}" if is_short else flow.label for flow in flows}


def _choose_flows(found: Sequence[Measured]) -> frozenset[FlowId]:
    """Return the flows with a line of their own: all of them, or of many those that were hit hardest."""
    if len(found) > FLOWS_MAX:
        hit = (pair for pair in found if pair[1].is_hit)
        found = sorted(hit, key=lambda pair: (-pair[1].downtime.shortest_ns, -pair[1].lost, pair[0].id))[:FLOWS_MAX]
    return frozenset(flow.id for flow, _ in found)


def _note(run: JudgedRun, flow: Flow, measure: FlowMeasure) -> str:
    if not measure.is_hit:
        return f"lost none of {plural(measure.offered, 'probe')}"
    causes = ", ".join(f"{name} {share:.0%}" for name, share in causes_of_flow(run.evidence.causes, flow))
    return f"lost {measure.lost:,} of {plural(measure.offered, 'probe')}; cause: {causes or 'not known'}"


def _visible(bars: Sequence[Bar]) -> list[Bar]:
    """Return the bars of a line that flows share, without those that lie wholly beneath another where there are very many.

    The longest BARS_MAX are kept. The line's label counts the flows; summary.json has every number.
    """
    if len(bars) <= BARS_MAX:
        return list(bars)
    found: list[Bar] = []
    for bar in sorted(bars, key=lambda bar: (bar.sign, bar.from_ms, -bar.to_ms)):
        above = found[-1] if found else None
        is_beneath = (
            above is not None
            and above.sign == bar.sign
            and bar.to_ms <= above.to_ms
            and above.certain_from_ms <= bar.certain_from_ms
            and bar.certain_to_ms <= above.certain_to_ms
        )
        if not is_beneath:
            found.append(bar)
    return sorted(found, key=lambda bar: bar.from_ms - bar.to_ms)[:BARS_MAX]


def _bars(measure: FlowMeasure, origin: int, causes: Causes) -> list[Bar]:
    bars = []
    for outage in measure.outages:
        cause = causes.get((outage.flow, outage.first_seq))
        certain_from = (outage.onset_before_ns - origin) / MILLISECOND
        shortest = outage.shortest_ns / MILLISECOND
        longest = "open" if outage.longest_ns is None else f"{outage.longest_ns / MILLISECOND:.1f} ms"
        bar = Bar(
            from_ms=(outage.onset_after_ns - origin) / MILLISECOND,
            certain_from_ms=certain_from,
            certain_to_ms=certain_from + shortest,
            to_ms=(outage.end_ns - origin) / MILLISECOND,
            sign=">=" if outage.is_censored else "",
            text=f"{plural(outage.lost, 'probe')}, {shortest:.1f} ms to {longest}" + (f"; cause: {cause}" if cause else ""),
        )
        bars.append(bar)
    return bars


def _family_lines(run: JudgedRun, origin: int, causes: Causes) -> Iterator[Line]:
    """Yield a line for each other family of flows, with the outages of all its flows, and what befell its connections."""
    connections = run.evidence.connections
    others = run.history.flows_of(FlowRole.POD, FlowRole.HOST, FlowRole.SERVICE)
    for family in dict.fromkeys(flow.family for flow in others):
        flows = [flow.id for flow in others if flow.family == family and flow.id in run.measures]
        bars = [bar for flow in flows for bar in _bars(run.measures[flow], origin, causes)]
        bars += [bar for flow in flows if flow in connections for bar in _connection_bars(connections[flow], origin)]
        yield Line(name=f"{family}, {plural(len(flows), 'flow')}", bars=_visible(bars))


def _connection_bars(measure: ConnectionMeasure, origin: int) -> Iterator[Bar]:
    for stall in measure.stalls:
        text = f"a stall of {stall.wait_ns / MILLISECOND:.1f} ms, {stall.end}"
        yield _possible_bar(stall.start_ns - origin, stall.end_ns - origin, text)
    for at_ns in measure.complaints.get(Complaint.RESET, ()):
        yield _possible_bar(at_ns - origin, at_ns - origin, "a connection was reset", sign="x")


def _possible_bar(from_ns: int, to_ns: int, text: str, sign: str = "") -> Bar:
    """Return a bar without a certain part."""
    from_ms = from_ns / MILLISECOND
    return Bar(from_ms=from_ms, certain_from_ms=from_ms, certain_to_ms=from_ms, to_ms=to_ns / MILLISECOND, sign=sign, text=text)


def _load_line(load: LoadRecords, origin: int) -> Line:
    """Return the line of the application load, with a bar for each stretch in which requests failed or were slow.

    Slow: the user still waited when the next request was due.
    """
    rows = load.rows
    is_failed = np.isin(rows["outcome"], [outcome for outcome in RequestOutcome if outcome.is_failure])
    is_slow = ~is_failed & (rows["ended"] - rows["began"] > load.spec.interval_ns)
    stretches: list[list[int]] = []
    end_ns = -1
    for place in np.flatnonzero(is_failed | is_slow).tolist():
        if rows["began"][place] > end_ns:
            stretches.append([])
        stretches[-1].append(place)
        end_ns = max(end_ns, int(rows["ended"][place]))
    bars = []
    for places in stretches:
        found = rows[places]
        from_ns, to_ns = int(found["began"].min()) - origin, int(found["ended"].max()) - origin
        text = (
            f"{_say_requests(found, int(is_slow[places].sum()))}, {from_ns / MILLISECOND:,.1f} to {to_ns / MILLISECOND:,.1f} ms"
        )
        bars.append(_possible_bar(from_ns, to_ns, text))
    note = f"{plural(len(rows), 'request')}: {_say_requests(rows, int(is_slow.sum()))}"
    return Line(name=f"HTTP load, {plural(load.spec.users, 'user')}", note=note, bars=bars)


def _say_requests(rows: Rows, slow: int) -> str:
    """Return how many requests failed, by kind, and how many were slow."""
    found = tally(rows)
    kinds = f" ({', '.join(f'{label} {count:,}' for label, count in found.failures.items())})" if found.failures else ""
    return f"{found.failed or 'none'} failed{kinds}, {slow or 'none'} slow"


def _marks(history: History, origin: int) -> Iterator[Mark]:
    """Yield the events that explain what is seen, in the words of the reader."""

    def mark(event: Event, label: str) -> Mark:
        return Mark(at_ms=(event.t_ns - origin) / MILLISECOND, label=label)

    for name, label in _MARKED.items():
        event = history.first_event(name)
        if event is not None:
            yield mark(event, label)
    requests = history.requests
    for request in requests:
        yield mark(request, "requested" if len(requests) == 1 else f"{request.facts.get('mode')} requested")
    routes = list(history.events_named("route.created"))
    if routes:
        yield mark(routes[0], "first route")
        yield mark(routes[-1], f"last of {plural(len(routes), 'route')}")
    for event in history.events_named("manifest.applied"):
        if event.facts.get("kind") == Kind.IP_POOL and event.facts.get("mode") == history.header.wanted_mode:
            yield mark(event, "IPPool applied")
            break
    finished = list(history.events_named("roll.finished"))
    if finished:
        yield mark(finished[-1], "roll finished")


_MARKED: Final = {
    "gate.not_applicable": "gate not applicable",
    "gate.held": "gate holds",
    "gate.opened": "gate opened",
    "roll.started": "roll started",
    "fault.injected": "fault",
    "fault.cured": "cured",
}
"""Event to its label; the first of its name is marked."""

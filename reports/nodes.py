"""Nodes on the page: the mode of each one's routes over time, whether cloud routes led to it, and who could not reach whom.

Pure. The modes are those of analysis/route_history, so the lanes cannot contradict paths and causes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure
from analysis.route_history import RouteMode, RouteTimeline
from hitless.history import History
from hitless.plural import plural
from hitless.words import MILLISECOND, FlowRole
from reports.quantities import NONE

LANES_MAX: Final = 30
"""Nodes that get a lane each, in the cluster's order; the page says how many it leaves out."""

_MODES: Final = {RouteMode.OVERLAY: "overlay", RouteMode.NATIVE: "native", RouteMode.UNKNOWN: "mixed"}
HEAT_NODES_MAX: Final = 24
"""A larger cluster is shown by zones."""
LEVELS: Final = 5
"""Shades; 0: no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch in which nothing changes, ms from the operator's request."""

    from_ms: float
    to_ms: float
    state: str
    """Of modes `overlay`, `native`, `mixed` (by peer, or being rewritten); of routes `none`, `some`, `all`."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One node."""

    row: str
    segments: tuple[Segment, ...]


def mode_lanes(run: JudgedRun) -> tuple[Lane, ...]:
    """Return by what each node reached the others over time."""
    history = run.history
    names = [node.name for node in history.facts.nodes]
    routes = run.evidence.routes
    return tuple(Lane(row=name, segments=tuple(_modes(history, routes.timelines(name)))) for name in names[:LANES_MAX])


def route_lanes(run: JudgedRun) -> tuple[Lane, ...]:
    """Return in how many zones a cloud route led to each node over time."""
    facts = run.history.facts
    zones = sorted(facts.zone_gateways)
    return tuple(Lane(row=node.name, segments=tuple(_routes(run, node.name, zones))) for node in facts.nodes[:LANES_MAX])


def _modes(history: History, timelines: Sequence[RouteTimeline]) -> Iterator[Segment]:
    first_ns, last_ns = _ends(history)
    found = {int(edge) for line in timelines for step in line.steps for edge in (step.at.earliest_ns, step.at.latest_ns)}
    found |= {line.unknown_ns for line in timelines if line.unknown_ns is not None}
    edges = [first_ns, *sorted(edge for edge in found if first_ns < edge < last_ns), last_ns]
    middles = np.array([(a + b) // 2 for a, b in pairwise(edges)], dtype=np.int64)
    bits = np.zeros(middles.size, dtype=np.uint8)
    for line in timelines:
        bits |= line.between(middles, middles)
    states = [_MODES.get(RouteMode(int(bit)), "mixed") for bit in bits]
    words = {"overlay": "by the tunnel", "native": "by native routes", "mixed": "differs by peer, or being rewritten"}
    yield from _merge(history, edges, states, words)


def _routes(run: JudgedRun, node: str, zones: Sequence[str]) -> Iterator[Segment]:
    first_ns, last_ns = _ends(run.history)
    routes = {zone: run.evidence.cloud_routes.toward(zone, node) for zone in zones}
    have = {zone for zone, (is_missing, _) in routes.items() if not is_missing}
    changes = sorted((int(step.at.latest_ns), zone, step.is_missing) for zone in zones for step in routes[zone][1])
    edges, states = [first_ns], [_readiness(have, zones)]
    for at_ns, zone, is_missing in changes:
        edges.append(min(max(at_ns, edges[-1]), last_ns))
        (have.discard if is_missing else have.add)(zone)
        states.append(_readiness(have, zones))
    words = {
        "none": "no zone has a cloud route",
        "some": "a cloud route in some zones only",
        "all": "a cloud route in every zone",
    }
    yield from _merge(run.history, [*edges, last_ns], states, words)


def _readiness(have: set[str], zones: Sequence[str]) -> str:
    if not have:
        return "none"
    return "all" if len(have) == len(zones) else "some"


def _ends(history: History) -> tuple[int, int]:
    """Return the run clock at the first and at the last event."""
    times = [int(event.t_ns) for event in history.events] or [0]
    return times[0], max(times[-1], times[0] + 1)


def _merge(history: History, edges: Sequence[int], states: Sequence[str], words: dict[str, str]) -> Iterator[Segment]:
    """Yield the stretches with equal neighbours joined."""
    origin = history.origin_ns
    start = 0
    for index in range(1, len(states) + 1):
        if index == len(states) or states[index] != states[start]:
            from_ms, to_ms = ((edge - origin) / MILLISECOND for edge in (edges[start], edges[index]))
            text = f"{words[states[start]]}, {from_ms:,.1f} to {to_ms:,.1f} ms"
            yield Segment(from_ms=from_ms, to_ms=to_ms, state=states[start], text=text)
            start = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The mesh flows from one place to another, over all trials of an arm."""

    text: str
    """Longest downtime of a flow, ms; `0` where none lost a probe; `-` where there is no flow."""
    level: int
    """0 to LEVELS, by the share of the longest downtime of the table."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """One arm."""

    place: str
    """What a line is: `node` or `zone`."""
    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """From the source at the line to the destination at the column."""


def make_heat_map(runs: Sequence[JudgedRun]) -> HeatMap:
    """Return the map of an arm's runs."""
    facts = runs[0].history.facts
    is_small = len(facts.nodes) <= HEAT_NODES_MAX
    place_of = {end.name: end.node if is_small else end.zone for end in facts.endpoints}
    names = tuple(dict.fromkeys(node.name if is_small else node.zone for node in facts.nodes))
    found: defaultdict[tuple[str, str], list[FlowMeasure]] = defaultdict(list)
    for run in runs:
        for flow in run.history.flows_of(FlowRole.MESH):
            if flow.id in run.measures:
                found[place_of[flow.source], place_of[flow.destination]].append(run.measures[flow.id])
    worst_ms = max((measure.downtime.best_ns for measures in found.values() for measure in measures), default=0) / MILLISECOND
    rows = tuple(tuple(_cell(found.get((source, to), []), worst_ms) for to in names) for source in names)
    return HeatMap(place="node" if is_small else "zone", names=names, rows=rows)


def _cell(measures: Sequence[FlowMeasure], worst_ms: float) -> Cell:
    if not measures:
        return Cell(text=NONE, level=0, note="no flow")
    hit = sum(measure.is_hit for measure in measures)
    if not hit:
        return Cell(text="0", level=0, note=f"{plural(len(measures), 'flow')}, none lost a probe")
    longest_ms = max(measure.downtime.best_ns for measure in measures) / MILLISECOND
    level = max(1, round(longest_ms / worst_ms * LEVELS)) if worst_ms else 1
    note = f"{hit} of {plural(len(measures), 'flow')} lost probes, down for at most {longest_ms:,.1f} ms"
    return Cell(text=f"{longest_ms:,.0f}", level=level, note=note)

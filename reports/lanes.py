"""Lanes below the flows: the mode of each node's routes over time, and whether cloud routes led to the node.

Pure. The modes are those of analysis/route_history, so the lanes cannot contradict paths and causes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from analysis.evidence import JudgedRun
from analysis.route_history import RouteMode, RouteTimeline
from hitless.history import History
from hitless.words import MILLISECOND

NODES_MAX: Final = 30
"""Nodes that get a lane each, in the cluster's order; the page says how many it leaves out."""

_MODES: Final = {RouteMode.OVERLAY: "overlay", RouteMode.NATIVE: "native", RouteMode.UNKNOWN: "mixed"}


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
    return tuple(Lane(row=name, segments=tuple(_modes(history, routes.timelines(name)))) for name in names[:NODES_MAX])


def route_lanes(run: JudgedRun) -> tuple[Lane, ...]:
    """Return in how many zones a cloud route led to each node over time."""
    facts = run.history.facts
    zones = sorted(facts.zone_gateways)
    return tuple(Lane(row=node.name, segments=tuple(_routes(run, node.name, zones))) for node in facts.nodes[:NODES_MAX])


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

"""Source by destination: how long the pods of one node, or of one zone, could not reach those of another. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure
from hitless.plural import plural
from hitless.words import MILLISECOND, FlowRole
from reports.quantities import NONE

NODES_MAX: Final = 24
"""A larger cluster is shown by zones."""
LEVELS: Final = 5
"""Shades; 0: no loss."""


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
    is_small = len(facts.nodes) <= NODES_MAX
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

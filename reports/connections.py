"""TCP connections, family by family: their totals for the summary. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.connections import Complaint, ConnectionMeasure, StallEnd
from analysis.evidence import JudgedRun
from reports.quantities import ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTotals:
    """The connections of one family of flows, over all trials."""

    flows: int
    """Each counted once per trial."""
    offered: int
    """Messages that were to be sent."""
    answered: int
    """In time."""
    opened: int
    """Connections."""
    reset: int
    ended: int
    refused: int
    timed_out: int
    unreachable: int
    slow: int
    """New connections that had to send something again."""
    stalled: int
    """Times an open connection fell silent for more than 200 ms while messages waited."""
    recovered: int
    """Of the stalls those that the connection survived."""
    stall_ms_max: float | None
    """Longest wait of one message; None: nothing stalled."""
    unconnected_ms_max: float
    """Longest time without an open connection, after one had ended."""


def summarise_connections(runs: Sequence[JudgedRun]) -> dict[str, ConnectionTotals]:
    """Return family to totals, of the TCP families of these runs."""
    families: defaultdict[str, list[ConnectionMeasure]] = defaultdict(list)
    for run in runs:
        measures = run.evidence.connections
        for flow in run.history.flows:
            if flow.id in measures:
                families[flow.family].append(measures[flow.id])
    return {family: _total(found) for family, found in families.items()}


def _total(measures: Sequence[ConnectionMeasure]) -> ConnectionTotals:
    stalls = [stall for measure in measures for stall in measure.stalls]
    # A message that was only lost is no complaint about its connection.
    complaints = {
        complaint.value.replace("-", "_"): sum(measure.count(complaint) for measure in measures)
        for complaint in Complaint
        if complaint is not Complaint.LOST
    }
    return ConnectionTotals(
        flows=len(measures),
        offered=sum(measure.offered for measure in measures),
        answered=sum(measure.answered for measure in measures),
        opened=sum(measure.opened for measure in measures),
        **complaints,
        recovered=sum(stall.end is StallEnd.RECOVERED for stall in stalls),
        stall_ms_max=max((ms(stall.wait_ns) for stall in stalls), default=None),
        unconnected_ms_max=ms(max((measure.unconnected_ns for measure in measures), default=0)),
    )

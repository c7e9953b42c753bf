"""The paths of an arm in numbers: the egress of its probes, loss by the modes of both nodes, and both transitions.

A pure function of judged runs; part of the summary's schema. Mesh flows between nodes, over all trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.bounds import Length
from analysis.convergence import Transitions, find_transitions
from analysis.evidence import JudgedRun
from analysis.paths import CELLS, Direction, Flags, ModeLoss, ProbePath, count_cells, make_matrix
from hitless.words import MILLISECOND, FlowRole
from reports.quantities import Duration, Spread, duration_of, make_spread


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounts:
    """The packets of one direction. Each is by the Preferred Egress, by the Next-Best Egress, or unknown."""

    taken: int
    """Packets that went this way; a probe that was lost on the way out has no answer to go back."""
    preferred: int
    """By the path before the switch (RFC 6412 3.4.3)."""
    next_best: int
    """By the path after it (3.4.4)."""
    unknown: int
    """By one of both."""
    contradicted: int
    """Part of unknown: TTL and events have nothing in common."""
    tunnel: int
    direct: int
    """Plain, to a node of the same zone."""
    router: int
    """Plain, by the gateway. tunnel, direct and router: of all that were taken, those of which it is known exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionSpread:
    """One length of time over the flows to which it applies, ms."""

    spread_ms: Spread
    """Of the likely length of each flow."""
    bounds_ms_max: Duration | None
    """The length of the flow whose likely length is the largest; longest None: it had not ended. None: there is no flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSummary:
    """The paths of one arm."""

    flows: int
    """Flows between nodes, each counted once per trial."""
    out: DirectionCounts
    """To the reflector."""
    back: DirectionCounts
    """To the sender."""
    matrix: tuple[ModeLoss, ...]
    """Nine cells, by sender, then by receiver."""
    event_transition: TransitionSpread
    """From the request until a flow is impaired, or leaves the Preferred Egress (RFC 6412 3.3.1)."""
    events_impaired: int
    """Flows whose event transition was ended by an impaired probe: the others were carried on without one."""
    first_out: TransitionSpread
    """From the request until the first probe arrives by the Next-Best Egress."""
    first_back: TransitionSpread
    """From the request until the first answer does."""
    recovery_transition: TransitionSpread
    """From the first of both until the flow is on the new path, unimpaired for good (RFC 6412 3.3.2)."""


def summarise_paths(runs: Sequence[JudgedRun]) -> PathSummary:
    """Summarise the paths of the runs of one arm, one flow after the other: a large mesh has millions of probes."""
    cells, out, back = np.zeros(CELLS, dtype=np.int64), dict.fromkeys(_COUNTED, 0), dict.fromkeys(_COUNTED, 0)
    transitions: list[Transitions] = []
    flows = 0
    for run in runs:
        request = run.history.request
        for found in run.evidence.paths(FlowRole.MESH):
            flows += 1
            cells += count_cells(found)
            for field, read in _COUNTED.items():
                out[field] += int(np.count_nonzero(read(found.out)))
                back[field] += int(np.count_nonzero(read(found.back)))
            if request is not None:
                transitions.append(find_transitions(found, request.t_ns))

    def over_flows(read: Callable[[Transitions], Length | None]) -> TransitionSpread:
        return _spread(length for one in transitions if (length := read(one)) is not None)

    return PathSummary(
        flows=flows,
        out=DirectionCounts(**out),
        back=DirectionCounts(**back),
        matrix=make_matrix(cells),
        event_transition=over_flows(lambda one: one.event),
        events_impaired=sum(one.is_impaired for one in transitions),
        first_out=over_flows(lambda one: one.first_out),
        first_back=over_flows(lambda one: one.first_back),
        recovery_transition=over_flows(lambda one: one.recovery),
    )


_COUNTED: Final[Mapping[str, Callable[[Direction], Flags]]] = {
    "taken": lambda way: way.is_taken,
    "preferred": lambda way: way.is_preferred,
    "next_best": lambda way: way.is_next_best,
    "unknown": lambda way: way.is_unknown,
    "contradicted": lambda way: way.is_contradicted,
    "tunnel": lambda way: way.paths == ProbePath.TUNNEL,
    "direct": lambda way: way.paths == ProbePath.DIRECT,
    "router": lambda way: way.paths == ProbePath.ROUTER,
}
"""Field of DirectionCounts to the packets that it counts."""


def _spread(lengths: Iterable[Length]) -> TransitionSpread:
    every = list(lengths)
    likely = [None if one.likely_ns is None else one.likely_ns / MILLISECOND for one in every]
    # A length without an end is longer than all others.
    longest = max(every, key=lambda one: (one.likely_ns is None, one.likely_ns or one.shortest_ns), default=None)
    return TransitionSpread(spread_ms=make_spread(likely), bounds_ms_max=None if longest is None else duration_of(longest))

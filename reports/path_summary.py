"""The paths of an arm in numbers: by which egress its probes went, loss by the modes of both nodes, and both transitions.

A pure function of judged runs; part of the summary's schema. Mesh flows between nodes, over all trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hitless.judged import JudgedRun
from hitless.mixed_modes import make_matrix
from hitless.path import Direction, Flags, FlowPaths, ProbePath, find_paths
from hitless.transitions import Bounded, Transitions, find_transitions
from hitless.words import MILLISECOND, FlowRole
from reports.spread import Spread, make_spread


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
class ModeLoss:
    """One cell of the mixed-mode matrix: the probes that met these modes. Each offered probe is in one cell."""

    sender: str
    """OVERLAY, NATIVE, or UNKNOWN: while the node's routes were rewritten."""
    receiver: str
    offered: int
    lost: int
    lost_near_end: int
    lost_far_end: int
    lost_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionSpread:
    """One length of time over the flows to which it applies, ms."""

    spread_ms: Spread
    """Of the middle of each flow's bounds."""
    bounds_ms_max: tuple[float, float | None] | None
    """Shortest and longest of the flow whose middle is the largest; longest None: it had not ended. None: there is no flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSummary:
    """The paths of one arm."""

    flows: int
    """Flows between nodes, each counted once a trial."""
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
    """Summarise the paths of the runs of one arm."""
    found: list[FlowPaths] = []
    transitions: list[Transitions] = []
    for run in runs:
        request = run.history.first_event("switch.requested")
        mesh = [one for one in find_paths(run.history) if one.flow.role is FlowRole.MESH]
        found += mesh
        transitions += [] if request is None else [find_transitions(one, request.t_ns) for one in mesh]

    def over_flows(read: Callable[[Transitions], Bounded | None]) -> TransitionSpread:
        return _spread(length for one in transitions if (length := read(one)) is not None)

    return PathSummary(
        flows=len(found),
        out=_count(one.out for one in found),
        back=_count(one.back for one in found),
        matrix=tuple(
            ModeLoss(
                sender=str(cell.sender.name),
                receiver=str(cell.receiver.name),
                offered=cell.offered,
                lost=cell.lost,
                lost_near_end=cell.near_end,
                lost_far_end=cell.far_end,
                lost_unknown=cell.unknown,
            )
            for cell in make_matrix(found)
        ),
        event_transition=over_flows(lambda one: one.event),
        events_impaired=sum(one.is_impaired for one in transitions),
        first_out=over_flows(lambda one: one.first_out),
        first_back=over_flows(lambda one: one.first_back),
        recovery_transition=over_flows(lambda one: one.recovery),
    )


def _count(directions: Iterable[Direction]) -> DirectionCounts:
    every = list(directions)

    def total(read: Callable[[Direction], Flags]) -> int:
        return sum(int(np.count_nonzero(read(one))) for one in every)

    return DirectionCounts(
        taken=total(lambda one: one.is_taken),
        preferred=total(lambda one: one.is_preferred),
        next_best=total(lambda one: one.is_next_best),
        unknown=total(lambda one: one.is_unknown),
        contradicted=total(lambda one: one.is_contradicted),
        tunnel=total(lambda one: one.paths == ProbePath.TUNNEL),
        direct=total(lambda one: one.paths == ProbePath.DIRECT),
        router=total(lambda one: one.paths == ProbePath.ROUTER),
    )


def _spread(lengths: Iterable[Bounded]) -> TransitionSpread:
    every = list(lengths)
    middles = [None if one.longest_ns is None else (one.shortest_ns + one.longest_ns) / 2 / MILLISECOND for one in every]
    longest = max(every, key=_by_middle, default=None)
    return TransitionSpread(spread_ms=make_spread(middles), bounds_ms_max=None if longest is None else _bounds_ms(longest))


def _by_middle(length: Bounded) -> tuple[bool, int]:
    """Sort key: what had not ended is longer than all that had."""
    return length.longest_ns is None, length.shortest_ns + (length.longest_ns or 0)


def _bounds_ms(length: Bounded) -> tuple[float, float | None]:
    shortest_ms = round(length.shortest_ns / MILLISECOND, 3)
    return shortest_ms, None if length.longest_ns is None else round(length.longest_ns / MILLISECOND, 3)

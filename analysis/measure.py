"""From probes to counts, outages and times: the arithmetic behind every number of a report.

Reports print the likely length of an outage as the downtime. It never decides a verdict; the two bounds do. What a network
loses with or without a switch, its background loss, is judged by number alone.

Pure. Definitions, sources and the reasons for them: docs/measuring.md; RFC 6412, 6413, 6414, 3357 (loss periods), 8762.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.bounds import Length, add_lengths
from analysis.classify import Probes
from analysis.convergence import find_convergence
from analysis.instrument import find_runs
from analysis.paths import TtlPaths
from analysis.route_history import RouteHistory
from hitless.facts import Flow
from hitless.history import History
from hitless.records import NONE_NS
from hitless.words import FlowId, Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Length):
    """A loss period of one flow, and its length."""

    flow: FlowId
    first_seq: int
    """Sequence number of the first lost probe."""
    lost: int
    """Number of consecutive lost probes."""
    near_end: int
    """Of them lost on the way out."""
    far_end: int
    """Of them lost on the way back."""
    unknown: int
    """Of them where the direction is not known."""
    onset_after_ns: Nanoseconds
    """`send_began_ns` of the last unimpaired probe before it: the onset window opens here. Earlier by what the agents' run
    clock may be off the events'."""
    onset_before_ns: Nanoseconds
    """Latest possible drop of the first lost probe: the onset window closes here. Later by the same."""
    end_ns: Nanoseconds
    """`received` of the first probe that was sent after it and answered; where censored, `send_ended_ns` of the last lost
    probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Probes by class. Each is in one class, the first that matches (RFC 6412 3.8.1)."""

    offered: int
    """Probes that the kernel took: unimpaired + lost + duplicated + reordered + corrupted."""
    unimpaired: int
    lost: int
    """No answer within the Forwarding Delay Threshold."""
    lost_near_end: int
    lost_far_end: int
    lost_unknown: int
    late: int
    """Part of lost: the answer came after the threshold."""
    duplicated: int
    reordered: int
    corrupted: int
    send_errors: int
    """Probes that the kernel refused to send: the instrument's loss, not offered."""
    lost_instrument: int
    """Probes that a socket of the instrument dropped, or may have dropped: not offered, never downtime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMeasure(Counts):
    """All numbers of one flow."""

    flow: FlowId
    outages: tuple[Outage, ...]
    blind_ns: Nanoseconds | None
    """Longest stretch between two unimpaired probes with no lost one between; an outage shorter than this may have gone unseen.
    None: fewer than two unimpaired probes."""
    downtime: Length
    """Sum over the outages."""
    downtime_plbm_ns: Nanoseconds
    """Packet-loss-based: lost / offered load (RFC 6412 3.6.5 Eq 8)."""
    convergence_ns: Nanoseconds | None
    """Route-Specific Convergence Time: from the Convergence Event Instant until the flow surely uses the new path unimpaired
    for good. None: it never did, that is not known, or no switch was asked for."""
    convergence_earliest_ns: Nanoseconds | None
    """The same if it was as early as the records allow. None: it never did, or no switch was asked for."""

    @property
    def is_hit(self) -> bool:
        """Whether the flow lost a probe."""
        return self.lost > 0


Measures = Mapping[FlowId, FlowMeasure]


def measure(history: History, probes: Mapping[FlowId, Probes], routes: RouteHistory, ttls: TtlPaths) -> Measures:
    """Return the measures of every flow of a run, mesh and control, in order of their ids.

    Flows of which there is no record at all have zero offered probes.
    """
    return {flow.id: _measure_flow(flow, probes[flow.id], history, routes, ttls) for flow in history.flows}


def find_outages(flow: FlowId, probes: Probes) -> tuple[Outage, ...]:
    """Return the loss periods of one flow (RFC 3357), each with its length as docs/measuring.md defines it."""
    anchors = np.flatnonzero(probes.is_anchor)
    proven = _proven_ns(probes, anchors)
    return tuple(_outage(flow, probes, first, behind - 1, anchors, proven) for first, behind in find_runs(probes.is_lost))


def blind_ns(probes: Probes) -> Nanoseconds | None:
    """Return the longest stretch between two answered probes with no lost one between: what is shorter may have gone unseen.

    A corrupted probe between them proves nothing and shortens nothing. None: there are no two such probes.
    """
    anchors = np.flatnonzero(probes.is_anchor)
    lost_before = np.cumsum(probes.is_lost)[anchors]
    pairs = np.flatnonzero(lost_before[:-1] == lost_before[1:])
    if not pairs.size:
        return None
    return Nanoseconds(int(np.max(_proven_ns(probes, anchors)[pairs + 1] - probes.rows["send_began_ns"][anchors[pairs]])))


def _proven_ns(probes: Probes, anchors: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return for each answered probe when it, or one that overtook it, first proved that the path works."""
    received = probes.rows["received"][anchors]
    return np.asarray(np.minimum.accumulate(received[::-1])[::-1], dtype=np.int64)


def _outage(
    flow: FlowId, probes: Probes, first: int, last: int, anchors: npt.NDArray[np.intp], proven: npt.NDArray[np.int64]
) -> Outage:
    rows = probes.rows
    place = int(np.searchsorted(anchors, first))
    before = int(anchors[place - 1]) if place else None
    place = int(np.searchsorted(anchors, last))
    works_ns = int(proven[place]) if place < anchors.size else None
    latest_first_drop = _drop_ns(probes, first)[1]
    shortest = max(0, _drop_ns(probes, last)[0] - latest_first_drop)
    likely = longest = None
    if before is not None and works_ns is not None:
        longest = Nanoseconds(works_ns - int(rows["send_began_ns"][before]))
        # A delayed probe may have been dropped after later ones had passed.
        shortest = min(shortest, longest)
        likely = Nanoseconds(min(max(likely_ns(probes, first, last), shortest), longest))
    run = slice(first, last + 1)
    near_end, far_end = int(np.count_nonzero(probes.is_near_end[run])), int(np.count_nonzero(probes.is_far_end[run]))
    lost = last + 1 - first
    return Outage(
        flow=flow,
        first_seq=int(rows["seq"][first]),
        lost=lost,
        near_end=near_end,
        far_end=far_end,
        unknown=lost - near_end - far_end,
        shortest_ns=Nanoseconds(shortest),
        likely_ns=likely,
        longest_ns=longest,
        onset_after_ns=Nanoseconds(int(rows["send_began_ns"][first if before is None else before]) - probes.run_clock_bound_ns),
        onset_before_ns=Nanoseconds(latest_first_drop + probes.run_clock_bound_ns),
        end_ns=Nanoseconds(int(rows["send_ended_ns"][last]) if works_ns is None else works_ns),
    )


def _drop_ns(probes: Probes, index: int) -> tuple[int, int]:
    """Return when a lost probe can have been dropped, by the largest one-way delays seen."""
    return probes.drop_ns(index, probes.way(index), probes.forward_delay_max_ns, probes.return_delay_max_ns)


def _measure_flow(flow: Flow, probes: Probes, history: History, routes: RouteHistory, ttls: TtlPaths) -> FlowMeasure:
    outages = find_outages(flow.id, probes)
    earliest_ns, latest_ns = find_convergence(history, routes, ttls, flow, probes)
    lost = int(np.count_nonzero(probes.is_lost))
    far_end, near_end = int(np.count_nonzero(probes.is_far_end)), int(np.count_nonzero(probes.is_near_end))
    others = [int(np.count_nonzero(mask)) for mask in (probes.is_duplicated, probes.is_reordered, probes.is_corrupted)]
    return FlowMeasure(
        flow=flow.id,
        offered=int(probes.rows.size),
        unimpaired=int(probes.rows.size) - lost - sum(others),
        lost=lost,
        lost_near_end=near_end,
        lost_far_end=far_end,
        lost_unknown=lost - near_end - far_end,
        late=int(np.count_nonzero(probes.is_late)),
        duplicated=others[0],
        reordered=others[1],
        corrupted=others[2],
        send_errors=probes.send_errors,
        lost_instrument=probes.lost_instrument,
        outages=outages,
        blind_ns=blind_ns(probes),
        downtime=add_lengths(outages),
        downtime_plbm_ns=Nanoseconds(lost * history.interval_of(flow)),
        convergence_ns=latest_ns,
        convergence_earliest_ns=earliest_ns,
    )


_Window = tuple[int, int]
"""When something happened: between these two times, ns."""


def likely_ns(probes: Probes, first: int, last: int) -> int:
    """Return the likely length of an outage from its first lost probe to its last; a probe before and one after were answered.

    If packets were lost in both directions, one cause is presumed as long as the times allow it, and the windows of both are
    intersected. Otherwise the outage covers both. A probe whose direction of loss is unknown was lost on the way out, which
    comes first.
    """
    run, rows = np.arange(first, last + 1), probes.rows
    is_back = probes.is_far_end[run]
    found = []
    if not is_back.all():
        out = run[~is_back]
        found.append(_windows(rows["send_began_ns"], out[0] - 1, out, out[-1] + 1))
    if is_back.any():
        # An incomplete log can lack an answered probe: then its send time at the reflector is in the answer, or in the probe.
        left = np.where(probes.reflector_sent == NONE_NS, rows["reflector_sent"], probes.reflector_sent)
        left = np.where(left == NONE_NS, rows["send_began_ns"], left)
        back, anchors = run[is_back], np.flatnonzero(probes.is_anchor)
        before, after = np.searchsorted(anchors, (back[0], back[-1]))
        found.append(_windows(left, anchors[before - 1], back, anchors[after]))
    began = _join([began for began, _ in found], is_start=True)
    ended = _join([ended for _, ended in found], is_start=False)
    return (sum(ended) - sum(began)) // 2


def _windows(times_ns: npt.NDArray[np.int64], before: int, lost: npt.NDArray[np.intp], after: int) -> tuple[_Window, _Window]:
    """Return when one way broke and when it worked again, by the times at which packets set out on it."""
    return (int(times_ns[before]), int(times_ns[lost[0]])), (int(times_ns[lost[-1]]), int(times_ns[after]))


def _join(windows: list[_Window], *, is_start: bool) -> _Window:
    """Return where the windows overlap; where they do not, the earlier start or the later end."""
    since, until = max(since for since, _ in windows), min(until for _, until in windows)
    if since < until:
        return since, until
    return min(windows) if is_start else max(windows)


_CHANCE_MAX: Final = 0.001
"""Probability of one loss period that long in a whole run."""
_DEVIATIONS: Final = 4
"""Standard deviations above the expected number of losses: a chance of 1 in 30,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """The part of the loss of some flows that the background explains."""

    length_max: int
    """The longest loss period that may be the background's, probes."""
    lost: int
    """Probes lost in loss periods up to that length."""
    allowed: int
    """The background explains at most this many."""
    offered: int


def find_background(measures: Iterable[FlowMeasure], loss_ratio: float) -> Background:
    """Return what a background loss of that ratio explains; a ratio of 0 explains nothing."""
    flows = tuple(measures)
    offered = sum(found.offered for found in flows)
    if loss_ratio <= 0 or not offered:
        return Background(length_max=0, lost=0, allowed=0, offered=offered)
    length_max = max(0, math.ceil(math.log(_CHANCE_MAX / offered) / math.log(loss_ratio)) - 1)
    expected = offered * loss_ratio
    return Background(
        length_max=length_max,
        lost=sum(outage.lost for found in flows for outage in found.outages if outage.lost <= length_max),
        allowed=math.ceil(expected + _DEVIATIONS * math.sqrt(expected)),
        offered=offered,
    )


def without_background(found: FlowMeasure, background: Background) -> FlowMeasure:
    """Return a flow's loss without the outages that the background may explain; the rest is judged one by one."""
    if not background.length_max:
        return found
    outages = tuple(outage for outage in found.outages if outage.lost > background.length_max)
    return replace(
        found,
        outages=outages,
        lost=sum(outage.lost for outage in outages),
        lost_near_end=sum(outage.near_end for outage in outages),
        lost_far_end=sum(outage.far_end for outage in outages),
        lost_unknown=sum(outage.unknown for outage in outages),
        downtime=add_lengths(outages),
    )

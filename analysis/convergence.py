"""Convergence of a flow: when it used the new path without impairment until the end, and the transitions on the way there.

Each time has two bounds, a probe apart if the nodes report when they rewrite their routes (`analysis.route_history`). If that
is only inferred from objects, the earliest is the first time that the probes do not exclude, and the latest is when objects,
TTLs and the nodes' final state leave no doubt. RFC 6412 sees transitions in the throughput; one flow has only its probes.

Pure. Definitions and sources: docs/measuring.md, Convergence and Path of a probe; RFC 6412 3.3, 3.6.3, 3.7.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.bounds import Length, make_length
from analysis.classify import Probes
from analysis.paths import Direction, Flags, FlowPaths, TtlPaths, paths_of
from analysis.route_history import RouteHistory
from hitless.facts import Flow
from hitless.history import History
from hitless.records import Rows
from hitless.words import IpFamily, Nanoseconds

Bounds = tuple[Nanoseconds | None, Nanoseconds | None]
"""Route-Specific Convergence Time of a flow (RFC 6412 3.6.3), from the request on: it cannot have converged before the first
(None: it cannot have converged), and had surely converged by the second (None: that is not known)."""
_NEVER: Final = (None, None)


def find_convergence(history: History, routes: RouteHistory, ttls: TtlPaths, flow: Flow, probes: Probes) -> Bounds:
    """Return when a flow had converged; never for a flow within a node or in IPv6, or if no change of mode was requested.

    It ends with the first probe from which on every probe is unimpaired, no TTL contradicts the end mode, and both nodes'
    routes are of that mode, held for the validation time.
    """
    rows, ends, end_mode = probes.rows, ttls.ends(flow), history.header.end_mode
    is_switch = history.request is not None and end_mode is not history.header.start_mode
    if not is_switch or not rows.size or ends is None or flow.ip_family is IpFamily.IPV6:
        return _NEVER
    wanted = np.uint8(paths_of(end_mode, ends))
    is_early = is_late = probes.is_impaired
    for node, peer, column, is_decided in (
        (ends.sender, ends.reflector, "forward_ttl", ends.is_to_pod),
        (ends.reflector, ends.sender, "return_ttl", ends.is_back_to_pod),
    ):
        arrival = routes.toward(node, peer).arrival(end_mode)
        if arrival is None:
            return _NEVER
        allowed = ttls.allowed(ends, rows[column])
        is_wrong, is_proven = (allowed & wanted) == 0, (allowed & ~wanted) == 0
        is_early = is_early | (is_wrong & is_decided) | (rows["send_began_ns"] < arrival.earliest_ns)
        is_late = is_late | is_early | ((rows["send_began_ns"] < arrival.latest_ns) & ~(is_proven & is_decided))
    return _end(history, rows, is_early), _end(history, rows, is_late)


def _end(history: History, rows: Rows, is_wrong: Flags) -> Nanoseconds | None:
    """Return when the first probe after the last impaired one was answered, if none was sent in the validation time.

    The last one counts, and not the first good one: a run can settle less than an interval after the last change.
    """
    wrong = np.flatnonzero(is_wrong)
    index = int(wrong[-1]) + 1 if wrong.size else 0
    stopped = history.first_event("run.probing_stopped")
    stopped_ns = int(rows["send_ended_ns"][-1]) if stopped is None else stopped.t_ns
    if index >= rows.size or rows["send_began_ns"][max(0, index - 1)] > stopped_ns - history.header.validation_ns:
        return None
    return Nanoseconds(int(rows["received"][index]) - history.origin_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """The transitions of one flow, counted from the Convergence Event Instant, the operator's request."""

    event: Length | None
    """Convergence Event Transition: until the flow is impaired, or first leaves the Preferred Egress in a direction. None: it
    never did."""
    is_impaired: bool
    """Whether what ended the event transition was an impaired probe; False: it was carried by the new path at once."""
    first_out: Length | None
    """Until the way out is the Next-Best Egress and works: the first probe that arrived by it. None: none did."""
    first_back: Length | None
    """The same of the way back."""
    recovery: Length | None
    """Convergence Recovery Transition: from the earlier of both until every probe is unimpaired and none takes the Preferred
    Egress. It is not counted from the instant. None: no probe came by the Next-Best Egress."""


def find_transitions(found: FlowPaths, request_ns: Nanoseconds) -> Transitions:
    """Return the transitions of one flow. Probes before `request_ns`, the Convergence Event Instant, do not count.

    Source: RFC 6412 3.2.4 (First Route Convergence Instant: the first unimpaired packet by the Next-Best Egress), 3.3.1, 3.3.2.
    """
    is_after = found.probes.rows["send_began_ns"] >= request_ns
    out, back = (_first_arrival(found, direction, is_after) for direction in (found.out, found.back))
    event, is_impaired = _event(found, is_after, request_ns)
    return Transitions(
        event=event,
        is_impaired=is_impaired,
        first_out=_since(out, request_ns),
        first_back=_since(back, request_ns),
        recovery=_recovery(found, [instant for instant in (out, back) if instant is not None]),
    )


def _between(direction: Direction, before_ns: int, before: int | None, after: int) -> Length:
    """Return the instant between two probes of a direction, counted from the run's start.

    Likely is half-way between the times at which both set out. Without a probe before, it is between `before_ns` and the other.
    """
    since_ns, until_ns = direction.since_ns, int(direction.until_ns[after])
    likely_ns = ((before_ns if before is None else int(since_ns[before])) + int(since_ns[after])) // 2
    return make_length(before_ns, min(max(before_ns, likely_ns), until_ns), until_ns)


def _since(instant: Length | None, request_ns: int) -> Length | None:
    if instant is None or instant.longest_ns is None:
        return None
    return make_length(instant.shortest_ns - request_ns, instant.best_ns - request_ns, instant.longest_ns - request_ns)


def _event(found: FlowPaths, is_after: Flags, request_ns: int) -> tuple[Length | None, bool]:
    """Return the event transition, and whether an impaired probe ended it."""
    probes, out, back = found.probes, found.out, found.back
    is_impaired = probes.is_impaired
    gone = np.flatnonzero(is_after & (is_impaired | out.is_next_best | back.is_next_best))
    if not gone.size:
        return None, False
    first = int(gone[0])
    good = np.flatnonzero((~is_impaired & out.is_preferred & back.is_preferred)[:first])
    has_left_out = bool(out.is_next_best[first] | probes.is_near_end[first])
    before = int(good[-1]) if good.size else None
    before_ns = request_ns if before is None else int(probes.rows["send_began_ns"][before])
    instant = _between(out if has_left_out else back, before_ns, before, first)
    return _since(instant, request_ns), bool(is_impaired[first])


def _first_arrival(found: FlowPaths, direction: Direction, is_after: Flags) -> Length | None:
    """Return when a direction began to work by the new path.

    That is after the last probe before the first arrival that was lost this way or certainly took the old path.
    """
    probes = found.probes
    has_come = ~probes.is_lost | (probes.is_far_end if direction is found.out else False)
    come = np.flatnonzero(has_come & direction.is_next_best & is_after)
    if not come.size:
        return None
    first = int(come[0])
    not_yet = np.flatnonzero((~has_come | direction.is_preferred)[:first])
    before = int(not_yet[-1]) if not_yet.size else 0
    return _between(direction, int(probes.rows["send_began_ns"][before]), before, first)


def _recovery(found: FlowPaths, arrivals: list[Length]) -> Length | None:
    """Return the time between the first arrival by the new path and the last change for the better."""
    if not arrivals:
        return None
    began = min(arrivals, key=lambda instant: instant.rank)
    rows, is_impaired = found.probes.rows, found.probes.is_impaired
    bad = np.flatnonzero(is_impaired | found.out.is_preferred | found.back.is_preferred)
    last_bad = int(bad[-1]) if bad.size else -1
    # A probe whose path is not known may still have taken the old one.
    good = np.flatnonzero((~is_impaired & found.out.is_next_best & found.back.is_next_best)[last_bad + 1 :])
    before = max(0, last_bad)
    before_ns = int(rows["send_began_ns"][before])
    shortest = max(0, before_ns - began.rank[1])
    if not good.size:
        return Length(shortest_ns=Nanoseconds(shortest), longest_ns=None)
    ended = _between(found.back, before_ns, before, last_bad + 1 + int(good[0]))
    likely, longest = ended.best_ns - began.best_ns, ended.rank[1] - began.shortest_ns
    return make_length(shortest, max(shortest, likely), max(shortest, longest))

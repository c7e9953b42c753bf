"""Coverage: would the instrument have seen an outage?

A validity check: its findings say nothing about the switch, but while there is one, no other result counts. Every reason has
its own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.evidence import Evidence
from analysis.instrument import is_network_refusal, span, without
from checks.check import Limits, make_check
from hitless.events import Event
from hitless.facts import Part
from hitless.history import History
from hitless.plural import plural
from hitless.records import STRAYS, Rows
from hitless.verdicts import Finding, doubt, note
from hitless.words import MICROSECOND, MILLISECOND, Arm, FlowRole, Kind, Mode, Nanoseconds, Overlay

BEFORE_REQUEST_NS: Final = Nanoseconds(100 * MILLISECOND)
"""Gaps matter from this long before the operator's request until the probing stops, including the validation time."""

FOLLOWED_NS: Final = Nanoseconds(1_000 * MILLISECOND)
"""A node whose routes change within this time of the pool had a Felix that lived: a new one needs 4 s. Source: docs/kind.md."""

BYPASSES: Final[Mapping[str, str]] = {
    "Management.probes": "probe",
    "Management.tunnels": "encapsulated packet",
}
"""Counters of packets that came in by a node's management interface, where a cluster has one, to what they count."""


@make_check(
    "coverage",
    budgets={
        "missing_ratio": 0.1,  # of the probes that a flow should have offered: twice the skipped ticks, for the ends of the run
        "missed_ticks_ratio": 0.05,  # of the ticks of the run: a few only coarsen blind_ms, more mean that the sender lags
        "gap_intervals": 10,  # between two probes of a flow, while it matters
        "send_errors": 0,  # probes that the kernel refused
        "pool_lag_ms": 300,  # of the IPPool behind the DaemonSet, where this machine applies them and it matters
    },
    is_validity=True,
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Ask each question in turn; yield one finding for each that fails."""
    yield from _ask_harness(evidence.history)
    yield from _ask_liveness(evidence.history)
    yield from _ask_agents(evidence.history)
    yield from _ask_offered(evidence.history, limits)
    yield from _ask_ticks(evidence.history, limits)
    yield from _ask_gaps(evidence.history, limits)
    yield from _ask_management(evidence.history)
    yield from _ask_pace(evidence, limits)


def _ask_harness(history: History) -> Iterator[Finding]:
    for error in history.errors:
        yield doubt("harness-error", error)
    interrupted = history.first_event("run.interrupted")
    if interrupted is not None:
        yield doubt("interrupted", "the run was interrupted; repeat it", t_ns=interrupted.t_ns)
    elif not any(history.events_named("run.settled", "run.timed_out")) and not history.errors:
        yield doubt("run-unfinished", "the record ends before the run settled or its time was over; repeat the run")


def _ask_liveness(history: History) -> Iterator[Finding]:
    """Nothing may happen before every flow has been answered several times in a row."""
    live = history.first_event("run.live")
    if live is None:
        yield doubt(
            "not-live", "there was no time at which every flow was answered, so the network was broken before the switch"
        )
        return
    for requested in history.requests[:1]:
        if requested.t_ns < live.t_ns:
            yield doubt("not-live-first", "the switch was requested before every flow was answered", t_ns=requested.t_ns)


def _ask_agents(history: History) -> Iterator[Finding]:
    if not history.records.reports:
        yield doubt("agent-unfinished", "no probe agent reported")
    for report in history.records.reports:
        if not report.finished:
            yield doubt("agent-unfinished", f"the agent {report.agent} ended without a report")
        if report.counters.get("rate_limited", 0):
            unanswered = plural(report.counters["rate_limited"], "probe")
            yield doubt(
                "rate-limited",
                f"the agent {report.agent} left {unanswered} unanswered because they exceeded its rate limit; lower the rate",
            )
        strays = {name: report.counters.get(name, 0) for name in STRAYS}
        if any(strays.values()):
            found = ", ".join(f"{count} {name}" for name, count in strays.items() if count)
            yield note("strays-dropped", f"the agent {report.agent} dropped packets of other senders: {found}")


def _offered(history: History) -> Rows:
    """Return the probes that were sent."""
    return without(history.records.sender, history.records.sender["send_errno"] != 0)


def _ask_offered(history: History, limits: Limits) -> Iterator[Finding]:
    """Every flow offers about as many probes as fit into the time."""
    if not history.flows_of(FlowRole.MESH):
        yield doubt("no-mesh-flows", "there is no flow between pods of different nodes")
    rows = _offered(history)
    counts = np.bincount(rows["flow"], minlength=max((flow.id for flow in history.flows), default=0) + 1)
    silent = [flow.label for flow in history.flows if counts[flow.id] == 0]
    if silent:
        yield doubt("flow-silent", f"{plural(len(silent), 'flow')} sent no probe at all, such as {silent[0]}")
    if rows.size == 0:
        return
    last_ns = int(rows["send_began_ns"].max())
    # Agents of other classes start one after the other, so a flow's time begins with its own first probe.
    heard = [flow for flow in history.flows if counts[flow.id]]
    begins = {flow.id: int(rows["send_began_ns"][span(rows["flow"], flow.id).start]) for flow in heard}
    expected = {flow.id: (last_ns - begins[flow.id]) // history.interval_of(flow) + 1 for flow in heard}
    limit = limits["missing_ratio"]
    short = [flow for flow in heard if limit is not None and counts[flow.id] < expected[flow.id] * (1 - limit) - 1]
    if short:
        worst = min(short, key=lambda flow: int(counts[flow.id]))
        text = f"{plural(len(short), 'flow')} offered too few probes"
        text += f"; the worst, {worst.label}, {counts[worst.id]} of {expected[worst.id]}"
        yield doubt("flow-probes-missing", text)
    # Probes that a node's own network refuses to send may be lost by the switch: continuity judges them.
    errors = int(np.count_nonzero((history.records.sender["send_errno"] != 0) & ~is_network_refusal(history)))
    allowed = limits["send_errors"]
    if allowed is not None and errors > allowed:
        yield doubt("send-errors", f"the kernel refused to send {plural(errors, 'probe')}; allowed: {allowed:g}")


def _ask_ticks(history: History, limits: Limits) -> Iterator[Finding]:
    """Judge skipped ticks per sender, so that the others do not hide a slow sender."""
    limit, skipped = limits["missed_ticks_ratio"], history.records.skipped
    if limit is None:
        return
    senders = []
    for report in history.records.reports:
        missed = report.counters.get("ticks_skipped", 0)
        senders.append((f"the agent {report.agent}", missed, missed + report.counters.get("ticks", 0)))
    # An agent without a report still numbered its ticks and recorded those that it skipped.
    left = int(skipped.size) - sum(missed for _, missed, _ in senders)
    if left > 0:
        senders.append(("agents that did not report", left, left + int(history.records.sender["seq"].max(initial=0)) + 1))
    for who, missed, ticks in senders:
        if missed > ticks * limit:
            text = f"{who} skipped {missed} of {plural(ticks, 'tick')} ({missed / ticks:.1%}); allowed: {limit:.1%}"
            text += "; lower the rate, or use a quieter machine"
            yield doubt("ticks-missed", text, t_ns=int(skipped["due"][0]) if skipped.size else None)


def _window(history: History) -> tuple[int, int] | None:
    """Return the time in which a gap matters: from the first request, or from the start if there was none, to the end."""
    live = history.first_event("run.live")
    ends = tuple(history.events_named("run.probing_stopped", "run.interrupted"))
    if live is None or not ends:
        return None
    requested_ns = min((request.t_ns for request in history.requests), default=Nanoseconds(0))
    return max(live.t_ns, requested_ns - BEFORE_REQUEST_NS), ends[0].t_ns


def _ask_gaps(history: History, limits: Limits) -> Iterator[Finding]:
    """No flow may lack probes for long in the time that matters."""
    window, limit = _window(history), limits["gap_intervals"]
    rows = _offered(history)
    if window is None or limit is None or rows.size == 0:
        return
    first_ns, last_ns = window
    worst, worst_ns, worst_at_ns, flows = 0.0, 0, 0, 0
    for flow in history.flows:
        mine = rows["send_began_ns"][span(rows["flow"], flow.id)]
        edges = _probing_instants(np.sort(mine), first_ns, last_ns)
        gaps = np.diff(edges)
        intervals = float(gaps.max() / history.interval_of(flow))
        flows += intervals > limit
        if intervals > worst:
            worst, worst_ns, worst_at_ns = intervals, int(gaps.max()), int(edges[gaps.argmax()])
    if flows:
        text = (
            f"{plural(flows, 'flow')} went without a probe for up to {worst_ns / 1e6:.1f} ms "
            f"({worst:.1f} intervals) between the request and the end; "
            f"allowed: {limit:g} intervals; lower the rate, or use a quieter machine"
        )
        yield doubt("probing-gap", text, t_ns=worst_at_ns)


def _probing_instants(before: npt.NDArray[np.int64], first_ns: int, last_ns: int) -> npt.NDArray[np.int64]:
    """Return when the flow was probed inside a window, with the nearest probe outside each edge, or the edge itself."""
    first, last = int(np.searchsorted(before, first_ns, "right")), int(np.searchsorted(before, last_ns, "left"))
    opening = before[first - 1] if first else first_ns
    closing = before[last] if last < before.size else last_ns
    return np.concatenate(([opening], before[first:last], [closing])).astype(np.int64)


def _ask_management(history: History) -> Iterator[Finding]:
    """A probe that bypasses the zones does not use the routes between them: a single one makes the run INCONCLUSIVE."""
    for name, what in BYPASSES.items():
        grown = {
            place: after[name] - history.counters_before.get(place, {}).get(name, 0)
            for place, after in history.counters_after.items()
            if name in after
        }
        hit = {place: count for place, count in sorted(grown.items()) if count > 0}
        if hit:
            place, count = next(iter(hit.items()))
            seen = f"{plural(sum(hit.values()), what)} arrived at the management interface of {plural(len(hit), 'node')}"
            yield doubt("bypassed-zones", f"{seen}, {count} of them at {place}: they did not take the path under test")


def _ask_pace(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """A resource manager, double or program, that a busy machine slows down is not representative of one in a seed.

    The outcome depends on its pace where VXLAN ends: a calico-node that dies before the pool changes leaves its routes in the
    tunnel. It does not where VXLAN begins: no calico-node has a tunnel before it restarts.
    On a quiet machine the program changes the pool 19 to 46 ms after the DaemonSet, at a load of 8 to 13 after 280 to 450 ms. A
    program that is late by itself counts: its release is what is tested. A resource manager that the cluster already has is not
    judged. Source: docs/kind.md, docs/real-parts.md, measured.
    """
    history, limit = evidence.history, limits["pool_lag_ms"]
    header = history.header
    is_here = any(part.name == Part.RESOURCE_MANAGER and (part.is_double or part.path) for part in history.parts)
    is_leaving = header.overlay is Overlay.VXLAN and header.start_mode is Mode.OVERLAY
    matters = is_leaving and header.arm is Arm.GATED and is_here
    if limit is None or not matters or history.first_event("fault.injected") is not None:
        return
    lag = _find_lag(history, "manifest.applied")
    if lag is None or lag[1].t_ns - lag[0].t_ns <= limit * MILLISECOND:
        return
    rolled, changed = lag
    if evidence.routes.followers(changed.t_ns + FOLLOWED_NS) >= {node.name for node in history.facts.nodes}:
        return
    text = f"the IPPool changed {(changed.t_ns - rolled.t_ns) / MILLISECOND:.0f} ms after the DaemonSet; allowed: {limit:g} ms"
    own_ms = _find_own_lag_ms(history)
    if own_ms is not None and own_ms > limit:
        text += f"; the resource manager itself took at least {own_ms:.0f} ms of them, while no task of the machine waited"
        yield note("pool-late-by-program", text, t_ns=changed.t_ns)
    else:
        yield doubt("pool-late", f"{text}; repeat on a quieter machine", t_ns=changed.t_ns)


def _find_lag(history: History, name: str) -> tuple[Event, Event] | None:
    """Return the first events of that name of the DaemonSet and, after it, of an IPPool; None: one is missing."""
    events = tuple(history.events_named(name))
    rolled = next((one for one in events if one.facts.get("kind") == Kind.DAEMON_SET), None)
    if rolled is None:
        return None
    changed = next((one for one in events if one.facts.get("kind") == Kind.IP_POOL and one.t_ns >= rolled.t_ns), None)
    return None if changed is None else (rolled, changed)


def _find_own_lag_ms(history: History) -> float | None:
    """Return for how long at least a program did not write the pool although no task of the machine had to wait.

    None: not known, for a double or on a kernel that does not report how long tasks wait.
    """
    written = _find_lag(history, "object.written")
    if written is None or any(one.facts["waited_us"] is None for one in written):
        return None
    rolled, changed = written
    waited_ns = (changed.facts["waited_us"] - rolled.facts["waited_us"]) * MICROSECOND
    return float((changed.facts["after_ns"] - rolled.t_ns - waited_ns) / MILLISECOND)

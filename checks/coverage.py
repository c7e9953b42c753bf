"""Coverage: could the instrument have seen it?

A validity check: what it finds says nothing about the switch, but as long as it finds something, nothing else that was found
counts. Every reason has a code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from checks.budgets import read_budgets
from hitless.history import History
from hitless.measure import measure
from hitless.records import Rows
from hitless.verdicts import Finding
from hitless.words import MICROSECOND, MILLISECOND, FlowRole, JsonObject, Nanoseconds, Verdict

NAME: Final = "coverage"
IS_VALIDITY: Final = True
BUDGETS: Final[Mapping[str, float | None]] = {
    "missing_ratio": 0.1,  # of the probes that a flow should have offered: twice the skipped ticks, for the ends of the run
    "missed_ticks_ratio": 0.05,  # of the ticks of the run: they only coarsen blind_ms, but so many mean a sender that lags
    "gap_intervals": 10,  # between two probes of a flow, while it matters
    "send_errors": 0,  # probes that the kernel refused
    "clock_step_us": 100,  # between two neighbouring pairs, beyond their width and slewing
}
"""Budget name to its default; ours."""

BEFORE_REQUEST_NS: Final = Nanoseconds(100 * MILLISECOND)
"""It matters from this long before the operator's request until everything has settled."""

SLEW_PPM: Final = 500
"""The kernel slews CLOCK_REALTIME at most this fast under NTP. Source: Linux include/linux/timex.h MAXFREQ, RFC 5905 11.3."""

Limits = Mapping[str, float | None]


def check(history: History, budgets: JsonObject) -> Iterable[Finding]:
    """Ask each question in turn; one finding an answer that hurts."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    questions: tuple[Callable[[History, Limits], Iterator[Finding]], ...] = (
        _ask_harness,
        _ask_liveness,
        _ask_agents,
        _ask_offered,
        _ask_ticks,
        _ask_gaps,
        _ask_controls,
        _ask_clocks,
        _ask_neighbours,
    )
    for ask in questions:
        yield from ask(history, limits)


def _doubt(code: str, text: str, *, t_ns: int | None = None) -> Finding:
    at_ns = None if t_ns is None else Nanoseconds(t_ns)
    return Finding(verdict=Verdict.INCONCLUSIVE, code=code, text=text, t_ns=at_ns)


def _ask_harness(history: History, _: Limits) -> Iterator[Finding]:
    for error in history.errors:
        yield _doubt("harness-error", error)
    interrupted = history.first_event("run.interrupted")
    if interrupted is not None:
        yield _doubt("interrupted", "the run was interrupted", t_ns=interrupted.t_ns)


def _ask_liveness(history: History, _: Limits) -> Iterator[Finding]:
    """Nothing may happen before every flow has been answered several times in a row."""
    live, requested = history.first_event("run.live"), history.first_event("switch.requested")
    if live is None:
        yield _doubt("not-live", "the probes were never answered on every flow")
    elif requested is not None and requested.t_ns < live.t_ns:
        yield _doubt("not-live-first", "the switch was requested before every flow was answered", t_ns=requested.t_ns)


def _ask_agents(history: History, _: Limits) -> Iterator[Finding]:
    if not history.records.reports:
        yield _doubt("agent-unfinished", "no probe agent reported")
    for report in history.records.reports:
        if not report.finished:
            yield _doubt("agent-unfinished", f"the agent {report.agent} did not live to report")
        overflows = report.counters.get("receive_overflows", 0)
        if overflows:
            yield _doubt(
                "receive-overflow", f"the agent {report.agent} was too slow: {overflows} packets overflowed its sockets"
            )
        strays = {name: report.counters.get(name, 0) for name in ("malformed", "foreign", "stale", "rate_limited")}
        if any(strays.values()):
            found = ", ".join(f"{count} {name}" for name, count in strays.items() if count)
            text = f"the agent {report.agent} dropped packets that were not its own: {found}"
            yield Finding(verdict=Verdict.PASS, code="strays-dropped", text=text)


def _offered(history: History) -> Rows:
    rows = history.records.sender
    offered: Rows = rows[rows["send_errno"] == 0]
    return offered


def _ask_offered(history: History, limits: Limits) -> Iterator[Finding]:
    """Every flow offers about as many probes as the time divided by the interval allows."""
    if not history.flows_of(FlowRole.MESH):
        yield _doubt("no-mesh-flows", "there is no flow between pods of different nodes")
    rows = _offered(history)
    counts = np.bincount(rows["flow"], minlength=65_536)
    silent = [flow.label for flow in history.flows if counts[flow.id] == 0]
    if silent:
        yield _doubt("flow-silent", f"{len(silent)} flows sent no probe at all, such as {silent[0]}")
    if rows.size == 0:
        return
    span_ns = int(rows["before"].max() - rows["before"].min())
    expected = span_ns // history.header.interval_ns + 1
    limit = limits["missing_ratio"]
    short = [
        flow for flow in history.flows if counts[flow.id] and limit is not None and counts[flow.id] < expected * (1 - limit) - 1
    ]
    if short:
        worst = min(short, key=lambda flow: int(counts[flow.id]))
        text = f"{len(short)} flows offered too few probes; the worst, {worst.label}, {counts[worst.id]} of {expected}"
        yield _doubt("flow-probes-missing", text)
    errors = history.records.sender.size - rows.size
    allowed = limits["send_errors"]
    if allowed is not None and errors > allowed:
        text = f"the kernel refused to send {errors} probes; {allowed:g} are allowed"
        yield _doubt("send-errors", text)


def _ask_ticks(history: History, limits: Limits) -> Iterator[Finding]:
    """Count skipped ticks against the ticks of all sender processes."""
    before = history.records.sender["before"]
    limit = limits["missed_ticks_ratio"]
    if before.size == 0 or limit is None:
        return
    senders = sum(1 for report in history.records.reports if report.counters.get("sent", 0)) or 1
    ticks = senders * (int(before.max() - before.min()) // history.header.interval_ns + 1)
    missed = history.records.skipped.size
    if missed > ticks * limit:
        text = f"the sender skipped {missed} of {ticks} ticks ({missed / ticks:.1%}); {limit:.1%} are allowed"
        yield _doubt("ticks-missed", text, t_ns=int(history.records.skipped["due"][0]))


def _window(history: History) -> tuple[int, int] | None:
    """Return the time in which a gap matters: around the switch, or the whole run where nothing was asked for."""
    live, requested = history.first_event("run.live"), history.first_event("switch.requested")
    ends = tuple(history.events_named("run.settled", "run.timed_out", "run.interrupted", "run.probing_stopped"))
    if live is None or not ends:
        return None
    first_ns = live.t_ns if requested is None else max(live.t_ns, requested.t_ns - BEFORE_REQUEST_NS)
    return first_ns, ends[0].t_ns


def _ask_gaps(history: History, limits: Limits) -> Iterator[Finding]:
    """No flow may have been left alone for long while it mattered."""
    window, limit = _window(history), limits["gap_intervals"]
    rows = _offered(history)
    if window is None or limit is None or rows.size == 0:
        return
    first_ns, last_ns = window
    worst_ns, worst_at_ns, flows = 0, 0, 0
    for flow in history.flows:
        start, end = np.searchsorted(rows["flow"], (flow.id, flow.id + 1))
        edges = _probing_instants(np.sort(rows["before"][start:end]), first_ns, last_ns)
        gaps = np.diff(edges)
        flows += bool(gaps.max() > limit * history.header.interval_ns)
        if gaps.max() > worst_ns:
            worst_ns, worst_at_ns = int(gaps.max()), int(edges[gaps.argmax()])
    if flows:
        text = (
            f"{flows} flows were not probed for up to {worst_ns / 1e6:.1f} ms while it mattered; "
            f"{limit * history.header.interval_ns / 1e6:.1f} ms are allowed"
        )
        yield _doubt("probing-gap", text, t_ns=worst_at_ns)


def _probing_instants(before: npt.NDArray[np.int64], first_ns: int, last_ns: int) -> npt.NDArray[np.int64]:
    """Return when the flow was probed inside a window, with the nearest probe outside each edge, or the edge itself."""
    first, last = int(np.searchsorted(before, first_ns, "right")), int(np.searchsorted(before, last_ns, "left"))
    opening = before[first - 1] if first else first_ns
    closing = before[last] if last < before.size else last_ns
    return np.concatenate(([opening], before[first:last], [closing])).astype(np.int64)


def _ask_controls(history: History, _: Limits) -> Iterator[Finding]:
    """No switch can touch a flow within a node: if it loses a probe, the instrument did."""
    measures = measure(history)
    for flow in history.flows_of(FlowRole.CONTROL):
        found = measures.get(flow.id)
        if found is not None and found.is_hit:
            at_ns = found.outages[0].onset_after_ns if found.outages else None
            yield _doubt(
                "control-lost", f"the control flow {flow.label} lost {found.lost} of {found.offered} probes", t_ns=at_ns
            )


def _ask_clocks(history: History, limits: Limits) -> Iterator[Finding]:
    """Kernel receive times are CLOCK_REALTIME: a step of it between two pairs falsifies the times around it.

    Slewing is no step: over the time between two pairs it may move the clock by SLEW_PPM, which is allowed on top.
    """
    limit = limits["clock_step_us"]
    if limit is None:
        return
    for agent, pairs in history.records.clocks.items():
        offset = pairs["wall"] - pairs["monotonic"]
        moved = np.abs(np.diff(offset))
        elapsed = np.diff(pairs["monotonic"])
        allowed = limit * MICROSECOND + elapsed * SLEW_PPM // 1_000_000 + pairs["width"][1:] + pairs["width"][:-1]
        for index in np.flatnonzero(moved > allowed):
            text = f"the wall clock of the agent {agent} stepped by {int(moved[index]) / 1e3:.0f} us"
            yield _doubt("clock-step", text, t_ns=int(pairs["monotonic"][index]))


def _ask_neighbours(history: History, _: Limits) -> Iterator[Finding]:
    """The neighbour table is the machine's: where it overflows, packets are dropped that no route is to blame for."""
    name = "Neigh.table_fulls"
    before = history.counters_before.get("machine", {}).get(name)
    after = history.counters_after.get("machine", {}).get(name)
    if before is not None and after is not None and after > before:
        yield _doubt("neighbour-table-full", f"the machine's neighbour table overflowed {after - before} times")

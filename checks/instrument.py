"""Instrument: did the network lose the probes, or the instrument itself?

A validity check, as coverage is: control flows that no switch can affect, a blackhole of known length before the switch, drops
of the prober's sockets, waiting for a CPU, clocks and neighbour table. While one of these fails, no other result counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from analysis.evidence import Evidence
from checks.check import Limits, make_check
from hitless.history import MACHINE
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, note
from hitless.words import MICROSECOND, FlowRole, Verdict

SLEW_PPM: Final = 500
"""The kernel slews CLOCK_REALTIME at most this fast under NTP. Source: Linux include/linux/timex.h MAXFREQ, RFC 5905 11.3."""


@make_check(
    "instrument",
    budgets={
        "instrument_loss_ratio": 0.001,  # datagrams dropped by the prober's own sockets, of the probes that they served
        "pressure_ratio": None,  # of the run's time in which some task waited for a CPU (PSI); null: only said
        "clock_step_us": 100,  # between two neighbouring pairs, beyond their width and slewing
    },
    is_validity=True,
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Ask each question in turn; yield one finding for each that fails or deserves a mention."""
    yield from _ask_controls(evidence)
    yield from _ask_calibration(evidence)
    yield from _ask_overflows(evidence, limits)
    yield from _ask_pressure(evidence, limits)
    yield from _ask_clocks(evidence, limits)
    yield from _ask_neighbours(evidence)


def _ask_controls(evidence: Evidence) -> Iterator[Finding]:
    """No switch can affect a flow within a node: if it loses a probe, the instrument lost it."""
    for flow in evidence.history.flows_of(FlowRole.CONTROL):
        found = evidence.measures[flow.id]
        if found.is_hit:
            at_ns = found.outages[0].onset_after_ns if found.outages else None
            yield doubt(
                "control-lost",
                f"the control flow {flow.label} lost {found.lost} of {plural(found.offered, 'probe')}: the machine lost them, "
                "not the switch; use a quieter machine",
                t_ns=at_ns,
            )


def _ask_overflows(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Drops of the prober's sockets are excluded from every number, which is valid only while they are few and unambiguous."""
    losses = evidence.overflows
    untold = sum(report.counters.get("receive_overflows", 0) for report in evidence.history.records.reports)
    untold -= sum(loss.dropped for loss in losses)
    if untold > 0:
        yield doubt(
            "receive-overflow",
            f"sockets of the instrument dropped {plural(untold, 'datagram')} at unknown times; lower the rate",
        )
    if not losses:
        return
    taken, dropped = sum(loss.missing for loss in losses), sum(loss.dropped for loss in losses)
    mixed = [loss for loss in losses if loss.missing > loss.dropped]
    text = f"sockets of the instrument dropped {plural(dropped, 'datagram')}; excluded: {plural(taken, 'probe')}"
    limit = limits["instrument_loss_ratio"]
    if mixed:
        text += (
            f", but {mixed[0].address} missed {mixed[0].missing} for {mixed[0].dropped} dropped: the network lost some as well"
        )
        yield doubt("instrument-loss-mixed", text, t_ns=mixed[0].since_ns)
    elif limit is not None and any(max(loss.missing, loss.dropped) > loss.offered * limit for loss in losses):
        yield doubt("receive-overflow", f"{text}; allowed: {limit:.1%}; lower the rate", t_ns=losses[0].since_ns)
    else:
        yield note("instrument-loss", text, t_ns=losses[0].since_ns)


def _ask_calibration(evidence: Evidence) -> Iterator[Finding]:
    """A blackhole of known length must be measured correctly within the accuracy interval."""
    history = evidence.history
    flows = history.flows_of(FlowRole.CALIBRATION)
    pulse = history.first_event("calibration.pulsed")
    if history.first_event("run.live") is None:
        return
    if not flows or pulse is None:
        text = "the instrument was not calibrated in this run, because no flow was dropped for a known time"
        is_excused = not flows or history.first_event("calibration.not_possible") is not None
        verdict = Verdict.PASS if is_excused else Verdict.INCONCLUSIVE
        yield Finding(verdict=verdict, code="not-calibrated", text=text)
        return
    facts = pulse.facts
    truth_shortest = facts["restore_began_ns"] - facts["drop_done_ns"]
    truth_longest = facts["restore_done_ns"] - facts["drop_began_ns"]
    truth_ms = f"{truth_shortest / 1e6:.2f} to {truth_longest / 1e6:.2f} ms"
    found = [
        outage
        for outage in evidence.measures[flows[0].id].outages
        if outage.onset_after_ns <= facts["restore_done_ns"] and outage.end_ns >= facts["drop_began_ns"]
    ]
    if len(found) != 1 or found[0].longest_ns is None:
        text = f"a blackhole of {truth_ms} on the calibration flow was seen as {plural(len(found), 'outage')}"
        yield doubt("calibration-missed", text, t_ns=pulse.t_ns)
        return
    shortest, longest = found[0].shortest_ns, found[0].longest_ns
    error_ns = (shortest + longest) / 2 - (truth_shortest + truth_longest) / 2
    text = (
        f"a blackhole of {truth_ms} on the calibration flow was measured as {shortest / 1e6:.2f} to {longest / 1e6:.2f} ms: "
        f"the middle is off by {error_ns / 1e6:+.2f} ms"
    )
    is_within = shortest <= truth_longest and truth_shortest <= longest
    allowed_ns = history.header.interval_ns + (truth_longest - truth_shortest) / 2
    if not is_within or abs(error_ns) > allowed_ns:
        yield doubt("calibration-off", f"{text}; allowed: {allowed_ns / 1e6:.2f} ms; use a quieter machine", t_ns=pulse.t_ns)
    else:
        yield note("calibrated", text, t_ns=pulse.t_ns)


def _ask_pressure(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """How long did some task of the machine wait for a CPU? Source: Linux Documentation/accounting/psi.rst."""
    history = evidence.history
    waited_us, lasted_us = (history.moved(f"Pressure.{name}_us", [MACHINE]) for name in ("cpu_some", "read_at"))
    limit = limits["pressure_ratio"]
    if waited_us is None or not lasted_us:
        text = "the time for which tasks waited for a CPU is unknown: the kernel offers no pressure stall information"
        if limit is not None:
            yield doubt("cpu-pressure-unknown", f"{text}; allowed: {limit:.0%}")
        elif history.counters_after:
            yield note("cpu-pressure-unknown", text)
        return
    late_ns = max((report.counters.get("lateness_ns_max", 0) for report in history.records.reports), default=0)
    ratio = waited_us / lasted_us
    text = f"tasks waited for a CPU for {ratio:.0%} of the time; the latest tick was sent {late_ns / 1e6:.2f} ms after its time"
    if limit is not None and ratio > limit:
        yield doubt("cpu-pressure", f"{text}; allowed: {limit:.0%}; use a quieter machine")
    else:
        yield note("cpu-pressure", text)


def _ask_clocks(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    """Kernel receive times are CLOCK_REALTIME: a step of it between two pairs falsifies the times around it.

    Slewing is no step: between two pairs it may move the clock by SLEW_PPM, which is allowed in addition.
    """
    limit = limits["clock_step_us"]
    if limit is None:
        return
    for agent, pairs in evidence.history.records.clocks.items():
        offset = pairs["wall"] - pairs["monotonic"]
        moved = np.abs(np.diff(offset))
        elapsed = np.diff(pairs["monotonic"])
        allowed = limit * MICROSECOND + elapsed * SLEW_PPM // 1_000_000 + pairs["width"][1:] + pairs["width"][:-1]
        for index in np.flatnonzero(moved > allowed):
            text = (
                f"the wall clock of the agent {agent} stepped by {int(moved[index]) / 1e3:.0f} us; do not set it during a run"
            )
            yield doubt("clock-step", text, t_ns=int(pairs["monotonic"][index]))


def _ask_neighbours(evidence: Evidence) -> Iterator[Finding]:
    """All namespaces share the machine's neighbour table: if it overflows, packets are dropped although routes exist."""
    overflows = evidence.history.moved("Neigh.table_fulls", [MACHINE])
    if overflows:
        yield doubt(
            "neighbour-table-full", f"the machine's neighbour table overflowed {plural(overflows, 'time')}; raise gc_thresh3"
        )

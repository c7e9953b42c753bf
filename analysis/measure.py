"""From probe records to counts, outages and times: the arithmetic that every number in a report comes from.

Pure. Definitions and sources: docs/measuring.md; RFC 6412, 6413, 6414, 3357, 8762.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.convergence import ConvergenceTimes
from analysis.instrument import is_instrument_loss, span
from hitless.facts import Flow
from hitless.history import History
from hitless.records import NONE_NS, Rows
from hitless.words import FlowClass, FlowId, Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A loss period of one flow, with two lengths."""

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
    shortest_ns: Nanoseconds
    """The outage lasted at least this long."""
    longest_ns: Nanoseconds | None
    """And at most this long; None: censored (open at the start or the end of probing)."""
    onset_after_ns: Nanoseconds
    """`send_began_ns` of the last unimpaired probe before it: the onset window opens here. Earlier by what the agents' run
    clock may
    be off the events'."""
    onset_before_ns: Nanoseconds
    """Latest possible drop of the first lost probe: the onset window closes here. Later by the same."""
    end_ns: Nanoseconds
    """`received` of the first probe that was sent after it and answered; where censored, `send_ended_ns` of the last lost
    probe."""

    @property
    def is_censored(self) -> bool:
        """Whether the probing ended before the outage did."""
        return self.longest_ns is None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMeasure:
    """All numbers of one flow. Each probe is in one class, the first that matches (RFC 6412 3.8.1)."""

    flow: FlowId
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
    lost_instrument: int = 0
    """Probes that a socket of ours dropped, or may have dropped: the instrument's loss, not offered either."""
    outages: tuple[Outage, ...]
    blind_ns: Nanoseconds | None
    """Longest stretch between two unimpaired probes with no lost one between; an outage shorter than this may have gone unseen.
    None: fewer than two unimpaired probes."""
    downtime_shortest_ns: Nanoseconds
    """Sum over the outages of shortest."""
    downtime_longest_ns: Nanoseconds | None
    """Sum over the outages of longest; None: one is censored."""
    downtime_plbm_ns: Nanoseconds
    """Packet-loss-based: lost / offered load (RFC 6412 3.6.5 Eq 8)."""
    convergence_ns: Nanoseconds | None
    """Route-Specific Convergence Time: from the Convergence Event Instant until the flow uses the new path unimpaired for good.
    None: it never did, or no switch was asked for."""

    @property
    def is_hit(self) -> bool:
        """Whether the flow lost a probe."""
        return self.lost > 0

    @property
    def is_censored(self) -> bool:
        """Whether an outage was open when the probing ended."""
        return self.downtime_longest_ns is None

    @property
    def downtime_ns(self) -> Nanoseconds | None:
        """Sum over the outages of (shortest + longest) / 2; None where censored: then it is at least `downtime_shortest_ns`."""
        if self.downtime_longest_ns is None:
            return None
        return Nanoseconds((self.downtime_shortest_ns + self.downtime_longest_ns) // 2)


Measures = Mapping[FlowId, FlowMeasure]


def measure(history: History) -> Measures:
    """Return the measures of every flow of a run, mesh and control, in order of their ids.

    Flows of which there is no record at all have zero offered probes.
    """
    sender, reflector = history.records.sender, history.records.reflector
    found: dict[FlowId, FlowMeasure] = {}
    times = ConvergenceTimes(history)
    for flow in history.flows:
        rows = sender[span(sender["flow"], flow.id)]
        log = reflector[span(reflector["flow"], flow.id)]
        is_ours = is_instrument_loss(history, flow, rows, log)
        found[flow.id] = _measure_flow(flow, classify_flow(history, flow), history, int(np.count_nonzero(is_ours)), times)
    return found


def classify_flow(history: History, flow: Flow) -> Probes:
    """Return the classified probes of one flow, without those that the instrument itself lost."""
    records = history.records
    rows = records.sender[span(records.sender["flow"], flow.id)]
    log = records.reflector[span(records.reflector["flow"], flow.id)]
    return classify(
        rows[~is_instrument_loss(history, flow, rows, log)],
        log,
        history.header.forwarding_delay_threshold_ns,
        # The kernel answers ICMP, and it keeps no log.
        is_log_whole=flow.flow_class is not FlowClass.ICMP and all(report.finished for report in records.reports),
        clock_bound_ns=records.clock_bound_ns,
        run_clock_bound_ns=records.run_clock_bound_ns,
        is_stream=flow.flow_class is not FlowClass.TCP_CONNECT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The offered probes of one flow, classified; every array has one element a probe, in order of sending."""

    rows: Rows
    """SENDER_ROW without those that the kernel refused to send."""
    is_lost: npt.NDArray[np.bool_]
    is_late: npt.NDArray[np.bool_]
    is_duplicated: npt.NDArray[np.bool_]
    is_reordered: npt.NDArray[np.bool_]
    is_corrupted: npt.NDArray[np.bool_]
    is_far_end: npt.NDArray[np.bool_]
    """Lost, and the reflector has seen it in time, whether or not it could answer."""
    is_near_end: npt.NDArray[np.bool_]
    """Lost, and the reflector has seen it too late, or its log is whole and does not have it."""
    reflector_sent: npt.NDArray[np.int64]
    """Reflector's send time by its own log, or its receive time where no answer left it; run clock; -1: not in the log."""
    forward_delay_max_ns: int
    """Largest delay from `send_began_ns` to the reflector's kernel; includes the sender's system call and `clock_bound_ns`."""
    return_delay_max_ns: int
    """Largest delay from the reflector's send time to the sender's kernel; includes the reflector's system call and
    `clock_bound_ns`."""
    send_errors: int
    clock_bound_ns: int = 0
    """How far the reflector's clock may be off the sender's."""
    run_clock_bound_ns: int = 0
    """How far both may be off the clock that dates the events."""

    @property
    def is_impaired(self) -> npt.NDArray[np.bool_]:
        """Probes of every class but unimpaired."""
        return self.is_lost | self.is_duplicated | self.is_reordered | self.is_corrupted

    @property
    def is_anchor(self) -> npt.NDArray[np.bool_]:
        """Probes that prove that the path worked: answered in time and intact, once or more often, in order or not."""
        return ~self.is_lost & ~self.is_corrupted


def classify(
    rows: Rows,
    log: Rows,
    threshold_ns: int,
    *,
    is_log_whole: bool,
    clock_bound_ns: int = 0,
    run_clock_bound_ns: int = 0,
    is_stream: bool = True,
) -> Probes:
    """Put every offered probe of one flow into one class; the first that matches: lost, duplicated, reordered, corrupted.

    Args:
        rows: SENDER_ROW of one flow, by seq.
        log: REFLECTOR_ROW of the same flow.
        threshold_ns: the Forwarding Delay Threshold.
        is_log_whole: whether a probe that is not in the log surely never reached the reflector.
        clock_bound_ns: how far the reflector's clock may be off the sender's; 0: they are one.
        run_clock_bound_ns: how far both may be off the clock that dates the events.
        is_stream: whether probes have an order to keep; connections of their own have none.

    Source: RFC 6412 3.8.1 (classes), RFC 4737 3.3 (reordered), RFC 8762 4 (direction of a loss).
    """
    send_errors = int(np.count_nonzero(rows["send_errno"]))
    rows = rows[rows["send_errno"] == 0]
    delay_ns = rows["received"] - rows["send_began_ns"]
    has_answer = rows["copies"] > 0
    is_late = has_answer & (delay_ns > threshold_ns)
    is_lost = ~has_answer | is_late
    is_duplicated = ~is_lost & (rows["copies"] > 1)
    is_reordered = ~is_lost & ~is_duplicated & _is_overtaken(rows, has_answer) & is_stream
    is_corrupted = ~is_lost & ~is_duplicated & ~is_reordered & (rows["corrupted"] != 0)
    reflector_received, reflector_sent = _times_by_log(rows, log)
    is_logged = reflector_received != NONE_NS
    # What came to the reflector after the threshold was lost on the way out, whatever became of the answer.
    is_far_end = is_lost & is_logged & (reflector_received - rows["send_began_ns"] <= threshold_ns)
    is_near_end = is_lost & ~is_far_end & (is_logged | is_log_whole)
    intact = has_answer & (rows["corrupted"] == 0) & ~is_late
    # A kernel that answers ICMP does not say when: what was dropped may have been dropped anywhere in a round trip.
    is_dated = intact & (rows["reflector_received"] != NONE_NS)
    left = np.where(is_dated, rows["reflector_sent"], rows["send_began_ns"])
    return Probes(
        rows=rows,
        is_lost=is_lost,
        is_late=is_late,
        is_duplicated=is_duplicated,
        is_reordered=is_reordered,
        is_corrupted=is_corrupted,
        is_far_end=is_far_end,
        is_near_end=is_near_end,
        reflector_sent=reflector_sent,
        forward_delay_max_ns=int(np.max(rows["reflector_received"] - rows["send_began_ns"], initial=0, where=is_dated))
        + clock_bound_ns,
        return_delay_max_ns=int(np.max(rows["received"] - left, initial=0, where=intact)) + clock_bound_ns,
        send_errors=send_errors,
        clock_bound_ns=clock_bound_ns,
        run_clock_bound_ns=run_clock_bound_ns,
    )


def find_outages(flow: FlowId, probes: Probes) -> tuple[Outage, ...]:
    """Return the loss periods of one flow (RFC 3357), each with the two lengths of docs/measuring.md."""
    edges = np.diff(probes.is_lost.astype(np.int8), prepend=0, append=0)
    firsts = np.flatnonzero(edges == 1)
    lasts = np.flatnonzero(edges == -1) - 1
    anchors = np.flatnonzero(probes.is_anchor)
    proven = _proven_ns(probes, anchors)
    return tuple(
        _outage(flow, probes, int(first), int(last), anchors, proven) for first, last in zip(firsts, lasts, strict=True)
    )


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
    """Return for each answered probe when it, or one that overtook it, was the first to prove that the path works."""
    received = probes.rows["received"][anchors]
    return np.asarray(np.minimum.accumulate(received[::-1])[::-1], dtype=np.int64)


def _is_overtaken(rows: Rows, has_answer: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which probes were answered after a probe with a larger sequence number."""
    overtaken = np.zeros(rows.size, dtype=np.bool_)
    answered = np.flatnonzero(has_answer)
    arrival = answered[np.argsort(rows["received"][answered], kind="stable")]
    overtaken[arrival] = arrival < np.maximum.accumulate(arrival) if arrival.size else False
    return overtaken


def _times_by_log(rows: Rows, log: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return when the reflector first received and answered every probe, by its log; -1 where the log does not have it.

    An answer that the reflector's host refused, or that its rate limit forbade, has no time: the probe's own receive time
    stands for it, since the probe was there.
    """
    received, sent = np.full(rows.size, NONE_NS, dtype=np.int64), np.full(rows.size, NONE_NS, dtype=np.int64)
    if log.size:
        seqs, first = np.unique(log["seq"], return_index=True)
        place = np.minimum(np.searchsorted(seqs, rows["seq"]), seqs.size - 1)
        is_known = seqs[place] == rows["seq"]
        entries = log[first][place[is_known]]
        received[is_known] = entries["received"]
        sent[is_known] = np.where(entries["sent"] == NONE_NS, entries["received"], entries["sent"])
    return received, sent


def _outage(
    flow: FlowId, probes: Probes, first: int, last: int, anchors: npt.NDArray[np.intp], proven: npt.NDArray[np.int64]
) -> Outage:
    rows = probes.rows
    place = int(np.searchsorted(anchors, first))
    before = int(anchors[place - 1]) if place else None
    place = int(np.searchsorted(anchors, last))
    works_ns = int(proven[place]) if place < anchors.size else None
    latest_first_drop = _latest_drop_ns(probes, first)
    shortest = max(0, _earliest_drop_ns(probes, last) - latest_first_drop)
    longest = None
    if before is not None and works_ns is not None:
        longest = Nanoseconds(works_ns - int(rows["send_began_ns"][before]))
        # A probe that was held up may have met the trouble after others had passed it.
        shortest = min(shortest, longest)
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
        longest_ns=longest,
        onset_after_ns=Nanoseconds(int(rows["send_began_ns"][first if before is None else before]) - probes.run_clock_bound_ns),
        onset_before_ns=Nanoseconds(latest_first_drop + probes.run_clock_bound_ns),
        end_ns=Nanoseconds(int(rows["send_ended_ns"][last]) if works_ns is None else works_ns),
    )


def _earliest_drop_ns(probes: Probes, index: int) -> int:
    """Return the earliest time at which a lost probe can have been dropped."""
    if probes.is_far_end[index]:
        return int(probes.reflector_sent[index]) - probes.clock_bound_ns
    return int(probes.rows["send_began_ns"][index])


def _latest_drop_ns(probes: Probes, index: int) -> int:
    """Return the latest time at which a lost probe can have been dropped, by the largest one-way delays seen."""
    if probes.is_far_end[index]:
        return int(probes.reflector_sent[index]) + probes.clock_bound_ns + probes.return_delay_max_ns
    latest = int(probes.rows["send_ended_ns"][index]) + probes.forward_delay_max_ns
    return latest if probes.is_near_end[index] else latest + probes.return_delay_max_ns


def _measure_flow(flow: Flow, probes: Probes, history: History, lost_instrument: int, times: ConvergenceTimes) -> FlowMeasure:
    outages = find_outages(flow.id, probes)
    longest = [outage.longest_ns for outage in outages]
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
        lost_instrument=lost_instrument,
        outages=outages,
        blind_ns=blind_ns(probes),
        downtime_shortest_ns=Nanoseconds(sum(outage.shortest_ns for outage in outages)),
        downtime_longest_ns=None if None in longest else Nanoseconds(sum(value for value in longest if value is not None)),
        downtime_plbm_ns=Nanoseconds(lost * history.interval_of(flow)),
        convergence_ns=times.of(flow, probes.rows, probes.is_impaired).latest_ns,
    )

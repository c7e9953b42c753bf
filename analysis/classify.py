"""Classification of a flow's probes: the input of every measure.

Pure. Definitions and sources: docs/measuring.md; RFC 6412 3.8.1, RFC 8762 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
import numpy.typing as npt

from analysis.instrument import find_entries, is_instrument_loss, of_flow, without
from hitless.facts import Flow
from hitless.history import History
from hitless.records import NONE_NS, Rows
from hitless.words import FlowClass


def classify_flow(history: History, flow: Flow) -> Probes:
    """Return the classified probes of one flow, without those that the instrument itself lost."""
    records = history.records
    rows, log = of_flow(records.sender, flow), of_flow(records.reflector, flow)
    is_ours = is_instrument_loss(history, flow, rows, log)
    return classify(
        without(rows, is_ours),
        log,
        history.header.forwarding_delay_threshold_ns,
        # The kernel answers ICMP, and it keeps no log.
        is_log_whole=flow.flow_class is not FlowClass.ICMP and records.is_whole,
        clock_bound_ns=records.clock_bound_ns,
        run_clock_bound_ns=records.run_clock_bound_ns,
        is_stream=flow.flow_class is not FlowClass.TCP_CONNECT,
        lost_instrument=int(np.count_nonzero(is_ours)),
    )


@unique
class Way(Enum):
    """In which direction the packets were lost."""

    OUT = "on the way out"
    BACK = "on the way back"
    UNKNOWN = "in an unknown direction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The offered probes of one flow, classified; every array has one element per probe, in order of sending."""

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
    """Probes that the kernel refused to send, not among the rows."""
    lost_instrument: int = 0
    """Probes that a socket of the instrument dropped, or may have dropped, not among the rows."""
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

    def way(self, index: int) -> Way:
        """Return in which direction a probe was lost."""
        return Way.BACK if self.is_far_end[index] else Way.OUT if self.is_near_end[index] else Way.UNKNOWN

    def drop_ns(self, index: int, way: Way, out_ns: int, back_ns: int) -> tuple[int, int]:
        """Return the earliest and the latest time at which a lost probe can have been dropped, with these largest delays."""
        if way is Way.BACK:
            left_ns = int(self.reflector_sent[index])
            return left_ns - self.clock_bound_ns, left_ns + self.clock_bound_ns + back_ns
        latest_ns = int(self.rows["send_ended_ns"][index]) + out_ns
        return int(self.rows["send_began_ns"][index]), latest_ns if way is Way.OUT else latest_ns + back_ns


def classify(
    rows: Rows,
    log: Rows,
    threshold_ns: int,
    *,
    is_log_whole: bool,
    clock_bound_ns: int = 0,
    run_clock_bound_ns: int = 0,
    is_stream: bool = True,
    lost_instrument: int = 0,
) -> Probes:
    """Put every offered probe of one flow into one class; the first that matches: lost, duplicated, reordered, corrupted.

    If `is_log_whole`, a probe that is not in the log surely never reached the reflector. Only probes of a stream have an order
    to keep; connections of their own have none. The bounds of the clocks and `lost_instrument` are those of Probes.

    Source: RFC 6412 3.8.1 (classes), RFC 4737 3.3 (reordered), RFC 8762 4 (direction of a loss).
    """
    send_errors = int(np.count_nonzero(rows["send_errno"]))
    rows = without(rows, rows["send_errno"] != 0)
    delay_ns = rows["received"] - rows["send_began_ns"]
    has_answer = rows["copies"] > 0
    is_late = has_answer & (delay_ns > threshold_ns)
    is_lost = ~has_answer | is_late
    is_duplicated = ~is_lost & (rows["copies"] > 1)
    is_reordered = ~is_lost & ~is_duplicated & _is_overtaken(rows, has_answer) & is_stream
    is_corrupted = ~is_lost & ~is_duplicated & ~is_reordered & (rows["corrupted"] != 0)
    reflector_received, reflector_sent = _times_by_log(rows, log)
    is_logged = reflector_received != NONE_NS
    # A probe that reached the reflector after the threshold was lost on the way out, even if it was answered.
    is_far_end = is_lost & is_logged & (reflector_received - rows["send_began_ns"] <= threshold_ns)
    is_near_end = is_lost & ~is_far_end & (is_logged | is_log_whole)
    intact = has_answer & (rows["corrupted"] == 0) & ~is_late
    # A kernel that answers ICMP does not say when: a lost probe can have been dropped anywhere in the round trip.
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
        lost_instrument=lost_instrument,
        clock_bound_ns=clock_bound_ns,
        run_clock_bound_ns=run_clock_bound_ns,
    )


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
    is_known, entries = find_entries(rows, log)
    received[is_known] = entries["received"]
    sent[is_known] = np.where(entries["sent"] == NONE_NS, entries["received"], entries["sent"])
    return received, sent

"""Results of a run's connections: opened, failed, slow, stalled. Pure.

A connection hides loss: the kernel retransmits, so an application sees an outage as a wait, a stall, which outlasts the outage,
or as the end of the connection. Definitions: docs/measuring.md, How an outage affects a connection. Source: RFC 6298 5;
include/net/tcp.h of Linux.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.instrument import find_runs, of_flow
from hitless.history import History
from hitless.records import ConnectionEvent, Rows
from hitless.words import FlowClass, FlowId, Nanoseconds

SLOW_NS: Final = Nanoseconds(1_000_000_000)
"""A connection that takes longer had its first SYN, or the answer to it, lost. Source: RFC 6298 2.1 (initial RTO 1 s)."""


@unique
class Complaint(StrEnum):
    """A failure that an application would notice."""

    RESET = "reset"
    """An open connection ended with RST."""
    ENDED = "ended"
    """An open connection was closed by its other end without reason, or by the kernel's time-out."""
    REFUSED = "refused"
    """A connection was refused with RST."""
    TIMED_OUT = "timed-out"
    """A connection was not opened, or its message not answered, in time."""
    UNREACHABLE = "unreachable"
    """A connection was not opened: ICMP unreachable, or no route."""
    SLOW = "slow"
    """A connection was opened and its message answered, but only after a retransmission (`tcp-connect`)."""
    STALLED = "stalled"
    """A connection fell silent while messages waited (`tcp-established`); see Stall."""
    LOST = "lost"
    """A message had no answer within the Forwarding Delay Threshold, although its connection did not end."""


_COMPLAINT_OF_ERRNO: Final = {
    errno.ECONNRESET: Complaint.RESET,
    errno.EPIPE: Complaint.ENDED,
    errno.EBADMSG: Complaint.ENDED,
    errno.ECONNREFUSED: Complaint.REFUSED,
    errno.ETIMEDOUT: Complaint.TIMED_OUT,
}
"""Errno to the complaint where a probe is a connection; any other errno: UNREACHABLE."""

_COMPLAINT_OF_EVENT: Final = {event: Complaint[event.name] for event in ConnectionEvent if event.name in Complaint.__members__}
"""All but OPENED and CLOSED."""

_Complaints = dict[Complaint, tuple[Nanoseconds, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionMeasure:
    """The connections of one flow."""

    offered: int
    """Messages that were to be sent."""
    answered: int
    """Of them answered within the Forwarding Delay Threshold."""
    opened: int
    """Connections that are known to have opened; of `tcp-connect` those that were answered, reset or ended."""
    complaints: Mapping[Complaint, tuple[Nanoseconds, ...]]
    """Complaint to its times, in order; complaints that did not occur are left out. Of `tcp-established`, repeated failures to
    connect for the same reason count once."""
    stalls: tuple[Stall, ...]
    """Of `tcp-established`; each also counts as a complaint."""
    unconnected_ns: Nanoseconds
    """Of `tcp-established`: the longest time from a connection's end until the next was open, or the last message; 0: none."""

    def count(self, complaint: Complaint) -> int:
        """Return how often it occurred."""
        return len(self.complaints.get(complaint, ()))


def measure_connections(history: History) -> Mapping[FlowId, ConnectionMeasure]:
    """Return the results of every TCP flow of a run, in order of their ids."""
    records, threshold_ns = history.records, history.header.forwarding_delay_threshold_ns
    return {
        flow.id: judge_flow(
            flow.flow_class,
            of_flow(records.sender, flow),
            of_flow(records.connections, flow),
            threshold_ns,
        )
        for flow in history.flows
        if flow.flow_class.is_tcp
    }


def judge_flow(flow_class: FlowClass, rows: Rows, connections: Rows, threshold_ns: Nanoseconds) -> ConnectionMeasure:
    """Judge one TCP flow by its SENDER_ROWs, by seq, and its CONNECTION_ROWs, by time; `tcp-connect` has none."""
    rows = rows[rows["send_errno"] == 0]
    is_answered = (rows["copies"] > 0) & (rows["received"] - rows["send_began_ns"] <= threshold_ns)
    is_lost = ~is_answered & (rows["failure"] == 0)
    stalls: tuple[Stall, ...] = ()
    if flow_class is FlowClass.TCP_CONNECT:
        complaints = _complain_of_connects(rows, is_answered)
        opened = int(np.count_nonzero(is_answered)) + len(complaints[Complaint.RESET]) + len(complaints[Complaint.ENDED])
    else:
        stalls = tuple(find_stalls(rows, connections))
        complaints = _complain_of_established(connections)
        complaints[Complaint.STALLED] = tuple(stall.start_ns for stall in stalls)
        opened = int(np.count_nonzero(connections["what"] == ConnectionEvent.OPENED))
    complaints[Complaint.LOST] = _instants(rows["send_began_ns"][is_lost])
    return ConnectionMeasure(
        offered=int(rows.size),
        answered=int(np.count_nonzero(is_answered)),
        opened=opened,
        complaints={complaint: times for complaint, times in complaints.items() if times},
        stalls=stalls,
        unconnected_ns=_longest_without(rows, connections),
    )


def _instants(times: npt.NDArray[np.int64]) -> tuple[Nanoseconds, ...]:
    return tuple(Nanoseconds(value) for value in times.tolist())


def _complain_of_connects(rows: Rows, is_answered: npt.NDArray[np.bool_]) -> _Complaints:
    has_failed = rows["failure"] != 0
    reasons = [_COMPLAINT_OF_ERRNO.get(number, Complaint.UNREACHABLE) for number in rows["failure"][has_failed].tolist()]
    failed = list(zip(reasons, _instants(rows["send_began_ns"][has_failed]), strict=True))
    complaints = {complaint: tuple(at_ns for reason, at_ns in failed if reason is complaint) for complaint in Complaint}
    was_sent_again = (rows["retransmits"] > 0) | (rows["received"] - rows["send_began_ns"] >= SLOW_NS)
    complaints[Complaint.SLOW] = _instants(rows["send_began_ns"][is_answered & was_sent_again])
    return complaints


def _complain_of_established(connections: Rows) -> _Complaints:
    return {
        complaint: _instants(connections["at"][connections["what"] == event])
        for event, complaint in _COMPLAINT_OF_EVENT.items()
    }


def _longest_without(rows: Rows, connections: Rows) -> Nanoseconds:
    """Return the longest time from the end of a connection until the next was open, or until the last message was offered."""
    longest_ns = 0
    gone_ns: int | None = None
    for row in connections:
        if row["what"] in (ConnectionEvent.RESET, ConnectionEvent.ENDED):
            gone_ns = int(row["at"])
        elif row["what"] == ConnectionEvent.OPENED and gone_ns is not None:
            longest_ns, gone_ns = max(longest_ns, int(row["at"]) - gone_ns), None
    if gone_ns is not None and rows.size:
        longest_ns = max(longest_ns, int(rows["send_began_ns"].max()) - gone_ns)
    return Nanoseconds(longest_ns)


STALL_NS: Final = Nanoseconds(200_000_000)
"""A message that waits longer was sent again, once at least. Source: include/net/tcp.h TCP_RTO_MIN (HZ / 5)."""


@unique
class StallEnd(StrEnum):
    """Outcome of a stall."""

    RECOVERED = "recovered"
    """The connection survived: all messages were answered, late."""
    RESET = "reset"
    ENDED = "ended"
    """By the other end, or by the kernel's own time-out."""
    SILENT = "silent"
    """Nothing more came until we stopped listening."""


_END_OF_EVENT: Final = {ConnectionEvent.RESET: StallEnd.RESET, ConnectionEvent.ENDED: StallEnd.ENDED}
_ENDS: Final = (ConnectionEvent.RESET, ConnectionEvent.ENDED, ConnectionEvent.CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A maximal run of messages of one connection that waited longer than STALL_NS."""

    start_ns: Nanoseconds
    """When the first of them was offered: the connection had fallen silent by then."""
    end_ns: Nanoseconds
    """When the last of them was answered, or the connection ended, or we stopped listening."""
    wait_ns: Nanoseconds
    """The longest that one message waited."""
    end: StallEnd

    @property
    def shortest_ns(self) -> Nanoseconds:
        """It lasted at least this long."""
        return Nanoseconds(self.end_ns - self.start_ns)


def find_stalls(rows: Rows, connections: Rows) -> Iterator[Stall]:
    """Yield the stalls of one `tcp-established` flow, connection by connection, of its rows that were offered.

    What was offered while there was no connection stalled on none: it is left out.
    """
    for opening in connections[connections["what"] == ConnectionEvent.OPENED]:
        number = int(opening["connection"])
        ends = connections[(connections["connection"] == number) & np.isin(connections["what"], _ENDS)]
        is_mine = rows["seq"] >= opening["seq"]
        if ends.size:
            is_mine &= rows["seq"] < ends["seq"][0]
            ended_ns, what = int(ends["at"][0]), ConnectionEvent(int(ends["what"][0]))
        else:  # the agent ended before it closed it
            seen = np.maximum(rows["send_ended_ns"], rows["received"])
            ended_ns, what = int(np.max(seen, initial=int(opening["at"]))), ConnectionEvent.CLOSED
        yield from _stalls_of(rows[is_mine], ended_ns, _END_OF_EVENT.get(what, StallEnd.SILENT))


def _stalls_of(rows: Rows, ended_ns: int, ended: StallEnd) -> Iterator[Stall]:
    """Yield the stalls of one connection, whose messages are given, and when and how it ended."""
    has_answer = rows["copies"] > 0
    until_ns = np.where(has_answer, rows["received"], ended_ns)
    waits_ns = until_ns - rows["send_began_ns"]
    for first, behind in find_runs(waits_ns > STALL_NS):
        run = slice(first, behind)
        came_back = bool(has_answer[behind - 1 :].any())  # the last that waited was answered, or one after it was
        end_ns = _back_ns(rows[run], rows[behind:]) if came_back else ended_ns
        yield Stall(
            start_ns=Nanoseconds(int(rows["send_began_ns"][first])),
            end_ns=Nanoseconds(end_ns),
            wait_ns=Nanoseconds(int(np.max(waits_ns[run]))),
            end=StallEnd.RECOVERED if came_back else ended,
        )


def _back_ns(waiting: Rows, later: Rows) -> int:
    """Return when the last of the waiting messages was answered; where none ever was, the first later one."""
    answered = waiting["received"][waiting["copies"] > 0]
    return int(answered.max()) if answered.size else int(later["received"][later["copies"] > 0].min())

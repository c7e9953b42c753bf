"""Stalls: where an open connection fell silent while messages waited on it. Pure.

TCP sends again what was lost, and waits twice as long after every try. So a connection that met an outage comes back later than
the path does: what an application waits for is the stall, not the outage. Source: RFC 6298 5; include/net/tcp.h of Linux.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

import numpy as np

from hitless.records import ConnectionEvent, Rows
from hitless.words import Nanoseconds

STALL_NS: Final = Nanoseconds(200_000_000)
"""A message that waits longer was sent again, once at least. Source: include/net/tcp.h TCP_RTO_MIN (HZ / 5)."""


@unique
class StallEnd(StrEnum):
    """How a stall went on."""

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
    """Yield the stalls of one `tcp-established` flow, connection by connection.

    What was offered while there was no connection stalled on none: it is left out.

    Args:
        rows: SENDER_ROW of the flow that were offered, by seq.
        connections: CONNECTION_ROW of the flow, by time.
    """
    for opening in connections[connections["what"] == ConnectionEvent.OPENED]:
        number = int(opening["connection"])
        ends = connections[(connections["connection"] == number) & np.isin(connections["what"], _ENDS)]
        is_mine = rows["seq"] >= opening["seq"]
        if ends.size:
            is_mine &= rows["seq"] < ends["seq"][0]
            ended_ns, what = int(ends["at"][0]), ConnectionEvent(int(ends["what"][0]))
        else:  # the agent did not live to close it
            seen = np.maximum(rows["send_ended_ns"], rows["received"])
            ended_ns, what = int(np.max(seen, initial=int(opening["at"]))), ConnectionEvent.CLOSED
        yield from _stalls_of(rows[is_mine], ended_ns, _END_OF_EVENT.get(what, StallEnd.SILENT))


def _stalls_of(rows: Rows, ended_ns: int, ended: StallEnd) -> Iterator[Stall]:
    """Yield the stalls of one connection, whose messages are given, and when and how it ended."""
    has_answer = rows["copies"] > 0
    until_ns = np.where(has_answer, rows["received"], ended_ns)
    waits_ns = until_ns - rows["send_began_ns"]
    edges = np.diff((waits_ns > STALL_NS).astype(np.int8), prepend=0, append=0)
    for first, behind in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
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

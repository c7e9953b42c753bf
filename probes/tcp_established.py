"""`tcp-established`: sequence-numbered messages on one connection, each answered, and a new connection after a break.

A message is offered when its tick comes, whatever the connection is doing, because that is when an application would have
wanted to send it: the kernel keeps it until it is acknowledged; the agent keeps it for a few seconds while there is no
connection or no room. Messages lost with a connection have the reason in their rows. A new connection is tried at once, then
once an interval, without growing pauses: a pause would be measured as if it were the network's.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitless.records import CONNECTION_ROW, ConnectionEvent
from probes.namespaces import Place
from probes.settings import FlowSettings
from probes.stamp import PACKET_OCTETS
from probes.tcp_socket import (
    CLOSED_BY_PEER,
    OWN_FAULTS,
    RECEIVE_OCTETS,
    RESETS,
    UNREADABLE,
    TcpFlow,
    Tools,
    close_abruptly,
    count_retransmits,
    make_socket,
    name_failure,
    read_error,
    receive,
)

KEPT_NS: Final = 3_000_000_000
"""A message that could not be sent for this time is given up: an answer would be late anyway (RFC 6412 3.7.6: 2 s)."""
RETRY_NS_MIN: Final = 50_000_000
"""Least time between two attempts to connect, however often the flow is probed."""
_ROUNDS_MAX: Final = 8
"""Most reads of a connection that has ended, to get its earlier data."""


@dataclass(slots=True, kw_only=True)
class _Message:
    """One message that the kernel has not accepted completely."""

    seq: int
    offered_ns: int
    rest: bytes
    """The rest that is still to be sent."""
    timestamp: int
    """Its timestamp, NTP."""

    @property
    def is_cut(self) -> bool:
        """Whether a part of it was sent: then the rest must follow on the same connection."""
        return len(self.rest) < PACKET_OCTETS


class TcpEstablishedFlow(TcpFlow):
    """Sends the probes of one `tcp-established` flow; arguments as of `TcpFlow`."""

    def __init__(self, flow: FlowSettings, index: int, tools: Tools, place: Place) -> None:
        super().__init__(flow, index, tools, place)
        self._opened: socket.socket | None = None
        self._is_open = self._is_full = False
        self._number = 0
        """Number of the connection: failed attempts share it with the one that succeeds."""
        self._began_ns = 0
        self._retry_ns = 0
        self._told: ConnectionEvent | None = None
        """The last recorded reason of failed attempts."""
        self._reason = errno.ETIMEDOUT
        """Why the last attempt to connect failed."""
        self._next_seq = 0
        self._queue: deque[_Message] = deque()
        self._sent: dict[int, int] = {}
        """Sequence number to timestamp of what was sent on this connection and not answered."""
        self._inbox = bytearray()
        self._retransmits = 0
        """Retransmissions of the connection when the last answer arrived."""

    def start(self, now_ns: int) -> None:
        """Open the connection."""
        self._connect(now_ns)

    def offer(self, seq: int) -> None:
        """Send a message, behind those that still wait."""
        self._next_seq = seq + 1
        content, timestamp = self._make_probe(seq)
        began_ns = self._now_ns()
        self._begin(seq, began_ns)
        self._queue.append(_Message(seq=seq, offered_ns=began_ns, rest=content, timestamp=timestamp))
        if self._is_open and not self._is_full:
            self._flush()
            self._tools.note_call(began_ns, self._now_ns())

    def serve(self, descriptor: int) -> None:
        """Notice that a connection opened or failed; read received data; write pending data."""
        if self._opened is None or self._opened.fileno() != descriptor:
            return
        if not self._is_open:
            self._look_whether_open(self._opened)
            return
        number = self._receive(self._opened)
        if number is not None:
            self._break(number)
        elif self._queue:
            self._flush()

    def look(self, now_ns: int) -> None:
        """Give up an attempt or a message that took too long; connect again if it is time."""
        self._look_at_try(now_ns)
        if self._opened is None and now_ns >= self._retry_ns:
            self._connect(now_ns)
        # A message that is partly in the kernel must be completed; later ones need not be started.
        cut = self._queue.popleft() if self._queue and self._queue[0].is_cut else None
        while self._queue and now_ns - self._queue[0].offered_ns >= KEPT_NS:
            self._lose(self._queue.popleft().seq)
        if cut is not None:
            self._queue.appendleft(cut)

    def finish(self, now_ns: int) -> None:
        """Close the connection; messages whose time has not passed are not recorded as failed."""
        self._look_at_try(now_ns)
        if self._opened is None:
            return
        if self._is_open:
            self._tell(ConnectionEvent.CLOSED, 0)
        self._tools.forget(self._opened)
        self._opened.close()
        self._opened = None

    def _connect(self, now_ns: int) -> None:
        """Try to open a connection."""
        self._began_ns = now_ns
        self._retry_ns = now_ns + max(self._tools.interval_ns, RETRY_NS_MIN)
        try:
            with self.place.inside():
                opened = make_socket(self._flow.source_address)
        except OSError as error:
            self._reason = error.errno or errno.EIO
            self._tools.counters["connections_untried"] += 1
            return
        self._opened, self._is_open, self._is_full = opened, False, False
        self._began_ns = self._now_ns()
        number = opened.connect_ex(self._target)
        if number in (0, errno.EINPROGRESS):
            self._tools.watch(opened, select.EPOLLOUT, self)
        else:
            self._give_up(number)

    def _look_at_try(self, now_ns: int) -> None:
        """Give up an attempt that took too long."""
        if self._opened is not None and not self._is_open and now_ns - self._began_ns >= self._tools.patience_ns:
            self._give_up(errno.ETIMEDOUT, is_ours=True)

    def _look_whether_open(self, opened: socket.socket) -> None:
        number = read_error(opened)
        if number and number not in RESETS:
            self._give_up(number)
            return
        self._is_open, self._told = True, None
        self._reason = errno.ETIMEDOUT
        self._retransmits = 0
        self._tell(ConnectionEvent.OPENED, 0)
        if number:  # it was open for a short time
            self._break(number)
            return
        self._tools.rewatch(opened, select.EPOLLIN)
        self._flush()

    def _give_up(self, number: int, *, is_ours: bool = False) -> None:
        """Note a failed attempt to connect; it is recorded only if the reason is new."""
        assert self._opened is not None  # noqa: S101 - at least one attempt was made
        self._reason = number
        if number in OWN_FAULTS:
            self._tools.counters["connections_untried"] += 1
        else:
            what = name_failure(number)
            if what is not self._told:
                self._tell(what, 0 if is_ours else number)
                self._told = what
        self._tools.forget(self._opened)
        close_abruptly(self._opened)
        self._opened = None

    def _flush(self) -> None:
        """Send as much pending data as the kernel accepts."""
        assert self._opened is not None  # noqa: S101 - only called where it is open
        while self._queue:
            message = self._queue[0]
            try:
                message.rest = message.rest[self._opened.send(message.rest) :]
            except BlockingIOError:
                break
            except OSError as error:
                for _ in range(_ROUNDS_MAX):  # the error is reported before earlier data is read
                    if self._receive(self._opened) is not None:
                        break
                self._break(error.errno or errno.EIO)
                return
            if message.rest:
                break
            self._note(message.seq, send_ended_ns=self._now_ns())
            self._sent[message.seq] = message.timestamp
            self._queue.popleft()
        if self._is_full != bool(self._queue):
            self._is_full = bool(self._queue)
            self._tools.rewatch(self._opened, select.EPOLLIN | (select.EPOLLOUT if self._is_full else 0))

    def _receive(self, opened: socket.socket) -> int | None:
        """Read received data; return the errno that ended the connection, 0 for end of file, None: still open."""
        try:
            content, wall_ns = receive(opened, RECEIVE_OCTETS)
        except BlockingIOError:
            return None
        except OSError as error:
            return error.errno or errno.EIO
        if not content:
            return 0
        self._inbox += content
        now_ns, total = self._now_ns(), count_retransmits(opened)
        while len(self._inbox) >= PACKET_OCTETS:
            answer = self._read_answer(self._inbox[:PACKET_OCTETS])
            del self._inbox[:PACKET_OCTETS]
            if answer is None:
                return UNREADABLE
            timestamp = self._sent.pop(answer.sender_seq, None)
            if timestamp is not None:
                retransmits, self._retransmits = total - self._retransmits, total
                self._take(answer, timestamp=timestamp, wall_ns=wall_ns, now_ns=now_ns, retransmits=retransmits)
            elif not self._repeat(answer.sender_seq):
                self._tools.counters["stale"] += 1
        return None

    def _break(self, number: int) -> None:
        """Handle an open connection's end, an errno (0: the other end closed it): fail its messages, open another one."""
        opened = self._opened
        assert opened is not None  # noqa: S101 - only called where it is open
        self._tell(ConnectionEvent.RESET if number in RESETS else ConnectionEvent.ENDED, number)
        self._reason = number or CLOSED_BY_PEER
        for seq in self._sent:
            self._lose(seq)
        if self._queue and self._queue[0].is_cut:
            self._lose(self._queue.popleft().seq)
        self._sent.clear()
        self._inbox.clear()
        self._tools.forget(opened)
        close_abruptly(opened)
        self._opened, self._is_open = None, False
        self._number += 1
        now_ns = self._now_ns()
        if now_ns >= self._retry_ns:
            self._connect(now_ns)

    def _lose(self, seq: int) -> None:
        """Note why a message has no answer; it was never offered if no connection could even be attempted."""
        self._note(seq, **{"send_errno" if self._reason in OWN_FAULTS else "failure": self._reason})

    def _tell(self, what: ConnectionEvent, number: int) -> None:
        assert self._opened is not None  # noqa: S101 - what is told is told of a connection
        row = (
            self._flow.id,
            self._number,
            self._began_ns,
            self._now_ns(),
            what,
            number,
            self._next_seq,
            count_retransmits(self._opened),
        )
        self._tools.connections.append(np.array([row], dtype=CONNECTION_ROW))

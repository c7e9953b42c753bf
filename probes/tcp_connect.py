"""`tcp-connect`: a new connection per probe, with one message and its answer.

A probe's `send_began_ns` is read just before connect(), so that its delay is the time that an application without a connection
waits: handshake, request, answer. A SYN that is lost is sent again a second later (RFC 6298 2.1): the probe is late, and
`retransmits` says why. A connection that is not finished in time is given up.

Connections end with RST, not with FIN. Who closes first keeps the 4-tuple for a minute (TIME_WAIT, net/ipv4/tcp.h
TCP_TIMEWAIT_LEN): 20 connections per second would hold 1,200 ports per flow; and a tracker of connections on the way keeps it
for two minutes after FIN (nf_conntrack_tcp_timeout_time_wait), for ten seconds after RST (..._timeout_close). The other end
has answered by then and loses nothing: it reads ECONNRESET where it would have read the end.
"""

from __future__ import annotations

import errno
import select
import socket
from dataclasses import dataclass, field

from hitless.words import FlowClass
from probes.namespaces import Place
from probes.settings import FlowSettings
from probes.stamp import PACKET_OCTETS
from probes.tcp_socket import (
    CLOSED_BY_PEER,
    OWN_FAULTS,
    UNREADABLE,
    TcpFlow,
    Tools,
    close_abruptly,
    connections_max,
    count_retransmits,
    make_socket,
    read_error,
    receive,
)


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """One connection."""

    seq: int
    opened: socket.socket
    began_ns: int
    timestamp: int = -1
    """Timestamp of its message, NTP; -1: not sent yet."""
    inbox: bytearray = field(default_factory=bytearray)


class TcpConnectFlow(TcpFlow):
    """Sends the probes of one `tcp-connect` flow; arguments as of `TcpFlow`."""

    makes_sockets = True

    def __init__(self, flow: FlowSettings, index: int, tools: Tools, place: Place) -> None:
        super().__init__(flow, index, tools, place)
        self._attempts: dict[int, _Attempt] = {}
        """By descriptor, the oldest first."""
        self._attempts_max = connections_max(FlowClass.TCP_CONNECT, tools.interval_ns, tools.patience_ns)

    def offer(self, seq: int) -> None:
        """Begin a connection."""
        try:
            if len(self._attempts) >= self._attempts_max:
                raise OSError(errno.ENOBUFS, "too many open connections")  # noqa: TRY301 - as if the kernel had said so
            opened = make_socket(self._flow.source_address)
        except OSError as error:
            self._begin(seq, self._now_ns())
            self._note(seq, send_errno=error.errno or errno.EIO)
            return
        began_ns = self._now_ns()
        number = opened.connect_ex(self._target)
        ended_ns = self._now_ns()
        self._begin(seq, began_ns)
        self._note(seq, send_ended_ns=ended_ns)
        self._tools.note_call(began_ns, ended_ns)
        attempt = _Attempt(seq=seq, opened=opened, began_ns=began_ns)
        self._attempts[opened.fileno()] = attempt
        if number in (0, errno.EINPROGRESS):
            self._tools.watch(opened, select.EPOLLOUT, self)
        elif number in OWN_FAULTS:
            self._note(seq, send_errno=number)
            self._end(attempt)
        else:
            self._fail(attempt, number)

    def serve(self, descriptor: int) -> None:
        """Advance a connection: send its message once it is open, read the answer once it arrives."""
        attempt = self._attempts[descriptor]
        try:
            if attempt.timestamp < 0:
                self._send(attempt)
            else:
                self._receive(attempt)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(attempt, error.errno or errno.EIO)

    def look(self, now_ns: int) -> None:
        """Give up connections that took too long."""
        while self._attempts:
            oldest = next(iter(self._attempts.values()))
            if now_ns - oldest.began_ns < self._tools.patience_ns:
                return
            self._fail(oldest, errno.ETIMEDOUT)

    def finish(self, now_ns: int) -> None:
        """Close the open connections; those whose time has not passed are not recorded as failed."""
        self.look(now_ns)
        for attempt in tuple(self._attempts.values()):
            self._end(attempt)

    def _send(self, attempt: _Attempt) -> None:
        number = read_error(attempt.opened)
        if number:
            self._fail(attempt, number)
            return
        content, timestamp = self._make_probe(attempt.seq)
        attempt.opened.send(content)  # complete: a new connection has room for more
        attempt.timestamp = timestamp
        self._tools.rewatch(attempt.opened, select.EPOLLIN)

    def _receive(self, attempt: _Attempt) -> None:
        content, wall_ns = receive(attempt.opened, PACKET_OCTETS - len(attempt.inbox))
        if not content:
            self._fail(attempt, CLOSED_BY_PEER)
            return
        attempt.inbox += content
        if len(attempt.inbox) < PACKET_OCTETS:
            return
        now_ns = self._now_ns()
        answer = self._read_answer(attempt.inbox)
        if answer is not None and answer.sender_seq != attempt.seq:
            self._tools.counters["stale"] += 1
            answer = None
        if answer is None:
            self._fail(attempt, UNREADABLE)
            return
        retransmits = count_retransmits(attempt.opened)
        self._take(answer, timestamp=attempt.timestamp, wall_ns=wall_ns, now_ns=now_ns, retransmits=retransmits)
        self._end(attempt)

    def _fail(self, attempt: _Attempt, number: int) -> None:
        self._note(attempt.seq, failure=number)
        self._end(attempt)

    def _end(self, attempt: _Attempt) -> None:
        del self._attempts[attempt.opened.fileno()]
        self._tools.forget(attempt.opened)
        close_abruptly(attempt.opened)

"""TCP sockets for probing: bound to an endpoint's address, non-blocking, with the kernel's receive times.

The kernel gives a receive time with every `recvmsg` on a connection, as it does for datagrams, but one only: that of the last
segment it read from. Segments that arrive before a read are merged, so the receive time of a message can be later than its
arrival, by the time that it stayed unread, but never earlier. Measured (Linux 6.18): on loopback 2 to 5 us after send() began.
The kernel begins to take times a little after the first socket of the machine asked for them (net/core/dev.c
net_enable_timestamp): until then the time of the reading stands for it.
"""

from __future__ import annotations

import errno
import resource
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from hitless.errors import WorldError
from hitless.records import ConnectionEvent
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.namespaces import Place
from probes.recording import GrowingTable, SenderTable, make_row
from probes.settings import FlowSettings
from probes.sockets import SO_TIMESTAMPNS, TIMESPEC_OCTETS, family_of, find_time
from probes.stamp import PACKET_OCTETS, Answer, Probe, decode_answer, decode_ntp, encode_ntp, encode_probe

PATIENCE_NS: Final = 2_000_000_000
"""A connection that is not made by then is given up, whatever the kernel would still try. A lost SYN is sent again after 1 s
(RFC 6298 2.1), so that one lost SYN makes a slow connection, not a lost one. Source: RFC 6412 3.7.6, the threshold."""
RECEIVE_OCTETS: Final = 64 * PACKET_OCTETS
"""Read at once: what a stall of three seconds at 20 messages per second leaves behind."""
OWN_FAULTS: Final = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EAGAIN,
    }
)
"""Why no connection could be tried at all: no descriptor, memory or local port. The instrument's fault, not the network's."""
RESETS: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
"""What an RST on an open connection reads as; EPIPE where the other end had said before that it sends no more. Source:
net/ipv4/tcp_input.c tcp_reset."""
CLOSED_BY_PEER: Final = errno.EPIPE
"""`failure` of a probe whose connection the other end closed: the kernel gives an end of file and no number."""
UNREADABLE: Final = errno.EBADMSG
"""`failure` of a probe whose connection was given up because what came on it was no message."""
RECONNECTS_MAX: Final = 4
"""Connections of a `tcp-established` flow that the far end may hold: the present one, and those of which it has not heard that
they are gone."""
_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""The port is chosen at connect(), by the whole 4-tuple: the same one serves many destinations. Source: ip(7), Linux 4.2."""
_CONTROL_OCTETS: Final = socket.CMSG_SPACE(TIMESPEC_OCTETS)
_TOTAL_RETRANS: Final = struct.Struct("100xI")
"""tcpi_total_retrans: segments sent again, SYNs included. Source: linux/tcp.h struct tcp_info."""
_ABRUPT: Final = struct.pack("ii", 1, 0)
"""struct linger, on and 0 s: close() sends RST. Source: socket(7)."""
_MARGIN_NS: Final = 1_000_000_000
_FILES_SPARE: Final = 256
"""Files that an agent has open beside its connections."""
_COPIES_MAX: Final = 255
_RETRANSMITS_MAX: Final = 255


def make_socket(source: str) -> socket.socket:
    """Return a socket, made in the current namespace, whose connections come from an address.

    Raises OSError: there is no descriptor left, or no such address here.
    """
    return _bind(source, 0, (socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT))


def make_listener(address: str, port: int, backlog: int) -> socket.socket:
    """Return a listening socket, made in the current namespace; the connections that it accepts are as `make_socket`'s.

    Raises OSError: the address or the port is not available.
    """
    # What an earlier run left in TIME_WAIT is no obstacle.
    opened = _bind(address, port, (socket.SOL_SOCKET, socket.SO_REUSEADDR))
    opened.listen(backlog)
    return opened


def _bind(address: str, port: int, option: tuple[int, int]) -> socket.socket:
    opened = family_of(address).open(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        for level, name in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, SO_TIMESTAMPNS), option):
            opened.setsockopt(level, name, 1)
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return opened


def receive(opened: socket.socket, octets: int = RECEIVE_OCTETS) -> tuple[bytes, int | None]:
    """Read the available data.

    Returns:
        At most this many octets, none at the end of the stream; and when the last of them came, CLOCK_REALTIME, ns. None: the
        kernel did not say.

    Raises OSError: BlockingIOError where nothing is there; anything else is the end of the connection.
    """
    content, controls, _, _ = opened.recvmsg(octets, _CONTROL_OCTETS)
    return content, find_time(controls)


def read_error(opened: socket.socket) -> int:
    """Return and clear the pending errno of a socket; 0: none."""
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def count_retransmits(opened: socket.socket) -> int:
    """Return how many segments were sent again on a connection so far, SYNs included."""
    (count,) = _TOTAL_RETRANS.unpack(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS.size))
    return int(count)


def close_abruptly(opened: socket.socket) -> None:
    """Close with RST: no TIME_WAIT here, and trackers of connections forget it soon."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
    opened.close()


def name_failure(number: int) -> ConnectionEvent:
    """Return the meaning of a failed connect, by its errno."""
    match number:
        case errno.ECONNREFUSED:
            return ConnectionEvent.REFUSED
        case errno.ETIMEDOUT:
            return ConnectionEvent.TIMED_OUT
        case _:
            return ConnectionEvent.UNREACHABLE


def connections_max(flow_class: FlowClass, interval_ns: int, patience_ns: int) -> int:
    """Return how many connections a flow can have at a time: a new one an interval, each for as long as it is waited for."""
    if flow_class is FlowClass.TCP_ESTABLISHED:
        return RECONNECTS_MAX
    return -(-(patience_ns + _MARGIN_NS) // interval_ns) + 1


def allow_open_files(connections: int) -> None:
    """Raise the process' own limit where it is too low for this many concurrent connections.

    Raises WorldError: it may not be raised so far.
    """
    wanted = connections + _FILES_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard if hard == resource.RLIM_INFINITY else max(hard, wanted)))
    except (OSError, ValueError) as error:
        raise WorldError(f"TCP connections need {wanted} open files, but the limit is {hard}; raise it (ulimit -Hn)") from error


@dataclass(slots=True, kw_only=True)
class Tools:
    """Tools that the flows of one sender share."""

    interval_ns: int
    patience_ns: int
    """Longest wait for an answer or a connection."""
    bridge: Bridge
    table: SenderTable
    connections: GrowingTable
    """Table of the CONNECTION_ROWs."""
    counters: Counter[str]
    note_call: Callable[[int, int], None]
    """Records when a call that sent a probe began and ended."""
    epoll: select.epoll = field(default_factory=select.epoll)
    owners: dict[int, TcpFlow] = field(default_factory=dict)
    """Descriptor to the flow that gets its events."""

    def watch(self, opened: socket.socket, events: int, owner: TcpFlow) -> None:
        """Report these events to `owner` from now on."""
        self.owners[opened.fileno()] = owner
        self.epoll.register(opened.fileno(), events)

    def rewatch(self, opened: socket.socket, events: int) -> None:
        """Report these events instead."""
        self.epoll.modify(opened.fileno(), events)

    def forget(self, opened: socket.socket) -> None:
        """Report no more events; to be called just before the socket is closed, which removes it from the epoll."""
        self.owners.pop(opened.fileno(), None)


class TcpFlow(ABC):
    """One flow over connections; never blocks. Every probe has its row before anything is done, so every outcome has a place.

    `index` is its place in a tick; its connections are made in `place`.
    """

    makes_sockets: ClassVar[bool] = False
    """Whether `offer` makes a socket: then its caller is in `place`."""

    def __init__(self, flow: FlowSettings, index: int, tools: Tools, place: Place) -> None:
        self._flow, self._index, self._tools, self.place = flow, index, tools, place
        self._now_ns = tools.bridge.now_ns
        self._target = (flow.sent_to, flow.port)
        self._count = tools.table.ticks.shape[1]
        # Views of single columns: an index into a column is a number, an index into the rows creates a record.
        self._columns = {name: tools.table.rows[name] for name in tools.table.rows.dtype.names or ()}

    def start(self, now_ns: int) -> None:  # noqa: B027 - most have nothing to get ready
        """Get ready to send: no probe comes before."""

    @abstractmethod
    def offer(self, seq: int) -> None:
        """Send a probe, or keep it until it can be sent; afterwards its row exists."""

    @abstractmethod
    def serve(self, descriptor: int) -> None:
        """Handle events of one of its sockets."""

    @abstractmethod
    def look(self, now_ns: int) -> None:
        """Do the work that is due."""

    @abstractmethod
    def finish(self, now_ns: int) -> None:
        """Close everything."""

    def _begin(self, seq: int, began_ns: int) -> None:
        """Write the row of a probe that is offered now."""
        self._tools.table.rows[seq * self._count + self._index] = make_row(self._flow.id, seq, began_ns, began_ns)

    def _note(self, seq: int, **values: int) -> None:
        """Note values of a probe's row.

        Among them: `send_ended_ns`, when the call ended that gave it to the kernel; `send_errno`, why it could not even be
        tried and so was never offered; `failure`, why its connection ended before its answer.
        """
        for name, value in values.items():
            self._columns[name][seq * self._count + self._index] = value

    def _make_probe(self, seq: int) -> tuple[bytes, int]:
        """Return a message with the time as it is now, and that time, NTP."""
        timestamp = encode_ntp(time.time_ns())
        probe = Probe(seq=seq, timestamp=timestamp, error=self._tools.bridge.error, ssid=self._flow.ssid)
        return encode_probe(probe), timestamp

    def _read_answer(self, content: bytes | bytearray) -> Answer | None:
        """Decode 44 octets as an answer to this flow; None: they are not, which is counted."""
        answer = decode_answer(content)
        if answer is None:
            self._tools.counters["malformed"] += 1
        elif answer.ssid != self._flow.ssid:
            self._tools.counters["foreign"] += 1
            return None
        return answer

    def _take(self, answer: Answer, *, timestamp: int, wall_ns: int | None, now_ns: int, retransmits: int) -> None:
        """Fill the row of a probe with its first answer.

        Args:
            answer: as received; its `sender_seq` is that of an offered probe.
            timestamp: that of the probe; an answer with another one is corrupted.
            wall_ns: the kernel's arrival time; None: there is none, and `now_ns` is used.
            now_ns: run clock, read after the answer was received.
            retransmits: segments retransmitted on the connection since the previous answer.
        """
        offset_ns = self._tools.bridge.offset_ns
        self._note(
            answer.sender_seq,
            received=now_ns if wall_ns is None else wall_ns - offset_ns,
            reflector_received=decode_ntp(answer.received) - offset_ns,
            reflector_sent=decode_ntp(answer.timestamp) - offset_ns,
            reflector_seq=answer.seq,
            forward_ttl=answer.sender_ttl,
            retransmits=min(retransmits, _RETRANSMITS_MAX),
            corrupted=answer.sender_timestamp != timestamp,
            copies=1,
        )

    def _repeat(self, seq: int) -> bool:
        """Count one more answer of a probe; False: it had none so far."""
        place, copies = seq * self._count + self._index, self._columns["copies"]
        if place >= len(copies) or not copies[place]:
            return False
        copies[place] = min(int(copies[place]) + 1, _COPIES_MAX)
        return True

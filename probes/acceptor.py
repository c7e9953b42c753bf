"""The far end of TCP flows: accepts their connections, answers their messages, and logs both.

Its guarantees are those of the reflector for datagrams. It listens only where a flow ends, accepts only from addresses that
such a flow may come from, no more connections than those flows can need, and no faster than they can open them. A valid message
of a flow that ends here, from that flow's source, is answered: 44 octets are sent for 44 received. Anything else ends the
connection, because its framing is not reliable any more. If a peer does not read its answers, its messages are not read either.
The log has the source address of each message, which shows whether it was rewritten on the way. Source: RFC 8762 4.3.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hitless.errors import attempting
from hitless.records import NONE_NS, REFLECTOR_ROW, encode_address
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.namespaces import Place
from probes.recording import UNANSWERED, GrowingTable
from probes.reflector import BURST_MIN, RATE_MARGIN
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from probes.sockets import name_port
from probes.stamp import PACKET_OCTETS, Probe, answer_probe, decode_probe, encode_ntp
from probes.tcp_socket import PATIENCE_NS, allow_open_files, close_abruptly, connections_max, make_listener, receive

STALL_NS: Final = 60_000_000_000
"""Messages of a flow from this time may arrive together when a stalled connection recovers: they are answered at once."""
NAMELESS_NS: Final = 10_000_000_000
"""A connection is closed if it has not sent a complete message by then."""
IDLE_NS: Final = {FlowClass.TCP_CONNECT: 10_000_000_000, FlowClass.TCP_ESTABLISHED: 600_000_000_000}
"""A connection is closed after this silence: one of `tcp-established` may only be stalled."""
SWEEP_NS: Final = 1_000_000_000
"""Time between two looks for such connections."""
_BACKLOG: Final = 1024
"""Connections that the kernel accepts while the process does other work; it drops further SYNs (net.core.somaxconn)."""
_EVENTS_MAX: Final = 16
"""Connections served in one turn of the loop: each takes about 50 us, and a tick of datagrams must not wait for all."""
_SENT: Final = (REFLECTOR_ROW.names or ()).index("sent")
_ACCEPTS_MAX: Final = 64
"""Read in one turn: a flood must not delay a sender in the same process."""


class TokenBucket:
    """Lets through at most a rate (tokens a nanosecond) on average, and at most a burst at once, with which it begins."""

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._filled_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take a token; False: there is none."""
        self._tokens = min(self._burst, self._tokens + self._rate * (now_ns - self._filled_ns))
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True, kw_only=True)
class Conversation:
    """State of one connection, derived from its messages."""

    source: bytes
    """Source address of the other end as received, as a number."""
    ssid: int = 0
    """SSID of its flow; 0: no message has arrived yet."""
    inbox: bytearray = field(default_factory=bytearray)
    """The beginning of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of one read."""

    received_ns: int
    """Run clock."""
    received_wall_ns: int
    """CLOCK_REALTIME."""
    sent_ns: int
    """Run clock, just before the answers are handed over."""
    sent_wall_ns: int
    """CLOCK_REALTIME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answers to received messages, and the rows for the log."""

    answers: bytes
    """To be sent back."""
    rows: list[tuple[int | bytes, ...]]
    """REFLECTOR_ROWs, one per message."""
    end: str
    """Counter for the reason that ends the connection, `malformed` or `foreign`; empty: it continues."""


class Answering:
    """Answers for one endpoint, the far end of these flows; each takes a token of the bucket."""

    def __init__(self, flows: Collection[FlowSettings], bucket: TokenBucket) -> None:
        self.flows = {flow.ssid: flow for flow in flows}
        self.sources = {flow.ssid: frozenset(map(encode_address, flow.sources)) for flow in flows}
        """SSID to the addresses that its flow may come from, as in a row."""
        self._bucket = bucket
        self._next_seq = dict.fromkeys(self.flows, 0)

    def reply(self, conversation: Conversation, content: bytes, times: Times, error: int) -> Reply:
        """Return the answers to received octets, which are cut anywhere, up to the first invalid message."""
        conversation.inbox += content
        probes, end = self._read(conversation)
        answers: list[bytes] = []
        rows: list[tuple[int | bytes, ...]] = []
        received, sent = encode_ntp(times.received_wall_ns), encode_ntp(times.sent_wall_ns)
        for probe in probes:
            number, sent_ns = UNANSWERED, NONE_NS
            if self._bucket.take(times.sent_ns):
                number, sent_ns = self._next_seq[probe.ssid] & 0xFFFF_FFFF, times.sent_ns
                self._next_seq[probe.ssid] += 1
                answers.append(answer_probe(probe, seq=number, timestamp=sent, received=received, error=error, ttl=0))
            rows.append((self.flows[probe.ssid].id, probe.seq, times.received_ns, sent_ns, 0, number, conversation.source))
        return Reply(answers=b"".join(answers), rows=rows, end=end)

    def _read(self, conversation: Conversation) -> tuple[list[Probe], str]:
        """Return the complete messages, and the reason for the end of the data."""
        probes: list[Probe] = []
        inbox = conversation.inbox
        while len(inbox) >= PACKET_OCTETS:
            probe = decode_probe(inbox[:PACKET_OCTETS])
            del inbox[:PACKET_OCTETS]
            if probe is None:
                return probes, "malformed"
            if conversation.source not in self.sources.get(probe.ssid, ()) or conversation.ssid not in (0, probe.ssid):
                return probes, "foreign"
            conversation.ssid = probe.ssid
            probes.append(probe)
        return probes, ""


@dataclass(slots=True, kw_only=True)
class _Listener:
    """One endpoint in which flows end."""

    opened: socket.socket
    allowed: dict[bytes, int]
    """Address, as a number, to the number of connections that may come from it."""
    answering: Answering
    accepts: TokenBucket
    held: dict[bytes, dict[int, _Connection]] = field(default_factory=dict)
    """Address to its connections by descriptor, those that have been silent longest first."""


@dataclass(slots=True, kw_only=True)
class _Connection(Conversation):
    """One connection that was accepted."""

    opened: socket.socket
    listener: _Listener
    heard_ns: int
    """Time of its last message, run clock; before the first one, the time at which it was accepted."""
    outbox: bytes = b""
    """Answers that are to be sent."""
    is_full: bool = False
    """Whether the kernel had no room for them: then nothing is read until they are sent."""

    @property
    def silence_ns_max(self) -> int:
        """Longest silence of a connection."""
        flow = self.listener.answering.flows.get(self.ssid)
        return IDLE_NS[flow.flow_class] if flow else NAMELESS_NS


class Acceptor:
    """Answers the messages that come to the agent's endpoints on connections; a reflector may share its log."""

    def __init__(self, settings: AgentSettings, bridge: Bridge, log: GrowingTable) -> None:
        self._settings, self._bridge, self._log = settings, bridge, log
        self.counters: Counter[str] = Counter()
        self._patience_ns = max(PATIENCE_NS, settings.drain_ns)
        self._epoll = select.epoll()
        self.descriptor = self._epoll.fileno()
        """Readable when a peer connects or sends."""
        self._listeners: dict[int, _Listener] = {}
        self._connections: dict[int, _Connection] = {}
        self._rows: list[tuple[int | bytes, ...]] = []
        self._swept_ns = self._bridge.now_ns()
        flows = [flow for flow in settings.reflected_flows if flow.flow_class.is_tcp]
        allow_open_files(sum(self._connections_max(flow) for flow in flows))
        for endpoint in settings.endpoints:
            mine = [flow for flow in flows if endpoint.reflects and flow.destination == endpoint.name]
            if mine:
                self._listen(endpoint, mine)

    def step(self) -> None:
        """Accept connections, answer and log messages; from time to time close connections that are silent for too long."""
        for descriptor, _ in self._epoll.poll(0, _EVENTS_MAX):
            listener = self._listeners.get(descriptor)
            if listener is not None:
                self._accept(listener)
            elif descriptor in self._connections:
                self._serve(self._connections[descriptor])
        if self._rows:
            self._log.append(np.array(self._rows, dtype=REFLECTOR_ROW))
            self._rows.clear()
        now_ns = self._bridge.now_ns()
        if now_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns = now_ns
            self._sweep(now_ns)

    def finish(self) -> None:
        """Close everything, and the log."""
        for connection in tuple(self._connections.values()):
            self._close(connection)
        for listener in self._listeners.values():
            listener.opened.close()
        self._epoll.close()
        self._log.close()

    def _connections_max(self, flow: FlowSettings) -> int:
        return connections_max(flow.flow_class, self._settings.interval_ns, self._patience_ns)

    def _listen(self, endpoint: EndpointSettings, flows: list[FlowSettings]) -> None:
        name = f"{name_port(endpoint.address, endpoint.port)} in {endpoint.namespace or 'the current namespace'}"
        with attempting(f"open TCP {name}"), closing(Place(endpoint.namespace)) as place, place.inside():
            opened = make_listener(endpoint.address, endpoint.port, _BACKLOG)
        rate, now_ns = RATE_MARGIN * len(flows) / self._settings.interval_ns, self._bridge.now_ns()
        answering = Answering(flows, TokenBucket(rate, max(BURST_MIN, rate * STALL_NS), now_ns))
        allowed: Counter[bytes] = Counter()
        for flow in flows:
            allowed.update(dict.fromkeys(answering.sources[flow.ssid], self._connections_max(flow)))
        self._listeners[opened.fileno()] = _Listener(
            opened=opened,
            allowed=dict(allowed),
            answering=answering,
            accepts=TokenBucket(rate, max(BURST_MIN, rate * self._patience_ns), now_ns),
        )
        self._epoll.register(opened.fileno(), select.EPOLLIN)

    def _accept(self, listener: _Listener) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                opened, peer = listener.opened.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:  # the connection had already ended
                    continue
                self.counters["accept_errors"] += 1
                self._push_out(self._connections)  # no descriptor is left: the listener would wake the loop without end
                return
            source, now_ns = encode_address(peer[0]), self._bridge.now_ns()
            if source not in listener.allowed:
                self.counters["foreign"] += 1
                close_abruptly(opened)
            elif not listener.accepts.take(now_ns):
                self.counters["rate_limited"] += 1
                close_abruptly(opened)
            else:
                opened.setblocking(False)  # noqa: FBT003 - the standard library's signature
                self._hold(_Connection(opened=opened, listener=listener, heard_ns=now_ns, source=source))

    def _hold(self, connection: _Connection) -> None:
        """Keep a connection; if its source has too many, close the one that has been silent for longest."""
        held = connection.listener.held.setdefault(connection.source, {})
        if len(held) >= connection.listener.allowed[connection.source]:
            self._push_out(held)
        descriptor = connection.opened.fileno()
        held[descriptor] = self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN)
        self.counters["accepted"] += 1

    def _push_out(self, held: dict[int, _Connection]) -> None:
        """Close the connection that has been silent for longest."""
        if held:
            self.counters["pushed_out"] += 1
            self._close(min(held.values(), key=lambda connection: connection.heard_ns))

    def _sweep(self, now_ns: int) -> None:
        for connection in tuple(self._connections.values()):
            if now_ns - connection.heard_ns >= connection.silence_ns_max:
                self.counters["idle"] += 1
                self._close(connection)

    def _close(self, connection: _Connection, *, abruptly: bool = False) -> None:
        """Close a connection, normally with FIN, because an RST would look like a broken path."""
        descriptor = connection.opened.fileno()
        del self._connections[descriptor], connection.listener.held[connection.source][descriptor]
        if abruptly:
            close_abruptly(connection.opened)
        else:
            connection.opened.close()

    def _serve(self, connection: _Connection) -> None:
        if connection.is_full:
            self._send(connection)
            return
        try:
            content, wall_ns = receive(connection.opened)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if not content:
            self.counters["malformed"] += bool(connection.inbox)  # a message that was never finished
            self._close(connection)
            return
        connection.heard_ns = self._bridge.now_ns()
        self._answer(connection, content, wall_ns)

    def _answer(self, connection: _Connection, content: bytes, wall_ns: int | None) -> None:
        now_ns, now_wall_ns, pair = self._bridge.now_ns(), time.time_ns(), self._bridge.pair
        times = Times(
            received_ns=now_ns if wall_ns is None else wall_ns - (pair.wall_ns - pair.monotonic_ns),
            received_wall_ns=now_wall_ns if wall_ns is None else wall_ns,
            sent_ns=now_ns,
            sent_wall_ns=now_wall_ns,
        )
        reply = connection.listener.answering.reply(connection, content, times, self._bridge.error)
        count, rows = len(reply.answers) // PACKET_OCTETS, reply.rows
        connection.outbox = reply.answers
        is_alive = not count or self._send(connection)
        if not is_alive:
            rows = [(*row[:_SENT], NONE_NS, *row[_SENT + 1 :]) for row in rows]
        self._rows += rows
        self.counters["probes"] += len(rows)
        self.counters["rate_limited"] += len(rows) - count
        self.counters["answered" if is_alive else "send_errors"] += count
        if reply.end:
            self.counters[reply.end] += 1
            if is_alive:
                self._close(connection, abruptly=True)

    def _send(self, connection: _Connection) -> bool:
        """Send as much pending data as the kernel accepts; False: the connection is gone."""
        try:
            connection.outbox = connection.outbox[connection.opened.send(connection.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return False
        if connection.is_full != bool(connection.outbox):
            connection.is_full = bool(connection.outbox)
            self._epoll.modify(connection.opened.fileno(), select.EPOLLOUT if connection.is_full else select.EPOLLIN)
        return True

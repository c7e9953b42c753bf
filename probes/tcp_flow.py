"""The interface of a TCP flow to its sender, and the tools that the flows of one sender share."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from probes.clocks import Bridge
from probes.probe_book import ProbeBook
from probes.recording import GrowingTable
from probes.stamp import Answer, Probe, decode_answer, encode_ntp, encode_probe


class TcpFlow(Protocol):
    """One flow over connections. It never waits."""

    def start(self, now_ns: int) -> None:
        """Get ready to send: no probe comes before."""
        ...

    def offer(self, seq: int) -> None:
        """Send a probe, or keep it until it can be sent; its row is in the book afterwards."""
        ...

    def serve(self, descriptor: int) -> None:
        """Follow what happened on one of its sockets."""
        ...

    def look(self, now_ns: int) -> None:
        """Do what is due by the clock."""
        ...

    def finish(self, now_ns: int) -> None:
        """Close everything."""
        ...


@dataclass(slots=True, kw_only=True)
class Tools:
    """What the flows of one sender share."""

    interval_ns: int
    patience_ns: int
    """How long an answer, or a connection, is waited for."""
    bridge: Bridge
    book: ProbeBook
    connections: GrowingTable
    """CONNECTION_ROWs go there."""
    counters: Counter[str]
    note_call: Callable[[int, int], None]
    """Takes note of when a call that sent a probe began and ended."""
    epoll: select.epoll = field(default_factory=select.epoll)
    owners: dict[int, TcpFlow] = field(default_factory=dict)
    """Descriptor to the flow that hears of it."""

    def now_ns(self) -> int:
        """Return the present on the run clock."""
        return self.bridge.now_ns()

    def watch(self, opened: socket.socket, events: int, owner: TcpFlow) -> None:
        """Tell `owner` of these events from now on."""
        self.owners[opened.fileno()] = owner
        self.epoll.register(opened.fileno(), events)

    def rewatch(self, opened: socket.socket, events: int) -> None:
        """Tell of these events instead."""
        self.epoll.modify(opened.fileno(), events)

    def forget(self, opened: socket.socket) -> None:
        """Tell of nothing more; to be called just before the socket is closed, which takes it out of the epoll."""
        self.owners.pop(opened.fileno(), None)

    def make_probe(self, ssid: int, seq: int) -> tuple[bytes, int]:
        """Return a message with the time as it is now, and that time, NTP."""
        timestamp = encode_ntp(time.time_ns())
        return encode_probe(Probe(seq=seq, timestamp=timestamp, error=self.bridge.error, ssid=ssid)), timestamp

    def read_answer(self, content: bytes | bytearray, ssid: int) -> Answer | None:
        """Return the answer to the flow of this SSID that 44 octets are; None: they are none, which is counted."""
        answer = decode_answer(content)
        if answer is None:
            self.counters["malformed"] += 1
        elif answer.ssid != ssid:
            self.counters["foreign"] += 1
            return None
        return answer

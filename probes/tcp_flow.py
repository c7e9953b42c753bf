"""Common part of the flows over TCP: their rows, and the tools that the flows of one sender share.

The table is the one that the inner loop of datagrams fills: one row a flow and tick. Every probe has its row before anything is
done for it, so that every outcome has a place.
"""

from __future__ import annotations

import select
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from probes.clocks import Bridge
from probes.namespaces import Place
from probes.recording import GrowingTable, SenderTable, make_row
from probes.settings import FlowSettings
from probes.stamp import Answer, Probe, decode_answer, decode_ntp, encode_ntp, encode_probe

_COPIES_MAX: Final = 255
_RETRANSMITS_MAX: Final = 255


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
    """One flow over connections; never blocks.

    Args:
        flow: its settings.
        index: its place in a tick.
        tools: the shared tools.
        place: where its connections are made.
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

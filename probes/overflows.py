"""Drops of the prober's own sockets, with their times: they separate the instrument's loss from the network's.

A socket drops a datagram when its buffer is full, or when a checksum is wrong. The kernel counts drops without naming
the datagram. So the counters are read several times a second, and each increase between two reads is one row: probes lost in
that time at that endpoint are the instrument's own, and never downtime.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import numpy as np

from hitless.records import OVERFLOW_ROW, encode_address
from probes.recording import GrowingTable
from probes.sockets import count_overflows

LOOK_NS: Final = 100_000_000
"""Time between two reads: each costs one system call per socket."""

Watched = tuple[str, int, socket.socket]
"""Address of an endpoint, the id of a flow that its socket serves, the socket."""


class OverflowWatch:
    """Watches the sockets of one agent.

    Args:
        senders: sockets of the sender, which drop answers.
        reflectors: sockets of the reflector, which drop probes.
        table: gets OVERFLOW_ROWs.
        now_ns: run clock; the first drops fall after it.
    """

    def __init__(self, senders: Sequence[Watched], reflectors: Sequence[Watched], table: GrowingTable, now_ns: int) -> None:
        self._watched = [(opened, (encode_address(address), flow, False)) for address, flow, opened in senders]
        self._watched += [(opened, (encode_address(address), flow, True)) for address, flow, opened in reflectors]
        self._seen = [0] * len(self._watched)
        self._table = table
        self._since_ns = now_ns

    def look(self, now_ns: int) -> None:
        """Record the increases since the last read. Raises WorldError: they cannot be written."""
        rows = []
        for place, (opened, name) in enumerate(self._watched):
            dropped = count_overflows(opened)
            if dropped != self._seen[place]:
                rows.append((*name, self._since_ns, now_ns, dropped - self._seen[place]))
                self._seen[place] = dropped
        if rows:
            self._table.append(np.array(rows, dtype=OVERFLOW_ROW))
        self._since_ns = now_ns

    def close(self, now_ns: int) -> int:
        """Read a last time, before the sockets are closed, and close the table; return how many datagrams were dropped."""
        self.look(now_ns)
        self._table.close()
        return sum(self._seen)

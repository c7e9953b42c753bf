"""The session sender of datagram flows, UDP or ICMP: one probe to every peer per tick, and the answers.

A tick waits for no answer: the kernel timestamps answers on arrival, and they are fetched after a tick, so that one wake-up
serves all pods in both directions. The inner loop (`probes.inner_loop`) sends and receives.

An ICMP echo request carries a whole STAMP test packet as its data, so that flow, sequence number and timestamp come back with
the reply and nothing has to be remembered; the 16 bits of ICMP's own sequence number would wrap within a run. The other pod's
kernel answers: there is no log of the far end, and the direction of a loss is not known. Sockets are ping sockets, which need
no privilege where net.ipv4.ping_group_range allows them; the kernel writes identifier and checksum. Source: RFC 792, RFC 4443;
Linux net/ipv4/ping.c, net/ipv6/ping.c.
"""

from __future__ import annotations

import socket
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

import numpy as np

from hitless.records import Rows
from hitless.words import FlowClass
from probes import stamp
from probes.clocks import Bridge
from probes.inner_loop import DATAGRAMS, explained
from probes.recording import GrowingTable
from probes.settings import AgentSettings
from probes.sockets import family_of, open_socket
from probes.ticked_sender import TickedSender

ECHO_HEADER_OCTETS: Final = 8
"""Type, code, checksum, identifier, sequence number. Source: RFC 792, RFC 4443 4."""
COLLECT_NS_MIN: Final = 4_000_000
COLLECT_NS_MAX: Final = 100_000_000
"""Time between two fetches of answers. Measured at 12 flows and 1,000 Hz: fetching every tick costs twice the CPU."""
_WAITING_ANSWERS: Final = 64
"""Answers are fetched sooner once this many may be queued on a socket: the smallest usual buffers (rmem_max of 208 KiB) hold
about 250."""
_REMEMBERED_TICKS: Final = 1 << 17
"""Ticks whose timestamps are remembered; the echo in a later answer is trusted."""
_DROPPED_AS: Final = ("malformed", "foreign", "stale")
"""Counters of the inner loop, in its order."""


class Sender(TickedSender):
    """Sends and records the datagram flows of the agent's endpoints."""

    def __init__(
        self,
        settings: AgentSettings,
        bridge: Bridge,
        skipped: GrowingTable,
        facts: dict[str, Any],
        datagrams: ModuleType = DATAGRAMS,
    ) -> None:
        super().__init__(settings, bridge, skipped, facts)
        flows = settings.sent_flows
        ssids = np.array([flow.ssid for flow in flows], dtype=np.uint16)
        is_echo = settings.sent_class is FlowClass.ICMP
        family = family_of(flows[0].sent_to)
        packets = stamp.make_probes(ssids, settings.packet_octets)
        if is_echo:
            packets = np.pad(packets, ((0, 0), (ECHO_HEADER_OCTETS, 0)))
            packets[:, 0] = family.echo_request
        peers: Rows = np.zeros(len(flows), dtype=family.sockaddr)
        peers["family"] = family.number
        peers["address"] = [socket.inet_pton(family.number, flow.sent_to) for flow in flows]
        # The kernel reports no port for an echo reply.
        peers["port"] = 0 if is_echo else [flow.port for flow in flows]
        index = np.full(1 << 16, -1, dtype=np.intp)
        index[ssids] = np.arange(len(flows))
        endpoints = {endpoint.name: endpoint for endpoint in settings.endpoints}
        first_of: dict[str, int] = {}
        for place, flow in enumerate(flows):
            first_of.setdefault(flow.source, place)
        self._sockets = [
            open_socket(endpoints[name].address, 0, endpoints[name].namespace, is_echo=is_echo) for name in first_of
        ]
        self.watched = [
            (endpoints[name].address, flows[place].id, opened)
            for (name, place), opened in zip(first_of.items(), self._sockets, strict=True)
        ]
        """Every pod's address, one of its flows and its socket, for the count of their drops."""
        borders = [*first_of.values(), len(flows)]
        most = max(last - first for first, last in pairwise(borders))
        self._collect_ns = min(COLLECT_NS_MAX, max(COLLECT_NS_MIN, _WAITING_ANSWERS * settings.interval_ns // most))
        self._collected_ns = 0
        self._loop = datagrams.Sender(
            settings.epoch_ns,
            ECHO_HEADER_OCTETS if is_echo else 0,
            packets,
            peers,
            np.array(
                [(opened.fileno(), *border) for opened, border in zip(self._sockets, pairwise(borders), strict=True)],
                dtype=np.int32,
            ),
            self._ids,
            index,
            self._table.rows,
            np.zeros((min(settings.ticks_max, _REMEMBERED_TICKS), len(self._sockets)), dtype=np.uint64),
        )

    def step(self) -> None:
        """Send the tick that is due, if one is, and fetch answers if it is time."""
        now_ns = self.now_ns()
        if self._is_tick_due(now_ns):
            self._tick()
        if now_ns - self._collected_ns >= self._collect_ns:
            self._collected_ns = now_ns
            self.collect()

    def collect(self) -> None:
        """Fetch the answers that have come, of all pods, and fill their rows."""
        with explained():
            dropped = self._loop.collect(self.ticks, self._bridge.offset_ns)
        if any(dropped):
            self.counters.update(dict(zip(_DROPPED_AS, dropped, strict=True)))

    def finish(self) -> None:
        """Close the sockets and the records."""
        for opened in self._sockets:
            opened.close()
        super().finish()

    def _tick(self) -> None:
        self._note_call(0, self._loop.tick(self.ticks, self._bridge.error))
        self.ticks += 1

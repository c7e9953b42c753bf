"""The session reflector: stateful, with its own log.

It answers a packet only if it is a STAMP test packet, names one of its flows and comes from that flow's source (or from what
that is known to be rewritten to) to that flow's destination; it never sends more octets than came, and no endpoint answers
faster than a bound well above the configured rate. All others are dropped and counted. Every received probe is logged, even if
its answer is lost, so the direction of every loss is known. Source: RFC 8762 4.3 (stateful mode), RFC 8972 3-4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import ModuleType
from typing import Final

import numpy as np

from hitless.records import ADDRESS, encode_address
from probes.clocks import Bridge
from probes.inner_loop import DATAGRAMS, explained
from probes.recording import GrowingTable
from probes.settings import AgentSettings
from probes.sockets import open_socket

RATE_MARGIN: Final = 4
"""An endpoint answers at most this many times its configured rate, on the average of a second."""
BURST_MIN: Final = 64
"""Allowed burst, even of slow flows."""
UNANSWERED_ROWS_MAX: Final = 1_000_000
"""Logged probes beyond the rate limit, 31 MB; all are counted."""
_ROOM_OCTETS_MIN: Final = 2048
"""Room for a test packet of any length that Ethernet carries: a truncated packet cannot be answered."""
_GATHERED_MIN: Final = 9
"""With this many flows a reflector waits for the rest of a tick: one batch costs less than several."""
COUNTED: Final = ("malformed", "foreign", "probes", "rate_limited", "answered", "send_errors", "malformed_tlvs")
"""Counters of the inner loop, in its order."""

FLOW: Final = np.dtype([("pod", "<i4"), ("id", "<u4"), ("next_seq", "<i8")])
"""One flow of the inner loop: place of its pod, -1: none; FlowId; number of its next answer."""
POD: Final = np.dtype([("descriptor", "<i4"), ("rate", "<f8"), ("burst", "<f8"), ("tokens", "<f8"), ("refilled", "<i8")])
"""One pod of the inner loop, a token bucket: answers a nanosecond that it may send, at once, now; when that was, run clock."""


class Reflector:
    """Answers the probes that come to the agent's endpoints."""

    def __init__(self, settings: AgentSettings, bridge: Bridge, log: GrowingTable, datagrams: ModuleType = DATAGRAMS) -> None:
        self._bridge, self._log = bridge, log
        self.counters: Counter[str] = Counter()
        flows = [flow for flow in settings.reflected_flows if not flow.flow_class.is_tcp]
        destinations = {flow.destination for flow in flows}
        endpoints = [endpoint for endpoint in settings.endpoints if endpoint.reflects and endpoint.name in destinations]
        self._sockets = [open_socket(endpoint.address, endpoint.port, endpoint.namespace) for endpoint in endpoints]
        self.descriptors = tuple(opened.fileno() for opened in self._sockets)
        """One per pod: readable when a probe has arrived."""
        self.comes_in_batches = len(flows) >= _GATHERED_MIN
        """Whether it pays to wait for the rest of a tick."""
        example = {flow.destination: flow.id for flow in flows}
        self.watched = [
            (endpoint.address, example[endpoint.name], opened)
            for endpoint, opened in zip(endpoints, self._sockets, strict=True)
        ]
        """Every pod's address, one of its flows and its socket, for the count of their drops."""
        self._pod_of_descriptor = {descriptor: index for index, descriptor in enumerate(self.descriptors)}
        place_of = {endpoint.name: place for place, endpoint in enumerate(endpoints)}
        told = np.zeros(1 << 16, dtype=FLOW)
        told["pod"] = -1
        sources = np.zeros((1 << 16, 1 + max((len(flow.rewritten_sources) for flow in flows), default=0)), ADDRESS)
        # The flow's source, then the addresses to which it can be rewritten on the way; all zeros: none.
        for flow in flows:
            told[flow.ssid] = place_of[flow.destination], flow.id, 0
            sources[flow.ssid, : len(flow.sources)] = [encode_address(address) for address in flow.sources]
        counts = np.bincount([place_of[flow.destination] for flow in flows], minlength=len(endpoints)).astype(float)
        self._pods = np.zeros(len(endpoints), dtype=POD)
        self._pods["descriptor"] = self.descriptors
        self._pods["rate"] = RATE_MARGIN * counts / settings.interval_ns
        self._pods["tokens"] = self._pods["burst"] = np.maximum(BURST_MIN, self._pods["rate"] * 1e9)
        self._pods["refilled"] = self._bridge.now_ns()
        room = max(_ROOM_OCTETS_MIN, settings.packet_octets)
        self._loop = datagrams.Reflector(settings.epoch_ns, room, UNANSWERED_ROWS_MAX, told, sources, self._pods)

    def reflect(self, ready: Iterable[int]) -> None:
        """Answer the probes at these descriptors.

        The first descriptor changes each time, so that a flood to one does not hide the others.
        """
        pods = [self._pod_of_descriptor[descriptor] for descriptor in ready if descriptor in self._pod_of_descriptor]
        with explained():
            rows, counted = self._loop.reflect(pods, self._bridge.error, self._bridge.offset_ns)
        for name, count in zip(COUNTED, counted, strict=True):
            self.counters[name] += count
        if rows:
            self._log.write(rows)

    def finish(self) -> None:
        """Close the sockets and the log."""
        for opened in self._sockets:
            opened.close()
        self._log.close()

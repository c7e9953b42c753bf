"""A TUN relay in the router's namespace: packets between two pods pass through a thread that drops, copies, holds, delays.

Packets are named by (direction, flow, seq), so that what is done to them does not depend on time. Needed where the kernel has
no netem, and exact where netem is random.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from clusters.lab.network import LabNetwork
from clusters.lab.spec import ROUTER
from clusters.linux.namespaces import inside

Direction = Literal["out", "back"]
Name = tuple[Direction, int, int]
"""Way of the packet, FlowId, the sender's sequence number."""

_DEVICE = "relay"
_TABLE = "200"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
"""Source: linux/if_tun.h."""
_STAMP_PORT = 8620
_LOOK_S = 0.05


def names(direction: Direction, flow: int, first: int, last: int) -> tuple[Name, ...]:
    return tuple((direction, flow, seq) for seq in range(first, last + 1))


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What happens to which packet; everything else passes."""

    drop: Iterable[Name] = ()
    copies: Mapping[Name, int] = field(default_factory=dict)
    """Further copies, sent at once."""
    hold: Mapping[Name, Name] = field(default_factory=dict)
    """Held until that other packet has passed."""
    delay_s: Mapping[Name, float] = field(default_factory=dict)
    corrupt: Iterable[Name] = ()
    """One octet of the sender's timestamp changes; the UDP checksum is switched off."""


class Relay:
    """Relays between two pods of different zones while the context is open.

    Args:
        lab: in NATIVE, up.
        pods: names of the two.
        treatment: what to do.
    """

    def __init__(self, lab: LabNetwork, pods: tuple[str, str], treatment: Treatment) -> None:
        self._treatment, self._drop, self._corrupt = treatment, frozenset(treatment.drop), frozenset(treatment.corrupt)
        self._waiting: dict[Name, list[bytes]] = {}
        self._due: list[tuple[float, int, bytes]] = []
        self.seen: list[Name] = []
        """Every STAMP packet that came in, in order."""
        with inside(lab.namespace_path(ROUTER)):
            self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self._tun, _TUNSETIFF, struct.pack("16sH14x", _DEVICE.encode(), _IFF_TUN_NO_PI))
        endpoints = {endpoint.name: endpoint for endpoint in lab.endpoints}
        zones = {zone.name: zone for zone in lab.plan.zones}
        first, second = (endpoints[name] for name in pods)
        for here, there in ((first, second), (second, first)):
            self._ip("rule", "add", "iif", zones[here.zone].bridge, "to", there.address, "lookup", _TABLE, "priority", "5")
        self._ip("rule", "add", "iif", _DEVICE, "lookup", str(zones[first.zone].table), "priority", "6")
        self._ip("link", "set", _DEVICE, "mtu", "1500", "up")
        self._ip("route", "add", "default", "dev", _DEVICE, "table", _TABLE)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        os.close(self._tun)

    @staticmethod
    def _ip(*words: str) -> None:
        command = ["ip", "-n", ROUTER, *words]
        assert Path("/run/netns", ROUTER).exists()  # never in a namespace that is not the lab's
        subprocess.run(command, check=True)  # noqa: S603 - the test's own words

    def _relay(self) -> None:
        while not self._is_over.is_set():
            wait_s = _LOOK_S if not self._due else min(_LOOK_S, max(0.0, self._due[0][0] - time.monotonic()))
            if select.select([self._tun], [], [], wait_s)[0]:
                self._treat(os.read(self._tun, 9000))
            while self._due and self._due[0][0] <= time.monotonic():
                os.write(self._tun, heapq.heappop(self._due)[2])

    def _treat(self, packet: bytes) -> None:
        name = read_name(packet)
        if name is None:
            os.write(self._tun, packet)
            return
        self.seen.append(name)
        treatment = self._treatment
        if name in self._drop:
            return
        if name in self._corrupt:
            packet = _spoil(packet)
        if name in treatment.hold:
            self._waiting.setdefault(treatment.hold[name], []).append(packet)
            return
        if name in treatment.delay_s:
            heapq.heappush(self._due, (time.monotonic() + treatment.delay_s[name], len(self.seen), packet))
            return
        for one in [packet] * (1 + treatment.copies.get(name, 0)) + self._waiting.pop(name, []):
            os.write(self._tun, one)


def read_name(packet: bytes) -> Name | None:
    """Return the name of a STAMP packet (IPv4 without options), or None. Source: RFC 8762 4.2.1, 4.3.1; RFC 8972 3."""
    if packet[0] != 0x45 or packet[9] != 17 or len(packet) < 72:
        return None
    source, destination = struct.unpack_from(">HH", packet, 20)
    (flow,) = struct.unpack_from(">H", packet, 28 + 14)
    if destination == _STAMP_PORT:
        return "out", flow, struct.unpack_from(">I", packet, 28)[0]
    if source == _STAMP_PORT:
        return "back", flow, struct.unpack_from(">I", packet, 28 + 24)[0]
    return None


def _spoil(packet: bytes) -> bytes:
    octets = bytearray(packet)
    octets[26:28] = b"\0\0"
    octets[28 + 30] ^= 0xFF
    return bytes(octets)

"""Packets as they pass an interface: a packet socket in a namespace, read once the traffic is over."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from clusters.lab.network import LabNetwork
from clusters.linux.namespaces import inside

_ETH_P_ALL = 3
_LAYERS = {0x0800: IP, 0x86DD: IPv6}
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_ROOM_OCTETS = 32 << 20
_FRAME_OCTETS = 2048


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One packet that was seen."""

    wall_ns: int
    """Kernel's time, CLOCK_REALTIME."""
    is_outgoing: bool
    packet: Packet


class Capture:
    """What one interface sends and receives from now on."""

    def __init__(self, lab: LabNetwork, namespace: str, device: str) -> None:
        with inside(lab.namespace_path(namespace)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.bind((device, _ETH_P_ALL))
        self._has_room = False
        with suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM_OCTETS)
            self._has_room = True
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature

    def frames(self) -> Iterator[Frame]:
        """Yield the IPv4 and IPv6 packets seen so far, in order; none may have been missed."""
        _, missed = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if missed and not self._has_room:
            pytest.skip("missing: root, for a receive buffer that holds a whole capture")
        assert missed == 0
        with suppress(BlockingIOError):
            while True:
                octets, control, _, address = self._socket.recvmsg(_FRAME_OCTETS, 64)
                protocol, kind, hardware = address[1], address[2], address[3]
                if protocol in _LAYERS:
                    layer = _LAYERS[protocol]
                    seconds, nanoseconds = struct.unpack("qq", control[0][2])
                    ethernet = hardware in (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK; a layer-3 tunnel has no header
                    yield Frame(
                        wall_ns=seconds * 1_000_000_000 + nanoseconds,
                        is_outgoing=kind == socket.PACKET_OUTGOING,
                        packet=Ether(octets)[layer] if ethernet else layer(octets),
                    )

    def close(self) -> None:
        self._socket.close()


@contextmanager
def capturing(lab: LabNetwork, *places: tuple[str, str]) -> Iterator[tuple[Capture, ...]]:
    """Capture on (namespace, device) each."""
    captures = tuple(Capture(lab, namespace, device) for namespace, device in places)
    try:
        yield captures
    finally:
        for one in captures:
            one.close()

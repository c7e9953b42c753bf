"""Addresses of this machine's loopback for tests that play one end: several in IPv4, one in IPv6."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Final

import pytest

from probes.sockets import IPV4, IPV6, Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Loopback:
    """The addresses of one family."""

    family: Family
    pod: str
    peer: str
    other: str
    """An address that is neither's; only IPv4 can bind to it."""
    refused: str
    """An address that the kernel refuses to send to."""
    refusal: int
    """Its errno."""

    def open(self, address: str | None = None) -> socket.socket:
        """Return a UDP socket of this family that is bound to an address; None: to the peer's."""
        opened = socket.socket(self.family.number, socket.SOCK_DGRAM)
        opened.bind((address or self.peer, 0))
        return opened

    def find_port(self, address: str | None = None) -> int:
        """Return a UDP port that is free at an address; None: at the pod's."""
        with self.open(address=address or self.pod) as free:
            return int(free.getsockname()[1])


LOOPBACK_4: Final = Loopback(
    family=IPV4,
    pod="127.3.0.1",
    peer="127.3.0.2",
    other="127.3.0.9",
    refused="127.255.255.255",  # a broadcast address
    refusal=errno.EACCES,
)
LOOPBACK_6: Final = Loopback(
    family=IPV6,
    pod="::1",
    peer="::1",
    other="fd00::9",
    refused="::ffff:127.0.0.1",  # IPv4 on an IPV6_V6ONLY socket
    refusal=errno.ENETUNREACH,
)


@pytest.fixture(params=[LOOPBACK_4, LOOPBACK_6], ids=["ipv4", "ipv6"])
def loopback(request: pytest.FixtureRequest) -> Loopback:
    """Both families: the agents must not differ."""
    made: Loopback = request.param
    try:
        made.open().close()
    except OSError as error:
        pytest.skip(f"missing: {made.family.name} on the loopback device ({error.strerror})")
    return made

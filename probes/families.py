"""The two address families: differences between the sockets of IPv4 and IPv6.

An agent's flows have one family, so that a batch has one layout; a pod that has both has an agent for each. Every IPv6 socket
is IPV6_V6ONLY: an IPv4 packet must never come to it as a mapped address.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

HOPS: Final = 255
"""TTL and hop limit of every datagram: the received value counts the hops. Source: RFC 5357 4.1.2; RFC 8762 4.3.1 carries it
back."""
_IP_MTU_DISCOVER: Final = 10
_IP_RECVTTL: Final = 12
"""Source: linux/in.h."""
_IPV6_MTU_DISCOVER: Final = 23
"""Source: linux/in6.h."""
_PMTUDISC_PROBE: Final = 3
"""IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE: ignore the path MTU. A probe that does not fit is lost, never fragmented: IPv4 sets
DF; in IPv6 only the sender could fragment, and refuses. Source: ip(7), ipv6(7); net/ipv6/ip6_output.c ip6_sk_ignore_df."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One address family."""

    name: str
    """IPv4 or IPv6."""
    number: socket.AddressFamily
    sockaddr: np.dtype[Any]
    """struct sockaddr_in (linux/in.h) or sockaddr_in6 (linux/in6.h)."""
    level: int
    """Level of the socket options."""
    ttl_type: int
    """Control message with the TTL or hop limit of a datagram, an int in both families."""
    datagram_options: tuple[tuple[int, int], ...]
    """Options and values, at `level`: how datagrams are sent, and what the kernel reports of received ones."""
    echo_protocol: int
    echo_request: int
    """Type of the message. Source: RFC 792, RFC 4443 4."""
    echo_reply: int

    def open(self, kind: int, protocol: int = 0) -> socket.socket:
        """Return a new socket. Raises OSError."""
        opened = socket.socket(self.number, kind, protocol)
        if self.number is socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return opened


IPV4: Final = Family(
    name="IPv4",
    number=socket.AF_INET,
    sockaddr=np.dtype([("family", "<u2"), ("port", ">u2"), ("address", "V4"), ("zero", "<u8")]),
    level=socket.IPPROTO_IP,
    ttl_type=socket.IP_TTL,
    datagram_options=((socket.IP_TTL, HOPS), (_IP_RECVTTL, 1), (_IP_MTU_DISCOVER, _PMTUDISC_PROBE)),
    echo_protocol=socket.IPPROTO_ICMP,
    echo_request=8,
    echo_reply=0,
)
IPV6: Final = Family(
    name="IPv6",
    number=socket.AF_INET6,
    sockaddr=np.dtype(
        [("family", "<u2"), ("port", ">u2"), ("flow_label", ">u4"), ("address", "V16"), ("scope", "<u4")],
    ),
    level=socket.IPPROTO_IPV6,
    ttl_type=socket.IPV6_HOPLIMIT,
    datagram_options=(
        (socket.IPV6_UNICAST_HOPS, HOPS),
        (socket.IPV6_RECVHOPLIMIT, 1),
        (_IPV6_MTU_DISCOVER, _PMTUDISC_PROBE),
    ),
    echo_protocol=socket.IPPROTO_ICMPV6,
    echo_request=128,
    echo_reply=129,
)


def family_of(address: str) -> Family:
    """Return the family of an address."""
    return IPV6 if ":" in address else IPV4


def name_port(address: str, port: int) -> str:
    """Return the name of a port of an address in messages. Source: RFC 3986 3.2.2."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def pack_address(address: str) -> bytes:
    """Return the octets of an address as its family's `sockaddr` holds them."""
    return ipaddress.ip_address(address).packed

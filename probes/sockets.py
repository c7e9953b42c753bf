"""Datagram sockets of both families with the kernel's receive times and TTLs, opened inside a network namespace; their drops.

Drops separate the instrument's loss from the network's. A socket drops a datagram when its buffer is full, or when a checksum
is wrong. The kernel counts drops without naming the datagram. So the counters are read several times a second, and each
increase between two reads is one row: probes lost in that time at that endpoint are the instrument's own, and never downtime.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hitless.errors import WorldError, attempting
from hitless.records import OVERFLOW_ROW, encode_address
from probes.namespaces import Place
from probes.recording import GrowingTable

SO_TIMESTAMPNS: Final = 35
"""Receive timestamps, ns, CLOCK_REALTIME. Source: asm-generic/socket.h (SO_TIMESTAMPNS_OLD)."""
_SO_RCVBUFFORCE: Final = 33
"""SO_RCVBUF beyond rmem_max, for CAP_NET_ADMIN. Source: asm-generic/socket.h."""
_SO_MEMINFO: Final = 55
"""Memory and drop counters of a socket. Source: asm-generic/socket.h, since Linux 4.12."""
_MEMINFO_DROPS: Final = 8
"""Index of SK_MEMINFO_DROPS. Source: linux/sock_diag.h."""
_BUFFER_OCTETS: Final = 8 << 20
"""Wanted receive and send buffer: 10,000 small datagrams of about 800 octets of kernel memory each."""
_TIMESPEC: Final = struct.Struct("qq")
TIMESPEC_OCTETS: Final = _TIMESPEC.size
"""Layout of the control message SCM_TIMESTAMPNS."""
LOOK_NS: Final = 100_000_000
"""Time between two reads: each costs one system call per socket."""
Watched = tuple[str, int, socket.socket]
"""Address of an endpoint, the id of a flow that its socket serves, the socket."""
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
    """One address family: the differences between the sockets of IPv4 and IPv6.

    An agent's flows have one family, so that a batch has one layout; a pod that has both has an agent for each. Every IPv6
    socket is IPV6_V6ONLY: an IPv4 packet must never come to it as a mapped address.
    """

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


def open_socket(address: str, port: int, namespace: str | None = None, *, is_echo: bool = False) -> socket.socket:
    """Open an unconnected datagram socket with kernel timestamps and TTL, never fragmented, inside a network namespace.

    Args:
        address: to bind to; its family is the socket's.
        port: UDP port (ICMP: identifier), or 0 for an ephemeral one.
        namespace: path of the network namespace, or None for the present one.
        is_echo: whether it sends echo requests, without any privilege (net.ipv4.ping_group_range), instead of UDP.

    Raises WorldError: the namespace, the family, the address or the port is not available.
    """
    family, where = family_of(address), namespace or "the current namespace"
    with attempting(f"open an {family.name} socket in {where}"), closing(Place(namespace)) as place, place.inside():
        opened = family.open(socket.SOCK_DGRAM, family.echo_protocol if is_echo else socket.IPPROTO_UDP)
    try:
        for option, value in family.datagram_options:
            opened.setsockopt(family.level, option, value)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_OCTETS)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_OCTETS)
        with suppress(PermissionError):  # without CAP_NET_ADMIN rmem_max bounds the buffer
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        name = f"{'ICMP' if is_echo else 'UDP'} {name_port(address, port)}"
        raise WorldError(f"cannot open {name} in {where}: {error.strerror}") from error
    return opened


def find_time(controls: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Return the arrival time of a message, CLOCK_REALTIME, ns, from its control messages; None: there is none."""
    for level, kind, value in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, rest_ns = _TIMESPEC.unpack(value)
            return int(seconds * 1_000_000_000 + rest_ns)
    return None


class OverflowWatch:
    """Watches the sockets of one agent: the sender's drop answers, the reflector's drop probes."""

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
            answer = opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
            dropped = int.from_bytes(answer[4 * _MEMINFO_DROPS :][:4], "little")
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

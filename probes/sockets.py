"""Datagram sockets with the kernel's receive times and TTLs, opened inside a network namespace."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Final

from hitless.errors import WorldError, attempting
from probes.families import family_of, name_port
from probes.namespaces import Place

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


def open_socket(address: str, port: int, namespace: str | None = None, *, is_echo: bool = False) -> socket.socket:
    """Open an unconnected datagram socket with kernel timestamps and TTL, never fragmented, inside a network namespace.

    Args:
        address: to bind to; its family is the socket's.
        port: UDP port (ICMP: identifier), or 0 for an ephemeral one.
        namespace: path of the network namespace, or None for the present one.
        is_echo: whether it sends echo requests, without any privilege (net.ipv4.ping_group_range), instead of UDP.

    Raises:
        WorldError: the namespace, the family, the address or the port is not available.
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


def count_overflows(opened: socket.socket) -> int:
    """Return how many datagrams the socket dropped so far, because its buffer was full or a checksum wrong."""
    answer = opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    return int(struct.unpack_from(f"<{len(answer) // 4}I", answer)[_MEMINFO_DROPS])


def find_time(controls: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Return the arrival time of a message, CLOCK_REALTIME, ns, from its control messages; None: there is none."""
    for level, kind, value in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, rest_ns = _TIMESPEC.unpack(value)
            return int(seconds * 1_000_000_000 + rest_ns)
    return None

"""Sockets that send and receive whole batches: `sendmmsg` and `recvmmsg` through ctypes on numpy buffers.

Python's socket module moves one packet a call. Here the kernel's own structures (mmsghdr, iovec, sockaddr, cmsghdr) are
numpy arrays whose addresses are computed once, so that a batch costs one system call and no loop over packets. Linux on
64-bit little-endian machines only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.errors import MissingCapabilityError, WorldError
from hitless.records import Rows, map_addresses
from probes.families import Family, family_of, name_port
from probes.namespaces import Place
from probes.stamp import Octets

_IOVEC: Final = np.dtype([("address", "<u8"), ("octets", "<u8")])
"""struct iovec. Source: linux/uio.h."""
_MMSGHDR: Final = np.dtype(
    [
        ("name", "<u8"),
        ("name_octets", "<u8"),  # socklen_t and its padding
        ("iov", "<u8"),
        ("iov_count", "<u8"),
        ("control", "<u8"),
        ("control_octets", "<u8"),
        ("flags", "<i8"),  # int and its padding
        ("octets", "<u8"),  # unsigned int and its padding
    ]
)
"""struct mmsghdr with its struct msghdr. Source: linux/socket.h."""
CONTROL: Final = np.dtype(
    [
        ("time_octets", "<u8"),
        ("time_level", "<i4"),
        ("time_type", "<i4"),
        ("seconds", "<i8"),
        ("nanoseconds", "<i8"),
        ("ttl_octets", "<u8"),
        ("ttl_level", "<i4"),
        ("ttl_type", "<i4"),
        ("ttl", "<i4"),
        ("padding", "<i4"),
    ]
)
"""What the kernel writes beside each datagram: SCM_TIMESTAMPNS, then IP_TTL or IPV6_HOPLIMIT. Source: net/core, net/ipv4 and
net/ipv6 of Linux (__sock_recv_cmsgs runs before ip_cmsg_recv_offset and ip6_datagram_recv_ctl); `Inbox.check_control` looks
whether it is so."""

SO_TIMESTAMPNS: Final = 35
"""Receive timestamps, ns, CLOCK_REALTIME. Source: asm-generic/socket.h (SO_TIMESTAMPNS_OLD)."""
_SO_RCVBUFFORCE: Final = 33
"""SO_RCVBUF beyond rmem_max, for CAP_NET_ADMIN. Source: asm-generic/socket.h."""
_SO_MEMINFO: Final = 55
"""Memory and drop counters of a socket. Source: asm-generic/socket.h, since Linux 4.12."""
_MEMINFO_DROPS: Final = 8
"""Index of SK_MEMINFO_DROPS. Source: linux/sock_diag.h."""
_MESSAGES_MAX: Final = 1024
"""UIO_MAXIOV: more in one call are left over. Source: linux/uio.h."""
_BUFFER_OCTETS: Final = 8 << 20
"""Wanted receive and send buffer: 10,000 small datagrams of about 800 octets of kernel memory each."""
_CONTROL_WORDS: Final = [0, 1, 4, 5]
"""Words of 8 octets in CONTROL that never change: length, level and type of both messages."""

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)


class Inbox:
    """Room for a batch of received datagrams, from any number of sockets one after the other.

    Args:
        family: of the sockets.
        slots: datagrams in a batch.
        octets: room for each payload; a longer datagram is cut and `octets` tells its true length.
    """

    def __init__(self, family: Family, slots: int, octets: int) -> None:
        _check_machine()
        self.slots = slots
        self.payload: Octets = np.zeros((slots, octets), dtype=np.uint8)
        self.names: Rows = np.zeros(slots, dtype=family.sockaddr)
        self.control: Rows = np.zeros(slots, dtype=CONTROL)
        self._control_words = self.control.view(np.uint64).reshape(slots, -1)
        self._iovecs: Rows = np.zeros(slots, dtype=_IOVEC)
        self._iovecs["address"] = _addresses(self.payload)
        self._iovecs["octets"] = octets
        self._headers: Rows = np.zeros(slots, dtype=_MMSGHDR)
        self._headers["name"] = _addresses(self.names)
        self._headers["name_octets"] = family.sockaddr.itemsize
        self._headers["iov"] = _addresses(self._iovecs)
        self._headers["iov_count"] = 1
        self._headers["control"] = _addresses(self.control)
        self._headers["control_octets"] = CONTROL.itemsize
        self._base = self._headers.ctypes.data
        self._headers_octets = self._headers.view(np.uint8).reshape(slots, -1)
        self._fresh_octets = self._headers_octets.copy()
        # A cmsghdr has 16 octets, a timespec 16, the TTL 4. Source: cmsg(3).
        constants = (32, socket.SOL_SOCKET | SO_TIMESTAMPNS << 32, 20, family.level | family.ttl_type << 32)
        self._constant_words = np.array(constants, dtype=np.uint64)

    def receive(self, descriptor: int, first: int) -> int:
        """Receive what is there, without waiting, into the slots from `first` on.

        Returns:
            The number of datagrams; fewer than the room means that the socket is empty.

        Raises:
            WorldError: the socket failed.
        """
        at = self._base + first * _MMSGHDR.itemsize
        count = int(_recvmmsg(descriptor, at, self.slots - first, socket.MSG_DONTWAIT | socket.MSG_TRUNC, None))
        if count >= 0:
            return count
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        message = f"recvmmsg: {os.strerror(number)}"
        raise WorldError(message)

    def octets(self, count: int) -> npt.NDArray[np.int64]:
        """Return the lengths of the first `count` datagrams as they were on the wire."""
        return self._headers["octets"][:count].astype(np.int64)

    def check_control(self, count: int) -> None:
        """Look whether the kernel's timestamps and TTLs lie where CONTROL says.

        Raises:
            WorldError: they do not; no time of this kernel can be trusted then.
        """
        whole = (self._headers["control_octets"][:count] == CONTROL.itemsize).all()
        if not whole or not (self._control_words[:count, _CONTROL_WORDS] == self._constant_words).all():
            message = f"unexpected control messages from the kernel, expected {CONTROL.names}: {self.control[:1].tolist()}"
            raise WorldError(message)

    def sources(self, count: int) -> npt.NDArray[np.void]:
        """Return the addresses that the first `count` datagrams came from, as the records have them. Shape (count,), V16."""
        return map_addresses(self.names["address"][:count])

    def wall_ns(self, count: int) -> npt.NDArray[np.int64]:
        """Return the kernel's receive times of the first `count` datagrams: CLOCK_REALTIME, ns."""
        control = self.control[:count]
        return np.asarray(control["seconds"] * 1_000_000_000 + control["nanoseconds"], dtype=np.int64)

    def clear(self, count: int) -> None:
        """Make the first `count` slots ready for the next batch."""
        self._headers_octets[:count] = self._fresh_octets[:count]  # one memmove; rows would go field by field


class Outbox:
    """A batch of datagrams to send.

    Args:
        payload: shape (slots, octets): where the datagrams lie.
        names: shape (slots,) of a family's `sockaddr`: where they go.
    """

    def __init__(self, payload: Octets, names: Rows) -> None:
        _check_machine()
        self._payload, self._names = payload, names  # kept alive: the kernel reads them by address
        self._iovecs: Rows = np.zeros(len(names), dtype=_IOVEC)
        self._iovecs["address"] = _addresses(payload)
        self._iovecs["octets"] = payload.shape[1]
        self._fresh: Rows = np.zeros(len(names), dtype=_MMSGHDR)
        self._fresh["name"] = _addresses(names)
        self._fresh["name_octets"] = names.dtype.itemsize
        self._fresh["iov"] = _addresses(self._iovecs)
        self._fresh["iov_count"] = 1
        self._headers = self._fresh.copy()
        self._base = self._headers.ctypes.data

    def choose(self, slots: npt.NDArray[np.intp], octets: npt.NDArray[np.int64]) -> None:
        """Line up these slots, with these lengths, as messages 0, 1, ... of the next `send`."""
        self._iovecs["octets"][slots] = octets
        self._headers[: len(slots)] = self._fresh[slots]

    def send(self, descriptor: int, first: int, last: int) -> dict[int, int]:
        """Send the messages first, first + 1, ..., last - 1, without waiting.

        A short return says that a message was refused: the call is resumed behind it.

        Returns:
            Message number to errno of what the kernel refused; empty as a rule.
        """
        refused: dict[int, int] = {}
        position = first
        while position < last:
            room = min(last - position, _MESSAGES_MAX)
            sent = int(_sendmmsg(descriptor, self._base + position * _MMSGHDR.itemsize, room, socket.MSG_DONTWAIT))
            if sent > 0:
                position += sent
                continue
            number = ctypes.get_errno()
            if number != errno.EINTR:
                refused[position] = number
                position += 1
        return refused


def open_socket(address: str, port: int, namespace: str | None = None, *, is_echo: bool = False) -> socket.socket:
    """Open an unconnected datagram socket with kernel timestamps and TTL, never cut, inside a network namespace.

    Args:
        address: to bind to; its family is the socket's.
        port: UDP port (ICMP: identifier), or 0 for an ephemeral one.
        namespace: path of the network namespace, or None for the present one.
        is_echo: whether it sends echo requests, without any privilege (net.ipv4.ping_group_range), instead of UDP.

    Raises:
        WorldError: the namespace, the family, the address or the port is not available.
    """
    family, place = family_of(address), Place(namespace)
    try:
        with place.inside():
            opened = family.open(socket.SOCK_DGRAM, family.echo_protocol if is_echo else socket.IPPROTO_UDP)
    except OSError as error:
        message = f"cannot open an {family.name} socket in {namespace or 'the current namespace'}: {error.strerror}"
        raise WorldError(message) from error
    finally:
        place.close()
    try:
        for option, value in family.datagram_options:
            opened.setsockopt(family.level, option, value)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_OCTETS)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_OCTETS)
        with contextlib.suppress(PermissionError):  # without CAP_NET_ADMIN rmem_max bounds the buffer
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        where = f"{name_port(address, port)} in {namespace or 'the current namespace'}"
        message = f"cannot open {'ICMP' if is_echo else 'UDP'} {where}: {error.strerror}"
        raise WorldError(message) from error
    return opened


def count_overflows(opened: socket.socket) -> int:
    """Return how many datagrams the socket dropped so far, because its buffer was full or a checksum wrong."""
    answer = opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    return int(struct.unpack_from(f"<{len(answer) // 4}I", answer)[_MEMINFO_DROPS])


def _addresses(array: npt.NDArray[np.uint8] | Rows) -> npt.NDArray[np.uint64]:
    """Return the memory address of every row."""
    return np.uint64(array.ctypes.data) + np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0])


def _check_machine() -> None:
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:  # noqa: PLR2004 - octets of a pointer
        message = "this machine is not 64-bit little-endian; run hitless on one that is, such as amd64 or arm64"
        raise MissingCapabilityError(message)

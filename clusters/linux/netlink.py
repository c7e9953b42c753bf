"""An rtnetlink client: sends batches of messages and reads one acknowledgement for each.

A lab of 200 nodes has 39,800 routes. A library call or an `ip` process for each would take minutes. Here one `send` carries
many encoded messages, and a message that is the same for every node is encoded once. `netlink_messages` makes the
messages. The functions at the end read the kernel's state.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clusters.linux.namespaces import inside
from hitless.errors import WorldError
from probes.netlink import (
    ADDRESS_HEADER,
    ATTRIBUTE,
    ERROR,
    GET_LINK,
    GET_ROUTE,
    HEADER,
    MAIN_TABLE,
    RECEIVE_OCTETS,
    REQUEST,
    ROUTE_HEADER,
    RouteAttribute,
    SeenLink,
    SeenRoute,
    ask_links,
    ask_routes,
    dump,
    read_attributes,
    read_links,
    read_number,
    read_routes,
    receive,
)

ACKNOWLEDGE: Final = 0x4
REPLACE: Final = 0x100
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
NESTED: Final = 0x8000
"""Flags of nlmsghdr and of an attribute's type. Source: linux/netlink.h."""
_ACK_TEXT: Final = 1
"""NLMSGERR_ATTR_MSG: the kernel's error text."""
_CAPPED: Final = 0x100
"""NLM_F_CAPPED: the acknowledgement repeats only the request's header."""
_SOL_NETLINK: Final = 270
_OPTION_CAP_ACK: Final = 10
_OPTION_EXT_ACK: Final = 11
_OPTION_STRICT: Final = 12
_BATCH_MESSAGES: Final = 128
"""Each acknowledgement takes 768 octets of the socket's receive buffer; the default has room for 277."""
_BATCH_OCTETS: Final = 65_536
"""A batch must fit the send buffer (212,992 octets by default)."""
_GET_NEIGHBOUR_TABLE: Final = 66
_GET_ADDRESS: Final = 22
_ADDRESS: Final = 1
"""IFA_ADDRESS. Source: linux/if_addr.h."""
_LOCAL_TABLE: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One encoded request. It can be sent repeatedly and in any namespace with the same interface indices."""

    octets: bytes
    """Header (sequence number 0) and body, padded to a multiple of 4."""
    text: str
    """The request in the words of `ip`, for errors."""
    tolerated: frozenset[int] = frozenset()
    """Errors that count as success."""


def pack_attribute(kind: int, payload: bytes) -> bytes:
    """Encode one attribute, padded to a multiple of 4."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def pack_address(address: str) -> tuple[int, bytes]:
    """Return the family of a literal IPv4 or IPv6 address, and its octets."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def make_message(kind: int, flags: int, body: bytes, text: str, tolerated: frozenset[int] = frozenset()) -> Message:
    """Put the header before a body (a fixed structure and its attributes) that is a multiple of 4 long."""
    header = HEADER.pack(HEADER.size + len(body), kind, REQUEST | ACKNOWLEDGE | flags, 0, 0)
    return Message(octets=header + body, text=text, tolerated=tolerated)


class Netlink:
    """A rtnetlink socket of one network namespace. Not to be shared by threads.

    Args:
        namespace: file of the network namespace; None: the thread's own.
        name: of the namespace in errors; default: the file's name.
    """

    def __init__(self, namespace: Path | None = None, name: str | None = None) -> None:
        if namespace is None:
            self._socket = self._open()
        else:
            with inside(namespace):
                self._socket = self._open()
        self._namespace = name or ("this namespace" if namespace is None else namespace.name)
        self._sequence = 1
        self._buffer = bytearray(RECEIVE_OCTETS)

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (_OPTION_CAP_ACK, _OPTION_EXT_ACK, _OPTION_STRICT):
            opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.bind((0, 0))
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; closing twice is no error."""
        self._socket.close()

    def execute(self, messages: Sequence[Message]) -> list[int]:
        """Send all messages in order and wait for every acknowledgement.

        After a message that fails, the others of the same batch of 128 are still carried out.

        Returns:
            One number a message: 0, or the tolerated errno.

        Raises WorldError: names the first message that failed, the errno and the kernel's own words.
        """
        results: list[int] = []
        start = octets = 0
        for index, message in enumerate(messages):
            if index - start == _BATCH_MESSAGES or octets + len(message.octets) > _BATCH_OCTETS:
                results += self._execute_batch(messages[start:index])
                start, octets = index, 0
            octets += len(message.octets)
        if start < len(messages):
            results += self._execute_batch(messages[start:])
        return results

    def _execute_batch(self, batch: Sequence[Message]) -> list[int]:
        first = self._sequence
        self._sequence = (first + len(batch)) & 0x7FFF_FFFF
        wire, offset = bytearray().join(message.octets for message in batch), 0
        for index, message in enumerate(batch):
            struct.pack_into("=I", wire, offset + 8, first + index)
            offset += len(message.octets)
        self._send(wire)
        results = [-1] * len(batch)
        failed: tuple[int, str] | None = None
        while results[-1] < 0:
            for kind, sequence, flags, body in self._receive():
                index = sequence - first
                # Others are late answers to a batch that Ctrl-C interrupted.
                if kind == ERROR and 0 <= index < len(batch):
                    number = results[index] = -int(struct.unpack_from("=i", body)[0])
                    if number and number not in batch[index].tolerated and failed is None:
                        failed = index, _read_reason(body, flags)
        if -1 in results:
            raise WorldError(f"{self._namespace}: the kernel did not acknowledge: {batch[results.index(-1)].text}")
        if failed is not None:
            raise self._refusal(batch[failed[0]].text, results[failed[0]], failed[1])
        return results

    def dump(self, kind: int, body: bytes, text: str) -> list[bytes]:
        """Return the bodies of everything that a dump request brings, from one consistent pass.

        Raises WorldError: the kernel refused, or the tables kept changing.
        """
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0x7FFF_FFFF
        try:
            return dump(self._socket, kind, body, sequence, self._buffer)
        except OSError as error:
            raise self._refusal(text, error.errno or 0, error.strerror or "") from error

    def _send(self, octets: bytes | bytearray) -> None:
        try:
            self._socket.send(octets)
        except OSError as error:
            raise WorldError(f"{self._namespace}: cannot send a netlink message of {len(octets)} octets: {error}") from error

    def _receive(self) -> Iterator[tuple[int, int, int, memoryview]]:
        try:
            yield from receive(self._socket, self._buffer)
        except OSError as error:
            raise WorldError(f"{self._namespace}: netlink answers were lost: {error}") from error

    def _refusal(self, text: str, number: int, reason: str) -> WorldError:
        name = errno.errorcode.get(number, str(number))
        error = WorldError(f"{self._namespace}: {text}: {name} ({reason or os.strerror(number)})")
        error.__cause__ = OSError(number, os.strerror(number))
        return error


def _read_reason(body: memoryview, flags: int) -> str:
    """Return the kernel's words in an acknowledgement, or "". Source: linux/netlink.h, struct nlmsgerr."""
    request_octets = HEADER.size if flags & _CAPPED else int(struct.unpack_from("=I", body, 4)[0])
    words = read_attributes(body[4 + request_octets + (-request_octets % 4) :]).get(_ACK_TEXT)
    return "" if words is None else bytes(words).rstrip(b"\0").decode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourTable:
    """The machine's ARP table: one for all namespaces."""

    gc_thresh3: int
    """Its entries without the permanent ones."""
    table_fulls: int
    """How often the table was full since boot."""


def list_routes(netlink: Netlink, table: int = MAIN_TABLE) -> list[SeenRoute]:
    """Return the IPv4 routes of one table, in the kernel's order (by destination)."""
    try:
        answers = netlink.dump(GET_ROUTE, ask_routes(table=table), f"route show table {table}")
    except WorldError as error:
        # A table without routes does not exist. Source: inet_dump_fib in net/ipv4/fib_frontend.c.
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    return read_routes(answers, table)


def list_links(netlink: Netlink) -> list[SeenLink]:
    """Return the links of the namespace, in order of their indices."""
    return read_links(netlink.dump(GET_LINK, ask_links(), "link show"))


def list_unready_addresses6(netlink: Netlink, links: Iterable[SeenLink]) -> list[str]:
    """Return the IPv6 addresses that do not receive yet, each with its link, and the links without a link-local address.

    Even without duplicate address detection the kernel completes an address in a work queue: a socket can be bound to it
    before its local route exists, and until then what arrives for it is dropped. Source: addrconf_dad_work in
    net/ipv6/addrconf.c.
    """
    names = {link.index: link.name for link in links}
    added = set()
    for body in netlink.dump(_GET_ADDRESS, ADDRESS_HEADER.pack(socket.AF_INET6, 0, 0, 0, 0), "-6 address show"):
        *_, index = ADDRESS_HEADER.unpack_from(body)
        added.add((index, IPv6Address(bytes(read_attributes(body[ADDRESS_HEADER.size :])[_ADDRESS]))))
    receiving = set()
    for body in netlink.dump(GET_ROUTE, ask_routes(socket.AF_INET6, _LOCAL_TABLE), "-6 route show table local"):
        attributes = read_attributes(body[ROUTE_HEADER.size :])
        index = read_number(attributes.get(RouteAttribute.OUT_INTERFACE))
        receiving.add((index, IPv6Address(bytes(attributes[RouteAttribute.DESTINATION]))))
    link_local = {index for index, address in added if address.is_link_local}
    unready = [f"{address} of {names[index]}" for index, address in sorted(added - receiving)]
    return unready + [f"link-local of {one.name}" for one in links if one.needs_carrier and one.index not in link_local]


def read_neighbour_table(netlink: Netlink) -> NeighbourTable:
    """Return the state of the machine's ARP table; any namespace may ask, unlike for /proc. Source: linux/neighbour.h."""
    answers = netlink.dump(_GET_NEIGHBOUR_TABLE, struct.pack("=BxH", socket.AF_INET, 0), "ntable show")
    for body in answers:
        attributes = read_attributes(body[4:])
        if bytes(attributes[1]).rstrip(b"\0") == b"arp_cache" and 7 in attributes:  # noqa: PLR2004 - NDTA_STATS
            return NeighbourTable(
                gc_thresh3=struct.unpack("=I", attributes[4])[0],
                table_fulls=struct.unpack_from("=11Q", attributes[7])[10],
            )
    return NeighbourTable(gc_thresh3=0, table_fulls=0)

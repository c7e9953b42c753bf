"""Reads links and routes from the kernel by netlink dumps, which need no capability. For writing see `clusters.linux.netlink`.

Standard library only: this ships into pods. Source: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/lwtunnel.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from hitless.errors import attempting

HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""
ATTRIBUTE: Final = struct.Struct("=HH")
ADDRESS_HEADER: Final = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface index."""
REQUEST: Final = 0x1
ERROR: Final = 2
GET_LINK: Final = 18
LINK_HEADER: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, mask of the flags to change."""
IFF_UP: Final = 0x1
GET_ROUTE: Final = 26
ROUTE_HEADER: Final = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, destination length, source length, tos, table, protocol, scope, type, flags; struct fib_rule_hdr: the
same with reserved octets for protocol and scope, and the action for the type."""
MAIN_TABLE: Final = 254
ENCAPSULATION_IP: Final = 2
"""LWTUNNEL_ENCAP_IP."""
TUNNEL_DESTINATION: Final = 2
"""LWTUNNEL_IP_DST."""
RECEIVE_OCTETS: Final = 1 << 17

_DUMP: Final = 0x300
_DONE: Final = 3
_INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: something changed while the dump was taken."""
_ATTEMPTS: Final = 20
_TIMEOUT_S: Final = 5.0
_RP_FILTER: Final = Path("/proc/sys/net/ipv4/conf/all/rp_filter")
_OPER_UNKNOWN: Final = 0
_OPER_UP: Final = 6
"""Operational states. Source: linux/if.h."""


class LinkAttribute(IntEnum):
    """IFLA_*."""

    ADDRESS = 1
    NAME = 3
    MTU = 4
    MASTER = 10
    OPERSTATE = 16
    LINK_INFO = 18
    NAMESPACE_FD = 28


class RouteType(IntEnum):
    """RTN_*."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9
    NAT = 10


class RouteAttribute(IntEnum):
    """RTA_*."""

    DESTINATION = 1
    OUT_INTERFACE = 4
    GATEWAY = 5
    TABLE = 15
    ENCAPSULATION_TYPE = 21
    ENCAPSULATION = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRoute:
    """One IPv4 route as the kernel has it."""

    destination: str
    """CIDR; the default route is `0.0.0.0/0`."""
    route_type: RouteType
    protocol: int
    device: int | None
    """Interface index; None: a route without one (blackhole)."""
    via: str | None
    tunnel_destination: str | None
    """Far end of LWTUNNEL_ENCAP_IP."""

    def describe(self, names: Mapping[int, str]) -> dict[str, Any]:
        """Return it in the form of `hitless.facts.NodeState`, given the names of the interfaces."""
        described: dict[str, Any] = {
            "dst": "default" if self.destination == "0.0.0.0/0" else self.destination,
            "type": self.route_type.name.lower(),
            "protocol": self.protocol,
        }
        device = None if self.device is None else names.get(self.device, str(self.device))
        optional = {"dev": device, "via": self.via, "encap_dst": self.tunnel_destination}
        return described | {key: value for key, value in optional.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLink:
    """One link as the kernel has it."""

    index: int
    name: str
    kind: str
    """Such as `ipip`, `vxlan`, `veth`; empty: a device that no rtnl_link_ops made (the loopback)."""
    needs_carrier: bool
    """A veth or a bridge; the kernel's link watch reports when one has a carrier."""
    is_up: bool
    """Administratively up."""
    is_running: bool
    """Carries packets now: the kernel's link watch has seen the carrier, or the link needs none."""
    mtu: int


def read_attributes(octets: bytes | memoryview) -> dict[int, memoryview]:
    """Decode a sequence of attributes: type (without flags) to payload. The last of equal ones counts."""
    view, found, offset = memoryview(octets), {}, 0
    while offset + ATTRIBUTE.size <= len(view):
        length, kind = ATTRIBUTE.unpack_from(view, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = view[offset + ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)
    return found


def receive(opened: socket.socket, buffer: bytearray) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield (type, sequence number, flags, body) of the messages in the next datagram. Raises OSError."""
    length, offset = opened.recv_into(buffer), 0
    view = memoryview(buffer)[:length]
    while offset + HEADER.size <= length:
        size, kind, flags, sequence, _ = HEADER.unpack_from(view, offset)
        if size < HEADER.size:
            break
        yield kind, sequence, flags, view[offset + HEADER.size : offset + size]
        offset += size + (-size % 4)


def dump(opened: socket.socket, kind: int, body: bytes, sequence: int = 1, buffer: bytearray | None = None) -> list[bytes]:
    """Return the bodies of all messages of a dump, from one consistent pass.

    Raises OSError: the kernel refused; EBUSY: the table kept changing.
    """
    buffer = buffer or bytearray(RECEIVE_OCTETS)
    for _ in range(_ATTEMPTS):
        opened.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | _DUMP, sequence, 0) + body)
        found = _collect(opened, sequence, buffer)
        if found is not None:
            return found
    raise OSError(errno.EBUSY, f"changed during each of {_ATTEMPTS} dumps")


def _collect(opened: socket.socket, expected: int, buffer: bytearray) -> list[bytes] | None:
    """Return the parts of one dump, or None if it was interrupted by a change."""
    found: list[bytes] = []
    is_interrupted = False
    while True:
        for kind, sequence, flags, body in receive(opened, buffer):
            if sequence != expected:
                continue
            is_interrupted |= bool(flags & _INTERRUPTED)
            if kind in {_DONE, ERROR}:
                number = -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0  # noqa: PLR2004 - an int's size
                if number:
                    raise OSError(number, os.strerror(number))
                return None if is_interrupted else found
            found.append(bytes(body))


def ask_links() -> bytes:
    """Return the body of a dump of all links."""
    return LINK_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)


def ask_routes(family: int = socket.AF_INET, table: int = MAIN_TABLE) -> bytes:
    """Return the body of a dump of one table; the kernel filters by table if the socket is strict."""
    body = ROUTE_HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    attribute = ATTRIBUTE.pack(ATTRIBUTE.size + 4, RouteAttribute.TABLE) + struct.pack("=I", table)
    return body + attribute


def read_links(bodies: Iterable[bytes]) -> list[SeenLink]:
    """Read the links of a dump, in order of their indices."""
    links = []
    for body in bodies:
        _, _, index, flags, _ = LINK_HEADER.unpack_from(body)
        attributes = read_attributes(body[LINK_HEADER.size :])
        info = read_attributes(attributes.get(LinkAttribute.LINK_INFO, memoryview(b"")))
        kind = bytes(info.get(1, b"")).rstrip(b"\0").decode()
        needs_carrier = kind in {"veth", "bridge"}
        states = {_OPER_UP} if needs_carrier else {_OPER_UP, _OPER_UNKNOWN}
        links.append(
            SeenLink(
                index=index,
                name=bytes(attributes[LinkAttribute.NAME]).rstrip(b"\0").decode(),
                kind=kind,
                needs_carrier=needs_carrier,
                is_up=bool(flags & IFF_UP),
                is_running=bool(flags & IFF_UP) and attributes[LinkAttribute.OPERSTATE][0] in states,
                mtu=struct.unpack("=I", attributes[LinkAttribute.MTU])[0],
            )
        )
    return links


def read_routes(bodies: Iterable[bytes], table: int = MAIN_TABLE) -> list[SeenRoute]:
    """Read the IPv4 routes of one table from a dump, in the kernel's order (by destination)."""
    routes = []
    for body in bodies:
        _, prefix, _, _, small_table, protocol, _, kind, _ = ROUTE_HEADER.unpack_from(body)
        attributes = read_attributes(body[ROUTE_HEADER.size :])
        if (read_number(attributes.get(RouteAttribute.TABLE)) or small_table) != table:
            continue
        network = attributes.get(RouteAttribute.DESTINATION, memoryview(bytes(4)))  # the default route has none
        routes.append(
            SeenRoute(
                destination=f"{_read_address(network)}/{prefix}",
                route_type=RouteType(kind),
                protocol=protocol,
                device=read_number(attributes.get(RouteAttribute.OUT_INTERFACE)),
                via=_read_address(attributes.get(RouteAttribute.GATEWAY)),
                tunnel_destination=_read_tunnel(attributes),
            )
        )
    return routes


def read_number(payload: memoryview | None) -> int | None:
    """Read an attribute that is a number; None: it is not there."""
    return None if payload is None else int(struct.unpack("=I", payload)[0])


def _read_tunnel(attributes: dict[int, memoryview]) -> str | None:
    kind = attributes.get(RouteAttribute.ENCAPSULATION_TYPE)
    if kind is None or struct.unpack("=H", kind)[0] != ENCAPSULATION_IP:
        return None
    return _read_address(read_attributes(attributes[RouteAttribute.ENCAPSULATION]).get(TUNNEL_DESTINATION))


def _read_address(payload: memoryview | None) -> str | None:
    return None if payload is None else socket.inet_ntoa(payload)


def read_node_state() -> dict[str, Any]:
    """Return routes and links of this network namespace, in the form of `hitless.facts.NodeState`.

    A pod in its node's own network namespace may read both without any capability. So hygiene can be judged on a cluster that
    only its operator may log in to.

    Returns:
        routes (main table, IPv4: dst, type, protocol, dev, via), devices that are up, mtus by device, rp_filter.

    Raises WorldError: the kernel does not answer.
    """
    kind, protocol = socket.SOCK_RAW, socket.NETLINK_ROUTE
    with attempting("read routes and links"), socket.socket(socket.AF_NETLINK, kind, protocol) as opened:
        opened.settimeout(_TIMEOUT_S)
        links = read_links(dump(opened, GET_LINK, ask_links()))
        routes = read_routes(dump(opened, GET_ROUTE, ask_routes()))
    names = {link.index: link.name for link in links}
    return {
        "routes": [route.describe(names) for route in routes],
        "devices": [link.name for link in links if link.is_up],
        "mtus": {link.name: link.mtu for link in links},
        "rp_filter": int(_RP_FILTER.read_text(encoding="ascii")) if _RP_FILTER.exists() else 0,
    }

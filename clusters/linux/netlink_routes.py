"""The messages about routes and rules. Pure. Source of the numbers: linux/rtnetlink.h, lwtunnel.h, fib_rules.h."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from clusters.linux.netlink import CREATE, EXCLUSIVE, NESTED, Message, make_message, pack_address, pack_attribute
from probes.netlink import ENCAPSULATION_IP, MAIN_TABLE, ROUTE_HEADER, TUNNEL_DESTINATION, RouteAttribute, RouteType

NEW_ROUTE: Final = 24
DELETE_ROUTE: Final = 25
NEW_RULE: Final = 32
_TUNNEL_ID: Final = 1
_ON_LINK: Final = 4
_SCOPE_LINK: Final = 253
_SCOPE_NOWHERE: Final = 255
_SMALL_TABLE: Final = 256
_LOOK_UP: Final = 1
"""FR_ACT_TO_TBL."""


class RuleAttribute(IntEnum):
    """FRA_*."""

    IN_INTERFACE = 3
    PRIORITY = 6
    TABLE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route, IPv4 or IPv6."""

    destination: str
    """CIDR, such as `100.96.0.0/24`; `0.0.0.0/0` and `::/0` are the default routes."""
    protocol: int
    """RTPROT_*: who wrote it."""
    device: int | None = None
    """Index of the outgoing interface."""
    via: str | None = None
    """Next hop."""
    is_on_link: bool = False
    """The next hop is on-link, although the device has no address in its network."""
    encapsulation: tuple[int, str] | None = None
    """Tunnel id and the tunnel's far end, for a device in metadata mode."""
    route_type: RouteType = RouteType.UNICAST
    table: int = MAIN_TABLE


def _octet_of(table: int) -> int:
    """Return what the header says of a table; 0: it is named by an attribute alone."""
    return table if table < _SMALL_TABLE else 0


def _pack_route(route: Route, scope: int) -> bytes:
    address, _, prefix = route.destination.partition("/")
    family, packed = pack_address(address)
    flags = _ON_LINK if route.is_on_link else 0
    parts = [
        ROUTE_HEADER.pack(family, int(prefix), 0, 0, _octet_of(route.table), route.protocol, scope, route.route_type, flags),
        pack_attribute(RouteAttribute.DESTINATION, packed) if prefix != "0" else b"",
        pack_attribute(RouteAttribute.TABLE, struct.pack("=I", route.table)),
    ]
    if route.device is not None:
        parts.append(pack_attribute(RouteAttribute.OUT_INTERFACE, struct.pack("=i", route.device)))
    if route.via is not None:
        parts.append(pack_attribute(RouteAttribute.GATEWAY, pack_address(route.via)[1]))
    if route.encapsulation is not None:
        identifier, far_end = route.encapsulation
        inner = pack_attribute(_TUNNEL_ID, struct.pack("!Q", identifier))
        inner += pack_attribute(TUNNEL_DESTINATION, socket.inet_aton(far_end))
        parts.append(pack_attribute(RouteAttribute.ENCAPSULATION_TYPE, struct.pack("=H", ENCAPSULATION_IP)))
        parts.append(pack_attribute(NESTED | RouteAttribute.ENCAPSULATION, inner))
    return b"".join(parts)


def _describe(route: Route) -> str:
    words = ["" if route.route_type is RouteType.UNICAST else route.route_type.name.lower(), route.destination]
    words += ["" if route.via is None else f"via {route.via}", "" if route.device is None else f"dev index {route.device}"]
    words += ["" if route.encapsulation is None else "encap ip id {} dst {}".format(*route.encapsulation)]
    words += [f"proto {route.protocol}", f"table {route.table}"]
    return " ".join(word for word in words if word)


def _scope_of(route: Route) -> int:
    """Return the scope that `ip route` would choose."""
    return _SCOPE_LINK if route.route_type is RouteType.UNICAST and route.via is None else 0


def add_route(route: Route, tolerated: frozenset[int] = frozenset()) -> Message:
    """Add a route; one to the same destination in the same table fails with EEXIST."""
    text = f"route add {_describe(route)}"
    return make_message(NEW_ROUTE, CREATE | EXCLUSIVE, _pack_route(route, _scope_of(route)), text, tolerated)


def delete_route(destination: str, *, table: int = MAIN_TABLE, protocol: int = 0) -> Message:
    """Delete the route to a destination (protocol 0: any); a missing one gives ESRCH and is no error."""
    address, _, prefix = destination.partition("/")
    family, packed = pack_address(address)
    body = ROUTE_HEADER.pack(family, int(prefix), 0, 0, _octet_of(table), protocol, _SCOPE_NOWHERE, 0, 0)
    if prefix != "0":
        body += pack_attribute(RouteAttribute.DESTINATION, packed)
    body += pack_attribute(RouteAttribute.TABLE, struct.pack("=I", table))
    text = f"route delete {destination} proto {protocol} table {table}"
    return make_message(DELETE_ROUTE, 0, body, text, frozenset({errno.ESRCH}))


def add_table_rule(in_interface: str, table: int, priority: int, *, family: int = socket.AF_INET) -> Message:
    """Route packets of a family that arrive on an interface by a table of its own."""
    body = ROUTE_HEADER.pack(family, 0, 0, 0, _octet_of(table), 0, 0, _LOOK_UP, 0)
    body += pack_attribute(RuleAttribute.IN_INTERFACE, in_interface.encode() + b"\0")
    body += pack_attribute(RuleAttribute.TABLE, struct.pack("=I", table))
    body += pack_attribute(RuleAttribute.PRIORITY, struct.pack("=I", priority))
    return make_message(NEW_RULE, CREATE | EXCLUSIVE, body, f"rule add iif {in_interface} lookup {table}")

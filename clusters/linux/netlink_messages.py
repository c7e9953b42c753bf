"""The messages about links with their addresses, neighbours and queues, and about routes and rules. Pure.

Source of the numbers: linux/if_link.h, neighbour.h, rtnetlink.h, pkt_sched.h, lwtunnel.h, fib_rules.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from clusters.linux.netlink import CREATE, EXCLUSIVE, NESTED, REPLACE, Message, make_message, pack_address, pack_attribute
from probes.netlink import (
    ADDRESS_HEADER,
    ENCAPSULATION_IP,
    IFF_UP,
    LINK_HEADER,
    MAIN_TABLE,
    ROUTE_HEADER,
    TUNNEL_DESTINATION,
    LinkAttribute,
    RouteAttribute,
    RouteType,
)
from scenarios.parts import Links

NEW_LINK: Final = 16
DELETE_LINK: Final = 17
NEW_ADDRESS: Final = 20
DELETE_ADDRESS: Final = 21
NEW_NEIGHBOUR: Final = 28
LOOPBACK_INDEX: Final = 1
_NEIGHBOUR_HEADER: Final = struct.Struct("=BxxxiHBB")
_PEER: Final = NESTED | 1
_PERMANENT: Final = 0x80
_NO_ARP: Final = 0x40
_SELF: Final = 0x02
_NO_DAD: Final = 0x02
"""IFA_F_NODAD: no duplicate address detection; it receives once it has a local route. Source: linux/if_addr.h."""
_NEW_QUEUE: Final = 36
_QUEUE_HEADER: Final = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface index, handle, parent, info."""
_ROOT: Final = 0xFFFF_FFFF
_KIND, _OPTIONS = 1, 2
_REORDER, _LATENCY_NS, _JITTER_NS = 3, 10, 11
_NETEM: Final = struct.Struct("=IIIIII")
"""struct tc_netem_qopt: latency (ticks), limit (packets), loss, gap, duplicate (shares of 2^32), jitter (ticks)."""
_PACKETS_MAX: Final = 10_000
_CERTAIN: Final = 0xFFFF_FFFF
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


class VxlanAttribute(IntEnum):
    """IFLA_VXLAN_*."""

    ID = 1
    LINK = 3
    LOCAL = 4
    LEARNING = 7
    PORT = 15
    COLLECT_METADATA = 25
    GPE = 27


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The attributes that every link has."""

    name: str
    """At most 15 characters."""
    index: int | None = None
    """The requested index, so that a message with it fits every namespace; None: the kernel chooses."""
    mtu: int | None = None
    """Octets; None: the kind's default."""
    mac: str | None = None
    """Such as `02:00:00:00:00:01`; None: random, or the kind has none."""
    master: int | None = None
    """Index of the bridge that it is a port of."""


def pack_mac(mac: str) -> bytes:
    """Encode `02:00:00:00:00:01`."""
    return bytes.fromhex(mac.replace(":", ""))


def pack_name(name: str, *, index: int = 0, is_up: bool | None = None) -> bytes:
    """Encode the header and the name of a link; is_up None: it stays as it is."""
    flags, mask = IFF_UP if is_up else 0, 0 if is_up is None else IFF_UP
    header = LINK_HEADER.pack(socket.AF_UNSPEC, 0, index, flags, mask)
    return header + pack_attribute(LinkAttribute.NAME, name.encode() + b"\0")


def _pack_link(link: Link, *, is_up: bool = True) -> bytes:
    """Encode header and attributes, without the kind."""
    parts = [pack_name(link.name, index=link.index or 0, is_up=is_up)]
    if link.mtu is not None:
        parts.append(pack_attribute(LinkAttribute.MTU, struct.pack("=I", link.mtu)))
    if link.mac is not None:
        parts.append(pack_attribute(LinkAttribute.ADDRESS, pack_mac(link.mac)))
    if link.master is not None:
        parts.append(pack_attribute(LinkAttribute.MASTER, struct.pack("=I", link.master)))
    return b"".join(parts)


def _add_link(link: Link, kind: str, data: bytes) -> Message:
    info = pack_attribute(1, kind.encode()) + pack_attribute(NESTED | 2, data)
    body = _pack_link(link) + pack_attribute(NESTED | LinkAttribute.LINK_INFO, info)
    return make_message(NEW_LINK, CREATE | EXCLUSIVE, body, f"link add {link.name} type {kind}")


def add_veth(link: Link, peer: Link, peer_namespace: int) -> Message:
    """Make a pair: `link` here and up, `peer` down in the network namespace of an open file.

    The kernel configures the peer before the two are connected, so the peer cannot go up yet (ENOTCONN). It uses the peer's
    index only if `link` has one, too. Source: drivers/net/veth.c, veth_open and veth_newlink.
    """
    other = _pack_link(peer, is_up=False) + pack_attribute(LinkAttribute.NAMESPACE_FD, struct.pack("=i", peer_namespace))
    return _add_link(link, "veth", pack_attribute(_PEER, other))


def add_bridge(link: Link) -> Message:
    """Make a bridge that forwards at once: no spanning tree, no multicast snooping. Source: IFLA_BR_* in linux/if_link.h."""
    return _add_link(link, "bridge", pack_attribute(5, struct.pack("=I", 0)) + pack_attribute(23, b"\0"))


def add_vxlan(link: Link, *, identifier: int, port: int, local: str, lower: int) -> Message:
    """Make a VXLAN device as Calico does: without learning, all entries are static."""
    data = (
        pack_attribute(VxlanAttribute.ID, struct.pack("=I", identifier))
        + pack_attribute(VxlanAttribute.LINK, struct.pack("=I", lower))
        + pack_attribute(VxlanAttribute.LOCAL, socket.inet_aton(local))
        + pack_attribute(VxlanAttribute.LEARNING, b"\0")
        + pack_attribute(VxlanAttribute.PORT, struct.pack("!H", port))
    )
    return _add_link(link, "vxlan", data)


def add_vxlan_gpe(link: Link, *, port: int) -> Message:
    """Make a layer-3 VXLAN-GPE device; the routes choose its tunnels (collect metadata)."""
    data = (
        pack_attribute(VxlanAttribute.LEARNING, b"\0")
        + pack_attribute(VxlanAttribute.PORT, struct.pack("!H", port))
        + pack_attribute(VxlanAttribute.COLLECT_METADATA, b"\1")
        + pack_attribute(VxlanAttribute.GPE, b"")
    )
    return _add_link(link, "vxlan", data)


def add_ipip(link: Link) -> Message:
    """Make an IPIP device whose far end is the route's next hop; path MTU discovery off, as on the fallback device."""
    return _add_link(link, "ipip", pack_attribute(10, b"\0"))


def set_link(name: str, *, is_up: bool, mtu: int | None = None) -> Message:
    """Change a link by its name."""
    body = pack_name(name, is_up=is_up)
    if mtu is not None:
        body += pack_attribute(LinkAttribute.MTU, struct.pack("=I", mtu))
    return make_message(NEW_LINK, 0, body, f"link set {name} {'up' if is_up else 'down'}")


def rename_link(index: int, name: str) -> Message:
    """Rename a link that is down."""
    return make_message(NEW_LINK, 0, pack_name(name, index=index), f"link set index {index} name {name}")


def delete_link(name: str) -> Message:
    """Delete a link by its name; a missing one is no error."""
    return make_message(DELETE_LINK, 0, pack_name(name), f"link delete {name}", frozenset({errno.ENODEV}))


def _address_body(address: str, prefix: int, index: int) -> bytes:
    family, packed = pack_address(address)
    flags = _NO_DAD if family == socket.AF_INET6 else 0
    return ADDRESS_HEADER.pack(family, prefix, flags, 0, index) + pack_attribute(2, packed) + pack_attribute(1, packed)


def add_address(address: str, prefix: int, index: int) -> Message:
    """Add an address to an interface; an existing one is no error."""
    text = f"address add {address}/{prefix} dev index {index}"
    return make_message(NEW_ADDRESS, CREATE | REPLACE, _address_body(address, prefix, index), text)


def delete_address(address: str, prefix: int, index: int) -> Message:
    """Delete an address; a missing one is no error."""
    text = f"address delete {address}/{prefix} dev index {index}"
    absent = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV})
    return make_message(DELETE_ADDRESS, 0, _address_body(address, prefix, index), text, absent)


def set_neighbour(address: str, mac: str, index: int) -> Message:
    """Write a neighbour entry that never expires."""
    family, packed = pack_address(address)
    body = _NEIGHBOUR_HEADER.pack(family, index, _PERMANENT, 0, 0)
    body += pack_attribute(1, packed) + pack_attribute(2, pack_mac(mac))
    return make_message(NEW_NEIGHBOUR, CREATE | REPLACE, body, f"neigh replace {address} lladdr {mac} dev index {index}")


def set_forwarding_entry(mac: str, destination: str, index: int) -> Message:
    """Add the node of a MAC to a VXLAN device's forwarding database."""
    body = _NEIGHBOUR_HEADER.pack(socket.AF_BRIDGE, index, _PERMANENT | _NO_ARP, _SELF, 0)
    body += pack_attribute(1, socket.inet_aton(destination)) + pack_attribute(2, pack_mac(mac))
    return make_message(NEW_NEIGHBOUR, CREATE | REPLACE, body, f"fdb replace {mac} dev index {index} dst {destination}")


def set_netem(index: int, links: Links) -> Message:
    """Make netem the queue of an interface, which impairs sent packets. Source: iproute2 tc/q_netem.c."""
    gap = 1 if links.reorder_percent else 0
    loss, duplicate, reorder = (
        round(percent / 100 * _CERTAIN) for percent in (links.loss_percent, links.duplicate_percent, links.reorder_percent)
    )
    options = (
        _NETEM.pack(0, _PACKETS_MAX, loss, gap, duplicate, 0)
        + pack_attribute(_LATENCY_NS, struct.pack("=q", round(links.delay_ms * 1e6)))
        + pack_attribute(_JITTER_NS, struct.pack("=q", round(links.jitter_ms * 1e6)))
        + pack_attribute(_REORDER, struct.pack("=II", reorder, 0))
    )
    body = _QUEUE_HEADER.pack(socket.AF_UNSPEC, index, 0, _ROOT, 0)
    body += pack_attribute(_KIND, b"netem\0") + pack_attribute(_OPTIONS, options)
    return make_message(_NEW_QUEUE, CREATE | REPLACE, body, f"qdisc replace dev index {index} root netem")


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


def add_route(route: Route, tolerated: frozenset[int] = frozenset()) -> Message:
    """Add a route; one to the same destination in the same table fails with EEXIST."""
    text = f"route add {_describe(route)}"
    scope = _SCOPE_LINK if route.route_type is RouteType.UNICAST and route.via is None else 0  # as `ip route` chooses
    return make_message(NEW_ROUTE, CREATE | EXCLUSIVE, _pack_route(route, scope), text, tolerated)


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

"""Reads routes, links and the machine's neighbour table from the kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from clusters.linux.netlink import Netlink, pack_attribute, read_attributes
from clusters.linux.netlink_links import ADDRESS_HEADER, GET_LINK, IFF_UP, LINK_HEADER, LinkAttribute
from clusters.linux.netlink_routes import (
    ENCAPSULATION_IP,
    GET_ROUTE,
    MAIN_TABLE,
    ROUTE_HEADER,
    TUNNEL_DESTINATION,
    RouteAttribute,
    RouteType,
)
from hitless.errors import WorldError

_GET_NEIGHBOUR_TABLE: Final = 66
_GET_ADDRESS: Final = 22
_ADDRESS: Final = 1
"""IFA_ADDRESS. Source: linux/if_addr.h."""
_LOCAL_TABLE: Final = 255
_OPER_UNKNOWN: Final = 0
_OPER_UP: Final = 6
"""Operational states. Source: linux/if.h."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLink:
    """One link as the kernel has it."""

    index: int
    name: str
    kind: str
    """Such as `ipip`, `vxlan`, `veth`; empty: a device that no rtnl_link_ops made (the loopback)."""
    needs_carrier: bool
    """A veth or a bridge; the kernel's link watch tells when one is there."""
    is_up: bool
    """Switched on."""
    is_running: bool
    """Carries packets now: the kernel's link watch has seen the carrier, or the link needs none."""
    mtu: int


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
        answers = netlink.dump(GET_ROUTE, _table_body(socket.AF_INET, table), f"route show table {table}")
    except WorldError as error:
        # A table without routes does not exist. Source: inet_dump_fib in net/ipv4/fib_frontend.c.
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    return [_read_route(body) for _, body in answers]


def list_links(netlink: Netlink) -> list[SeenLink]:
    """Return the links of the namespace, in order of their indices."""
    answers = netlink.dump(GET_LINK, LINK_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "link show")
    links = []
    for _, body in answers:
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


def list_unready_addresses6(netlink: Netlink, links: Iterable[SeenLink]) -> list[str]:
    """Return the IPv6 addresses that do not receive yet, each with its link, and the links without a link-local address.

    Even without duplicate address detection the kernel completes an address in a work queue: a socket can be bound to it
    before its local route exists, and until then what arrives for it is dropped. Source: addrconf_dad_work in
    net/ipv6/addrconf.c.
    """
    names = {link.index: link.name for link in links}
    added = set()
    for _, body in netlink.dump(_GET_ADDRESS, ADDRESS_HEADER.pack(socket.AF_INET6, 0, 0, 0, 0), "-6 address show"):
        *_, index = ADDRESS_HEADER.unpack_from(body)
        added.add((index, IPv6Address(bytes(read_attributes(body[ADDRESS_HEADER.size :])[_ADDRESS]))))
    receiving = set()
    for _, body in netlink.dump(GET_ROUTE, _table_body(socket.AF_INET6, _LOCAL_TABLE), "-6 route show table local"):
        attributes = read_attributes(body[ROUTE_HEADER.size :])
        index = _read_number(attributes.get(RouteAttribute.OUT_INTERFACE))
        receiving.add((index, IPv6Address(bytes(attributes[RouteAttribute.DESTINATION]))))
    link_local = {index for index, address in added if address.is_link_local}
    unready = [f"{address} of {names[index]}" for index, address in sorted(added - receiving)]
    return unready + [f"link-local of {one.name}" for one in links if one.needs_carrier and one.index not in link_local]


def read_neighbour_table(netlink: Netlink) -> NeighbourTable:
    """Return the state of the machine's ARP table; any namespace may ask, unlike for /proc. Source: linux/neighbour.h."""
    answers = netlink.dump(_GET_NEIGHBOUR_TABLE, struct.pack("=BxH", socket.AF_INET, 0), "ntable show")
    for _, body in answers:
        attributes = read_attributes(body[4:])
        if bytes(attributes[1]).rstrip(b"\0") == b"arp_cache" and 7 in attributes:  # noqa: PLR2004 - NDTA_STATS
            return NeighbourTable(
                gc_thresh3=struct.unpack("=I", attributes[4])[0],
                table_fulls=struct.unpack_from("=11Q", attributes[7])[10],
            )
    return NeighbourTable(gc_thresh3=0, table_fulls=0)


def _table_body(family: int, table: int) -> bytes:
    body = ROUTE_HEADER.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    return body + pack_attribute(RouteAttribute.TABLE, struct.pack("=I", table))


def _read_route(body: bytes) -> SeenRoute:
    _, prefix, _, _, _, protocol, _, kind, _ = ROUTE_HEADER.unpack_from(body)
    attributes = read_attributes(body[ROUTE_HEADER.size :])
    network = attributes.get(RouteAttribute.DESTINATION, memoryview(bytes(4)))  # the default route has none
    return SeenRoute(
        destination=f"{_read_address(network)}/{prefix}",
        route_type=RouteType(kind),
        protocol=protocol,
        device=_read_number(attributes.get(RouteAttribute.OUT_INTERFACE)),
        via=_read_address(attributes.get(RouteAttribute.GATEWAY)),
        tunnel_destination=_read_tunnel(attributes),
    )


def _read_tunnel(attributes: dict[int, memoryview]) -> str | None:
    kind = attributes.get(RouteAttribute.ENCAPSULATION_TYPE)
    if kind is None or struct.unpack("=H", kind)[0] != ENCAPSULATION_IP:
        return None
    return _read_address(read_attributes(attributes[RouteAttribute.ENCAPSULATION]).get(TUNNEL_DESTINATION))


def _read_address(payload: memoryview | None) -> str | None:
    return None if payload is None else socket.inet_ntoa(payload)


def _read_number(payload: memoryview | None) -> int | None:
    return None if payload is None else int(struct.unpack("=I", payload)[0])

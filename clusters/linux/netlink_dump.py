"""Reads routes, links and the machine's neighbour table from the kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from clusters.linux.netlink import Netlink
from clusters.linux.netlink_links import ADDRESS_HEADER
from hitless.errors import WorldError
from probes.netlink import (
    GET_LINK,
    GET_ROUTE,
    MAIN_TABLE,
    ROUTE_HEADER,
    RouteAttribute,
    SeenLink,
    SeenRoute,
    ask_links,
    ask_routes,
    read_attributes,
    read_links,
    read_number,
    read_routes,
)

_GET_NEIGHBOUR_TABLE: Final = 66
_GET_ADDRESS: Final = 22
_ADDRESS: Final = 1
"""IFA_ADDRESS. Source: linux/if_addr.h."""
_LOCAL_TABLE: Final = 255


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

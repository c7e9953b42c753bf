"""Checks that the RouteTables of every cluster share: the zone exists, the destination is a CIDR."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import TypeVar

from hitless.errors import RouteTableError

ZoneT = TypeVar("ZoneT")


def find_zone(zones: Mapping[str, ZoneT], name: str) -> ZoneT:
    """Return a zone by its name. Raises RouteTableError."""
    if name not in zones:
        raise RouteTableError(f"zone {name} has no route table")
    return zones[name]


def check_destination(cidr: str) -> str:
    """Return a destination as the kernel writes it. Raises RouteTableError: it is no CIDR."""
    try:
        return str(IPv4Network(cidr))
    except ValueError as error:
        raise RouteTableError(f"invalid destination: {error}") from error

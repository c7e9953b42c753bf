"""What every store of objects or routes refuses: an object without kind or name, an unknown zone, no CIDR as a destination."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import TypeVar

from hitless.errors import RouteTableError, UsageError
from hitless.words import JsonObject, Kind

ZoneT = TypeVar("ZoneT")


def identify(document: JsonObject) -> tuple[Kind, str]:
    """Return kind and name of an object. Raises UsageError if it has none, or a kind that the switch does not know."""
    kind, metadata = document.get("kind"), document.get("metadata")
    if not isinstance(kind, str) or kind not in list(Kind):
        allowed = ", ".join(member.value for member in Kind)
        raise UsageError(where="Kubernetes object", place="kind", found=repr(kind), expected=allowed)
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError(where=f"Kubernetes object of kind {kind}", place="metadata.name", found=repr(name), expected="a name")
    return Kind(kind), name


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

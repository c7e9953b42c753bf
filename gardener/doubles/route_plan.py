"""The routes that aws-custom-route-controller wants, and the conditions that it concludes from its calls. Pure.

Source: aws-custom-route-controller pkg/updater/routes.go:117-253, pkg/updater/node_route.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from hitless.facts import CloudRoute
from hitless.words import JsonObject


@unique
class RouteControllerMode(StrEnum):
    """What RouteCreated means."""

    IDEAL = "ideal"
    """Every table has the node's route."""
    FAITHFUL = "faithful"
    """The real controller's meaning: the last table that it processed had or got the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the route API."""

    is_delete: bool
    route: CloudRoute


def find_cidr(node: JsonObject) -> str | None:
    """Return the destination of a Node's route, its first IPv4 podCIDR; None: it has none, or no instance.

    The instance id is the last part of a providerID such as aws:///eu-central-1a/i-0123.
    """
    spec = node.get("spec") or {}
    provider_id = spec.get("providerID") or ""
    cidr = next((text for text in spec.get("podCIDRs") or () if _is_ipv4(text)), None)
    if cidr is None or not provider_id.startswith("aws:") or not provider_id.rpartition("/")[2]:
        return None
    return str(cidr)


def follow_nodes(known: Mapping[str, str], nodes: Sequence[JsonObject]) -> dict[str, str]:
    """Return the routes wanted now, node to destination, in order of the nodes' names.

    A route is removed only with its Node object: a node that is being deleted, or that lost its providerID, keeps it.
    """
    wanted: dict[str, str] = {}
    for node in sorted(nodes, key=lambda each: str(each["metadata"]["name"])):
        name = node["metadata"]["name"]
        cidr = find_cidr(node) or known.get(name)
        if cidr is not None:
            wanted[name] = cidr
    return wanted


def plan_table(zone: str, present: Sequence[CloudRoute], wanted: Mapping[str, str]) -> tuple[Call, ...]:
    """Return the calls for one table: delete unwanted routes, then create what is missing."""
    right = {(cidr, node) for node, cidr in wanted.items()}
    there = {(route.cidr, route.node) for route in present}
    deletes = [Call(is_delete=True, route=route) for route in present if (route.cidr, route.node) not in right]
    creates = [
        Call(is_delete=False, route=CloudRoute(zone=zone, cidr=cidr, node=node))
        for node, cidr in wanted.items()
        if (cidr, node) not in there
    ]
    return (*deletes, *creates)


def conclude(
    mode: RouteControllerMode, zones: Sequence[str], cidrs: Iterable[str], failed: Collection[tuple[str, str]]
) -> dict[str, bool]:
    """Return for each podCIDR whether its node is to report RouteCreated.

    Args:
        mode: what RouteCreated means.
        zones: the tables in the order in which they were looked at.
        cidrs: destinations of the routes that every table should have.
        failed: zone and destination of each route that could not be created; the others were there already, or are now.
    """
    match mode:
        case RouteControllerMode.IDEAL:
            return {cidr: not any((zone, cidr) in failed for zone in zones) for cidr in cidrs}
        case RouteControllerMode.FAITHFUL:
            return {cidr: (zones[-1], cidr) not in failed for cidr in cidrs}


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4  # noqa: PLR2004 - IPv4
    except ValueError:
        return False

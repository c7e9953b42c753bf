"""The routes that aws-custom-route-controller wants, and the conditions that it concludes from its calls. Pure.

Source: aws-custom-route-controller pkg/updater/routes.go:117-253, pkg/updater/node_route.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
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
    """What the real one does: the last table that it processed had or got the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoute:
    """The route that a node needs in every table."""

    node: str
    cidr: str
    """The node's first IPv4 podCIDR: destination of the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to the route API."""

    is_delete: bool
    route: CloudRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The result of one call."""

    call: Call
    error: str | None
    """None: it worked."""


def node_route(node: JsonObject) -> NodeRoute | None:
    """Return the route that a Node needs, or None while it has no IPv4 podCIDR or no instance.

    The instance id is the last part of a providerID such as aws:///eu-central-1a/i-0123.
    """
    spec = node.get("spec") or {}
    provider_id = spec.get("providerID") or ""
    cidr = next((text for text in spec.get("podCIDRs") or () if _is_ipv4(text)), None)
    if cidr is None or not provider_id.startswith("aws:") or not provider_id.rpartition("/")[2]:
        return None
    return NodeRoute(node=node["metadata"]["name"], cidr=cidr)


def follow_nodes(known: Mapping[str, NodeRoute], nodes: Sequence[JsonObject]) -> dict[str, NodeRoute]:
    """Return the routes wanted now, in order of the nodes' names.

    A route goes only with its Node object: a node that is being deleted, or that lost its providerID, keeps it.
    """
    wanted: dict[str, NodeRoute] = {}
    for node in sorted(nodes, key=lambda each: str(each["metadata"]["name"])):
        name = node["metadata"]["name"]
        route = node_route(node) or known.get(name)
        if route is not None:
            wanted[name] = route
    return wanted


def plan_table(zone: str, present: Sequence[CloudRoute], wanted: Sequence[NodeRoute]) -> tuple[Call, ...]:
    """Return the calls for one table: delete unwanted routes, then create what is missing."""
    right = {(route.cidr, route.node) for route in wanted}
    there = {(route.cidr, route.node) for route in present}
    deletes = [Call(is_delete=True, route=route) for route in present if (route.cidr, route.node) not in right]
    creates = [
        Call(is_delete=False, route=CloudRoute(zone=zone, cidr=route.cidr, node=route.node))
        for route in wanted
        if (route.cidr, route.node) not in there
    ]
    return (*deletes, *creates)


def conclude(
    mode: RouteControllerMode, zones: Sequence[str], wanted: Sequence[NodeRoute], attempts: Sequence[Attempt]
) -> dict[str, bool]:
    """Return for each podCIDR whether its node is to report RouteCreated.

    Args:
        mode: what RouteCreated means.
        zones: the tables in the order in which they were looked at.
        wanted: the routes that every table should have.
        attempts: the result of each call; a route without a call was there already.
    """
    failed = {(at.call.route.zone, at.call.route.cidr) for at in attempts if at.error is not None and not at.call.is_delete}
    match mode:
        case RouteControllerMode.IDEAL:
            return {route.cidr: not any((zone, route.cidr) in failed for zone in zones) for route in wanted}
        case RouteControllerMode.FAITHFUL:
            return {route.cidr: (zones[-1], route.cidr) not in failed for route in wanted}


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4  # noqa: PLR2004 - IPv4
    except ValueError:
        return False

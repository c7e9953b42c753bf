"""The faults of a cluster and their cures.

A fault acts below the doubles, so they see it as the real parts would: an API that does not answer, a route that is missing
although its condition says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from hitless.errors import BugError, UsageError
from hitless.facts import CloudRoute
from hitless.ports import RouteTables
from hitless.words import JsonObject

KUBE_API_DOWN: Final = "kube-api-down"
ROUTE_API_DOWN: Final = "route-api-down"
NODE_ROUTE_LOST: Final = "node-route-lost"

_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    KUBE_API_DOWN: frozenset(),
    ROUTE_API_DOWN: frozenset(),
    NODE_ROUTE_LOST: frozenset({"zone", "node"}),
}
"""Fault to its options; all are required."""


class SwitchableApi(Protocol):
    """A Kubernetes API that can be made unavailable: the lab's own, or a firewall in front of a real one."""

    def set_away(self, is_away: bool, /) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Make it unavailable or available again. Repeating either is no error."""
        ...


class ClusterFaults:
    """Faults of a cluster: the lab's, and (with another API and other tables) kind's.

    Faults:
        kube-api-down: every call to the Kubernetes API fails.
        route-api-down: every call to the cloud's route API fails.
        node-route-lost: the route to `node` disappears from the table of `zone`; the cure creates it again unless it exists.

    Args:
        kube: the API.
        routes: the route tables themselves, without the outage that is wrapped around them.
        begin_route_outage: makes the route API fail.
        end_route_outage: makes it work again.
    """

    def __init__(
        self,
        *,
        kube: SwitchableApi,
        routes: RouteTables,
        begin_route_outage: Callable[[], None],
        end_route_outage: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._routes = routes
        self._begin_route_outage = begin_route_outage
        self._end_route_outage = end_route_outage
        self._lost: list[CloudRoute] = []

    def known(self) -> frozenset[str]:
        """Return the names of the faults."""
        return frozenset(_OPTIONS)

    def inject(self, name: str, options: JsonObject) -> None:
        """Inject the fault; effective on return.

        Raises:
            UsageError: no such fault, wrong options, or the route to lose does not exist.
        """
        check_fault(name, options)
        match name:
            case "kube-api-down":
                self._kube.set_away(True)
            case "route-api-down":
                self._begin_route_outage()
            case "node-route-lost":
                self._lose_route(options["zone"], options["node"])
            case _:
                raise BugError(f"the fault {name} has options and does nothing")

    def cure(self, name: str) -> None:
        """Cure the fault, however often it was injected; effective on return. Raises UsageError for an unknown fault."""
        _check_name(name)
        match name:
            case "kube-api-down":
                self._kube.set_away(False)
            case "route-api-down":
                self._end_route_outage()
            case "node-route-lost":
                self._restore_routes()
            case _:
                raise BugError(f"the fault {name} has no cure")

    def _lose_route(self, zone: str, node: str) -> None:
        zones = self._routes.zones()
        if zone not in zones:
            raise UsageError(where=f"fault {NODE_ROUTE_LOST}", place="zone", found=repr(zone), expected=", ".join(zones))
        present = self._routes.list(zone)
        lost = [route for route in present if route.node == node]
        if not lost:
            allowed = (
                ", ".join(sorted({route.node for route in present})) or f"no such fault, because zone {zone} has no routes"
            )
            raise UsageError(where=f"fault {NODE_ROUTE_LOST}", place="node", found=repr(node), expected=allowed)
        for route in lost:
            self._routes.delete(zone, route.cidr)
            self._lost.append(route)

    def _restore_routes(self) -> None:
        """Create the lost routes again; a route that exists again stays."""
        while self._lost:
            route = self._lost[-1]
            if route.cidr not in {present.cidr for present in self._routes.list(route.zone)}:
                self._routes.create(route)
            self._lost.pop()


def _check_name(name: str) -> None:
    if name not in _OPTIONS:
        raise UsageError(where="fault", place="name", found=repr(name), expected=", ".join(sorted(_OPTIONS)))


def check_fault(name: str, options: JsonObject) -> None:
    """Refuse a fault that the lab does not know, or with other options than it needs. Raises UsageError."""
    _check_name(name)
    needed = _OPTIONS[name]
    allowed = ", ".join(sorted(needed)) or "no options"
    if options.keys() != needed:
        found = ", ".join(sorted(map(repr, options))) or "no options"
        raise UsageError(where=f"fault {name}", place="options", found=found, expected=allowed)
    for key, value in options.items():
        if not isinstance(value, str):
            raise UsageError(where=f"fault {name}", place=f"options.{key}", found=repr(value), expected="a name")

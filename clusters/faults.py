"""The faults that every cluster with a cloud double has: of the two APIs, of the cloud's routes, of calico-node's pods.

A fault acts on the world below the doubles, so that they meet it as the real parts would: an API that does not answer, a route
that is gone although its condition says otherwise. Names and options: `hitless.faults`.
"""

from __future__ import annotations

from typing import Protocol

from gardener.doubles.cloud import Cloud
from hitless.calico import is_calico_pod
from hitless.errors import UsageError
from hitless.facts import CloudRoute
from hitless.faults import CALICO_NODE_RESTART, KUBE_API_DOWN, NODE_ROUTE_LOST, Fault
from hitless.ports import KubeApi
from hitless.words import JsonObject, Kind


class SwitchableApi(Protocol):
    """A Kubernetes API that can be made unavailable: the lab's own, or a firewall in front of a real one."""

    def set_away(self, is_away: bool, /) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Make it unavailable or available again. Repeating either is no error."""
        ...


def common_faults(server: SwitchableApi, kube: KubeApi, cloud: Cloud) -> dict[str, Fault]:
    """Return name to fault.

    Args:
        server: the API server.
        kube: its API.
        cloud: the route tables and the API around them.
    """
    lost = _LostRoutes(cloud)
    return {
        KUBE_API_DOWN: Fault(inject=lambda _: server.set_away(True), cure=lambda _: server.set_away(False)),
        "route-api-down": Fault(inject=lambda _: cloud.set_away(True), cure=lambda _: cloud.set_away(False)),
        "route-api-hangs": Fault(inject=lambda _: cloud.set_hanging(True), cure=lambda _: cloud.set_hanging(False)),
        NODE_ROUTE_LOST: Fault(inject=lost.lose, cure=lost.restore),
        "instance-unknown": Fault(
            inject=lambda options: cloud.unknown.add(options["node"]),
            cure=lambda options: cloud.unknown.discard(options.get("node", "")),
        ),
        CALICO_NODE_RESTART: Fault(inject=lambda options: _restart_calico(kube, options), cure=lambda _: None),
    }


def _restart_calico(kube: KubeApi, options: JsonObject) -> None:
    """Delete the node's calico-node pod. Raises UsageError: it has none."""
    pods = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in kube.list(Kind.POD) if is_calico_pod(pod)}
    names = [name for name, node in pods.items() if node == options["node"]]
    if not names:
        found, where = repr(options["node"]), f"fault {CALICO_NODE_RESTART}"
        allowed = f"a node with a pod of calico-node: {', '.join(sorted(filter(None, pods.values()))) or 'there is none'}"
        raise UsageError(where=where, place="options.node", found=found, expected=allowed)
    for name in names:
        kube.delete(Kind.POD, name)


class _LostRoutes:
    """Takes routes out of the tables themselves, not through the cloud's API, so an outage of the API does not matter."""

    def __init__(self, cloud: Cloud) -> None:
        self._tables = cloud.tables
        self._lost: dict[tuple[str, str], list[CloudRoute]] = {}

    def lose(self, options: JsonObject) -> None:
        """Delete the routes to a node from a zone's table. Raises UsageError: there is none."""
        zone, node = options["zone"], options["node"]
        zones = self._tables.zones()
        if zone not in zones:
            raise UsageError(where=f"fault {NODE_ROUTE_LOST}", place="zone", found=repr(zone), expected=", ".join(zones))
        present = self._tables.list(zone)
        lost = [route for route in present if route.node == node]
        if not lost:
            nodes = ", ".join(sorted({route.node for route in present}))
            problem = f"zone {zone} has no route to {node}; it has routes to {nodes}" if nodes else f"zone {zone} has no routes"
            raise UsageError(problem, where=f"fault {NODE_ROUTE_LOST}", place="node")
        for route in lost:
            self._tables.delete(zone, route.cidr)
            self._lost.setdefault((zone, node), []).append(route)

    def restore(self, options: JsonObject) -> None:
        """Create them again; a route that was created in the meantime stays as it is."""
        for route in self._lost.pop((options.get("zone", ""), options.get("node", "")), []):
            if route.cidr not in {present.cidr for present in self._tables.list(route.zone)}:
                self._tables.create(route)

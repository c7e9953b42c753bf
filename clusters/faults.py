"""The faults of every cluster with a cloud double: of the two APIs, its routes, calico-node's pods, the nodes' machines.

A fault acts on the world below the doubles, so that they meet it as the real parts would: an API that does not answer, a route
that is gone although its condition says otherwise. Names and options: `hitless.faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

from gardener.doubles.cloud import Cloud
from hitless.calico import is_calico_pod
from hitless.errors import UsageError
from hitless.facts import CloudRoute
from hitless.faults import CALICO_NODE_RESTART, KUBE_API_DOWN, MTU_LOWERED, NODE_LEAVES, NODE_ROUTE_LOST, Fault
from hitless.ports import KubeApi
from hitless.words import JsonObject, Kind

_SOURCE_CHECK: Final = "source-check"
_CONNECTIONS: Final = "connections"
"""Names of the tables of nftables."""
_CHECK_SOURCES: Final = """
  chain incoming {{
    type filter hook prerouting priority -310; policy accept;
    iifname "{0}" ip daddr != {1} drop
  }}
  chain outgoing {{
    type filter hook postrouting priority 310; policy accept;
    oifname "{0}" ip saddr != {1} drop
  }}"""
"""Drops at the node's interface what is neither from nor to its own address, after a masquerade."""
_REFUSE_CONNECTIONS: Final = """
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    ct status & 0x8 == 0x0 drop
  }"""
"""Drops packets that conntrack has not confirmed (IPS_CONFIRMED): known flows pass, as with a full table."""


class SwitchableApi(Protocol):
    """A Kubernetes API that can be made unavailable: the lab's own, or a firewall in front of a real one."""

    def set_away(self, is_away: bool, /) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Make it unavailable or available again. Repeating either is no error."""


def common_faults(server: SwitchableApi, kube: KubeApi, cloud: Cloud) -> dict[str, Fault]:
    """Return name to fault, of a server, its API, and the route tables with the cloud's API around them."""
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


class Machines(Protocol):
    """The machines of a cluster's nodes, by the nodes' names. Each call raises WorldError where a machine does not do it."""

    @property
    def names(self) -> Collection[str]:
        """The names of all nodes; empty while the cluster is down."""

    def interface(self, node: str) -> tuple[str, str]:
        """Return name and address of a node's interface in its zone."""

    def run_nft(self, node: str, commands: str) -> None:
        """Run commands of nftables in a node."""

    def set_mtu(self, node: str, octets: int | None) -> None:
        """Change the MTU of a node's interface in its zone; None: back to the first value."""

    def cut_off(self, node: str) -> None:
        """Disconnect a node from the network permanently."""


def node_faults(machines: Machines, kube: KubeApi, cloud: Cloud) -> dict[str, Fault]:
    """Return name to fault, of the nodes' machines, which the cloud finds until they have left."""

    def find(options: JsonObject) -> str:
        return find_node(options, machines.names)

    def restore_mtu(options: JsonObject) -> None:
        if options.get("node") in machines.names:
            machines.set_mtu(options["node"], None)

    def leave(options: JsonObject) -> None:
        node = find(options)
        machines.cut_off(node)
        kube.delete(Kind.NODE, node)
        cloud.unknown.add(node)

    def make_rules(table: str, chains: Callable[[str], str]) -> Fault:
        """Return the fault of a table of nftables with these chains, which are rendered for a node."""

        def load(options: JsonObject) -> None:
            node = find(options)
            machines.run_nft(node, f"{_drop(table)}table ip {table} {{{chains(node)}\n}}\n")

        def drop(options: JsonObject) -> None:
            if options.get("node") in machines.names:
                machines.run_nft(options["node"], _drop(table))

        return Fault(inject=load, cure=drop)

    return {
        "source-check-on": make_rules(_SOURCE_CHECK, lambda node: _CHECK_SOURCES.format(*machines.interface(node))),
        "connections-refused": make_rules(_CONNECTIONS, lambda _: _REFUSE_CONNECTIONS),
        MTU_LOWERED: Fault(inject=lambda options: machines.set_mtu(find(options), options["octets"]), cure=restore_mtu),
        NODE_LEAVES: Fault(inject=leave, cure=lambda _: None),
    }


def find_node(options: JsonObject, names: Collection[str]) -> str:
    """Return the node that the options of a fault name. Raises UsageError: there is no such node."""
    node: str = options["node"]
    if node not in names:
        raise UsageError(where="fault", place="options.node", found=repr(node), expected=", ".join(names))
    return node


def restore(machines: Machines, node: str) -> None:
    """Take away what a run that was killed may have left on a node. Raises WorldError."""
    machines.run_nft(node, _drop(_SOURCE_CHECK) + _drop(_CONNECTIONS))
    machines.set_mtu(node, None)


def _drop(table: str) -> str:
    """Return commands that delete a table: it is made first, because a missing one cannot be deleted."""
    return f"add table ip {table}\ndelete table ip {table}\n"

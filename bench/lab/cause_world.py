"""A lab with manual faults: every change writes the events of a real switch.

What has no event in reality has none here: a blackhole, a sysctl, a device that goes. All calls act at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from analysis.route_history import POOL_CHANGED
from bench.lab.drop_switch import DropSwitch
from bench.lab.netlink_messages import set_master
from clusters.lab.calico.plane import RouteChange
from clusters.lab.network import LabNetwork
from clusters.lab.spec import ROUTER
from clusters.linux.namespaces import inside
from clusters.linux.netlink import Netlink
from clusters.linux.sysctls import write_sysctls
from hitless.facts import CloudRoute
from hitless.faults import MTU_LOWERED, NODE_ROUTE_LOST
from hitless.ports import Clock
from hitless.words import JsonObject, Kind, Mode
from tests.recorders import ListRecorder

SETTLE_S: Final = 0.03
"""Until what is on its way has arrived: a packet that was routed by an old route must not meet a new table."""
STRICT: Final = 1
LOOSE: Final = 2


class CauseWorld:
    """The hands on a lab.

    Args:
        network: the lab; up, in OVERLAY, without a cloud route.
        clock: the run clock.
        events: where changes are written down.
    """

    def __init__(self, network: LabNetwork, clock: Clock, events: ListRecorder) -> None:
        self._network, self._clock, self.events = network, clock, events
        self.nodes = {node.name: node for node in network.nodes}
        self.zones = tuple(sorted({node.zone for node in network.nodes}))
        self._routes: set[tuple[str, str]] = set()
        self._without_tunnel: set[str] = set()
        self._native: set[str] = set()
        self._cleaned: set[str] = set()
        self._lowered: dict[str, JsonObject] = {}

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every zone with every node: the routes that there are to be."""
        return tuple((zone, node) for zone in self.zones for node in self.nodes)

    @property
    def idle_routes(self) -> tuple[tuple[str, str], ...]:
        """Cloud routes that exist and are not in use at the moment."""

        def is_needed(zone: str, node: str) -> bool:
            others = (one for one in self.nodes.values() if one.zone == zone and one.name != node)
            return any(
                one.name in self._cleaned or (one.name in self._native and self.nodes[node].zone != zone) for one in others
            )

        return tuple(sorted(pair for pair in self._routes if not is_needed(*pair)))

    def apply_pool(self, mode: Mode) -> None:
        """Say that the pool is of a mode; the nodes do not follow by themselves."""
        self.events.record("manifest.applied", kind=Kind.IP_POOL.value, name="default-ipv4-ippool", mode=mode.value)

    def repoint(self, node: str, mode: Mode) -> None:
        """Have a node re-point its routes to all others."""
        change = self._network.planes[node].repoint(mode, [peer for peer in self.nodes if peer != node])
        self._cleaned.discard(node)
        (self._native.add if mode is Mode.NATIVE else self._native.discard)(node)
        self._told("calico.repointed", node, change, mode=mode.value, cause=POOL_CHANGED, routes=change.routes)

    def clean_up(self, node: str) -> None:
        """Leave a node only its default route, as cleanup-routes does."""
        change = self._network.planes[node].cleanup_routes()
        self._native.add(node)
        self._cleaned.add(node)
        self._told("calico.cleanup_routes", node, change, removed=change.routes)

    def go_native(self, nodes: Collection[str] | None = None) -> None:
        """Have some nodes re-point to NATIVE; None: all. With every route there this loses nothing."""
        self.apply_pool(Mode.NATIVE)
        for node in self.nodes if nodes is None else nodes:
            self.repoint(node, Mode.NATIVE)

    def go_home(self) -> None:
        """Have every node in OVERLAY again and no cloud route, in an order that loses nothing."""
        for node in tuple(self._without_tunnel):
            self.set_tunnel(node, is_present=True)
        self.create_all()
        self.apply_pool(Mode.OVERLAY)
        for node in self.nodes:
            self.repoint(node, Mode.OVERLAY)
            self._network.planes[node].set_blackhole(present=True)
        time.sleep(SETTLE_S)
        for zone, node in tuple(self._routes):
            self.delete(zone, node)
        time.sleep(SETTLE_S)

    def create_all(self, but: Collection[tuple[str, str]] = ()) -> None:
        """Create the cloud routes that are missing, but for some."""
        for zone, node in self.pairs:
            if (zone, node) not in self._routes and (zone, node) not in but:
                self.create(zone, node)

    def create(self, zone: str, node: str) -> None:
        """Create a cloud route."""
        with self._route_event("route.created", zone, node):
            self._network.tables.create(CloudRoute(zone=zone, cidr=self.nodes[node].pod_cidr, node=node))
        self._routes.add((zone, node))

    def delete(self, zone: str, node: str) -> None:
        """Delete a cloud route."""
        with self._route_event("route.deleted", zone, node):
            self._network.tables.delete(zone, self.nodes[node].pod_cidr)
        self._routes.discard((zone, node))

    def lose(self, zone: str, node: str) -> None:
        """Lose a cloud route by a fault: the table's own event stays away."""
        began_ns = self._clock.now_ns()
        self._network.tables.delete(zone, self.nodes[node].pod_cidr)
        options = {"zone": zone, "node": node}
        self.events.record("fault.injected", fault=NODE_ROUTE_LOST, options=options, began_ns=int(began_ns))

    def cure(self, zone: str, node: str) -> None:
        """Heal the fault."""
        began_ns = self._clock.now_ns()
        self._network.tables.create(CloudRoute(zone=zone, cidr=self.nodes[node].pod_cidr, node=node))
        options = {"zone": zone, "node": node}
        self.events.record("fault.cured", fault=NODE_ROUTE_LOST, options=options, began_ns=int(began_ns))

    def set_forwarding(self, node: str, *, is_whole: bool) -> None:
        """Make the router drop packets to a node and its pods, or forward them again, without an event."""
        pods = [endpoint.address for endpoint in self._network.endpoints if endpoint.node == node]
        switch = DropSwitch(self._network, [self.nodes[node].address, *pods])
        (switch.restore if is_whole else switch.drop)()

    def set_port(self, node: str, *, is_whole: bool) -> None:
        """Take a node's port out of its zone's bridge, or put it back; the carrier stays, and there is no event."""
        zone = next(zone for zone in self._network.plan.zones if zone.name == self.nodes[node].zone)
        with inside(self._network.namespace_path(ROUTER)), Netlink() as netlink:
            netlink.execute([set_master(node, zone.bridge_index if is_whole else 0)])

    def set_filter(self, node: str, rp_filter: int) -> None:
        """Make a node's reverse path filter strict or loose, without an event."""
        names = ("all", "eth0", self._network.carrier.device)
        with inside(self._network.namespace_path(node)):
            write_sysctls({f"ipv4/conf/{name}/rp_filter": str(rp_filter) for name in names})

    def set_tunnel(self, node: str, *, is_present: bool) -> None:
        """Take a node's tunnel device away, or restore it, without an event."""
        self._network.planes[node].set_tunnel(present=is_present)
        (self._without_tunnel.discard if is_present else self._without_tunnel.add)(node)

    def lower_mtu(self, node: str, octets: int) -> None:
        """Lower the MTU of a node's interface by the fault of that name."""
        began_ns = self._clock.now_ns()
        self._network.set_mtu(node, octets)
        self._lowered[node] = {"node": node, "octets": octets}
        self.events.record("fault.injected", fault=MTU_LOWERED, options=self._lowered[node], began_ns=int(began_ns))

    def restore_mtu(self, node: str) -> None:
        """Heal the fault."""
        began_ns = self._clock.now_ns()
        self._network.set_mtu(node, None)
        self.events.record("fault.cured", fault=MTU_LOWERED, options=self._lowered.pop(node), began_ns=int(began_ns))

    def _told(self, name: str, node: str, change: RouteChange, **facts: Any) -> None:  # noqa: ANN401 - JSON
        self.events.record(name, t_ns=change.ended_ns, node=node, began_ns=int(change.began_ns), **facts)

    @contextmanager
    def _route_event(self, name: str, zone: str, node: str) -> Iterator[None]:
        began_ns = self._clock.now_ns()
        yield
        self.events.record(name, zone=zone, cidr=self.nodes[node].pod_cidr, node=node, began_ns=int(began_ns))

"""A sharp drop switch: the router or a node starts and stops dropping at instants that are known to microseconds.

The kernel changes a rule or a route under its one routing lock. Creating or removing a namespace may hold that lock for 100 ms,
so the time of the change is unknown. A sysctl is written without the lock. So the namespace gets a more specific route through
a veth whose other end is down and which therefore has no carrier. The sysctl that decides whether routes through a device
without carrier count then switches between dropping and forwarding. Source: Linux, net/ipv4/fib_trie.c fib_table_lookup,
net/ipv4/devinet.c devinet_conf_proc. Measured: 2 to 40 us a change, against 20 to 180,000 us by rules.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from clusters.lab.network import LabNetwork
from clusters.lab.spec import ROUTER
from clusters.linux.namespaces import inside, open_namespace
from clusters.linux.netlink import Netlink
from clusters.linux.netlink_messages import Link, Route, add_route, add_veth, delete_link, set_neighbour
from hitless.calico import PROTOCOL_BOOT
from hitless.errors import BugError, attempting
from hitless.facts import Flow
from hitless.ports import Clock
from hitless.words import Nanoseconds
from probes.netlink import MAIN_TABLE

_DEVICE: Final = "nowhere"
_INDEX: Final = 99
_MAC: Final = "02:00:00:ff:ff:fe"
"""Unused address. Without a neighbour entry packets would wait for ARP and come back as ICMP errors."""
_SETTING: Final = f"/proc/sys/net/ipv4/conf/{_DEVICE}/ignore_routes_with_linkdown"


class SharpSwitch:
    """Drops packets that the router or a node forwards to some addresses; with both ends of a flow, in both directions.

    It is a context manager: route and device exist only inside. The router sees pod addresses in NATIVE and node addresses in
    OVERLAY. It does not drop frames that it only bridges (same zone). A node always sees pod addresses.
    """

    def __init__(self, network: LabNetwork, addresses: Collection[str], place: str = ROUTER) -> None:
        self._namespace = network.namespace_path(place)
        self._tables = [zone.table for zone in network.plan.zones] if place == ROUTER else [MAIN_TABLE]
        self._addresses = tuple(addresses)
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Make the device, forwarding; then the routes. Raises WorldError."""
        routes = [
            Route(destination=f"{address}/32", protocol=PROTOCOL_BOOT, device=_INDEX, table=table)
            for address in self._addresses
            for table in self._tables
        ]
        with Netlink(self._namespace) as netlink, ExitStack() as undo, open_namespace(self._namespace) as here:
            netlink.execute([add_veth(Link(name=_DEVICE, index=_INDEX), Link(name=f"{_DEVICE}-end"), here)])
            undo.callback(self._remove)
            with attempting(f"open {_SETTING}"), inside(self._namespace):
                self._descriptor = os.open(_SETTING, os.O_WRONLY | os.O_CLOEXEC)
            self.restore()
            netlink.execute([set_neighbour(address, _MAC, _INDEX) for address in self._addresses])
            netlink.execute([add_route(route) for route in routes])
            undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    def drop(self) -> tuple[int, int]:
        """Drop from now on; return CLOCK_MONOTONIC just before and just after, ns."""
        return self._write(b"0")

    def restore(self) -> tuple[int, int]:
        """Forward again; return CLOCK_MONOTONIC just before and just after, ns."""
        return self._write(b"1")

    def _remove(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with Netlink(self._namespace) as netlink:
            netlink.execute([delete_link(_DEVICE)])  # and the routes with it

    def _write(self, value: bytes) -> tuple[int, int]:
        with attempting(f"write {_SETTING}"):
            began_ns = time.monotonic_ns()
            os.pwrite(self._descriptor, value, 0)
            return began_ns, time.monotonic_ns()


class LabCalibrator:
    """Implements the Calibrator port; see `hitless.ports.Calibrator`.

    The node of the source drops packets to the destination. Nothing else on that node may send there; that holds for control
    pods of other nodes.

    Args:
        network: the lab; it is up when a flow is dropped.
    """

    def __init__(self, network: LabNetwork, clock: Clock) -> None:
        self._network, self._clock = network, clock
        self._stack = ExitStack()
        self._switch: SharpSwitch | None = None

    def drop(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Drop the flow's probes; return the run clock around the change. Raises WorldError."""
        if self._switch is not None:
            raise BugError("a calibration flow is already blocked")
        endpoints = {endpoint.name: endpoint for endpoint in self._network.endpoints}
        switch = SharpSwitch(self._network, [endpoints[flow.destination].address], endpoints[flow.source].node)
        self._switch = self._stack.enter_context(switch)
        return self._around(switch.drop)

    def restore(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:  # noqa: ARG002 - one is dropped at a time
        """Forward them again; return the run clock around the change. Raises WorldError."""
        if self._switch is None:
            return self._around(lambda: None)
        switch, self._switch = self._switch, None
        try:
            return self._around(switch.restore)
        finally:
            self._stack.close()

    def _around(self, act: Callable[[], object]) -> tuple[Nanoseconds, Nanoseconds]:
        before_ns = self._clock.now_ns()
        act()
        return before_ns, self._clock.now_ns()

"""The lab's NodePlane: one node's routes and tunnel device, by ready-made netlink messages."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from clusters.lab.calico.plane import RouteChange
from clusters.lab.services import MASQUERADED, SPARED, Pools, change_pools, run_nft
from clusters.lab.spec import NodePlan
from clusters.lab.wiring import Carrier, add_vxlan_device, make_native_route, make_overlay_route, set_vtep
from clusters.linux.namespaces import inside
from clusters.linux.netlink import Message, Netlink, list_links, list_routes
from clusters.linux.netlink_messages import (
    Link,
    Route,
    add_address,
    add_ipip,
    add_route,
    delete_address,
    delete_link,
    delete_route,
    rename_link,
    set_link,
)
from clusters.linux.sysctls import make_tunnel_sysctls, write_sysctls
from hitless.calico import PROTOCOL_BIRD
from hitless.errors import WorldError
from hitless.facts import NodeState
from hitless.ports import Clock
from hitless.words import Mode, Overlay
from probes.netlink import RouteType, SeenLink

_EXISTS: Final = frozenset({errno.EEXIST})


class RouteBook:
    """The encoded route messages of a lab. A route through the tunnel is the same on every node, and encoded once."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self._messages: dict[tuple[str, int | str | None], Message] = {}

    def add_overlay(self, peer: NodePlan, tunnel_index: int) -> Message:
        """Add the route to the peer's block through the tunnel."""
        return self._once((peer.name, tunnel_index), lambda: add_route(make_overlay_route(self.carrier, peer, tunnel_index)))

    def add_native(self, node: NodePlan, peer: NodePlan) -> Message:
        """Add BIRD's route to the peer's block without encapsulation."""
        return self._once((peer.name, node.zone), lambda: add_route(make_native_route(node, peer)))

    def delete(self, peer: NodePlan) -> Message:
        """Delete the route to the peer's block, of any protocol; a missing one is no error."""
        return self._once((peer.name, None), lambda: delete_route(peer.block))

    def _once(self, key: tuple[str, int | str | None], make: Callable[[], Message]) -> Message:
        if key not in self._messages:
            self._messages[key] = make()
        return self._messages[key]


class LabNodePlane:
    """See `clusters.lab.calico.plane.NodePlane`. The socket is in the node's namespace; its opener closes it."""

    def __init__(
        self,
        *,
        plan: NodePlan,
        nodes: Mapping[str, NodePlan],
        book: RouteBook,
        netlink: Netlink,
        namespace: Path,
        clock: Clock,
        rp_filter: int,
        has_rules: bool = False,
    ) -> None:
        self._plan, self._nodes, self._book, self._clock = plan, nodes, book, clock
        self._netlink, self._namespace, self._rp_filter = netlink, namespace, rp_filter
        self._tunnel_index: int | None = None
        self._pools: Pools | None = dict.fromkeys((MASQUERADED, SPARED), frozenset()) if has_rules else None
        self.node = plan.name
        """Name of the node."""
        self.overlay = Overlay.VXLAN if book.carrier is Carrier.VXLAN else Overlay.IPIP
        """Which encapsulation OVERLAY means here."""

    def repoint(self, mode: Mode, peers: Collection[str], *, has_old: bool = True) -> RouteChange:
        """Point the routes to the blocks of these peers, each by delete + add; without old routes, by add alone."""
        messages = []
        for peer in self._peers(peers):
            match mode:
                case Mode.OVERLAY:
                    added = self._book.add_overlay(peer, self._find_tunnel())
                case Mode.NATIVE:
                    added = self._book.add_native(self._plan, peer)
            messages += [self._book.delete(peer), added] if has_old else [added]
        return self._change(messages, counted=messages[1::2] if has_old else messages)

    def withdraw(self, peers: Collection[str]) -> RouteChange:
        """Delete the routes to the blocks of these peers, whatever their protocol is."""
        messages = [self._book.delete(peer) for peer in self._peers(peers)]
        return self._change(messages, counted=messages)

    def cleanup_routes(self) -> RouteChange:
        """Delete every route of protocol 12 in the main table, as `ip route | grep 'proto bird'` and `ip route del` do."""
        found = [route for route in list_routes(self._netlink) if route.protocol == PROTOCOL_BIRD]
        messages = [delete_route(route.destination, protocol=PROTOCOL_BIRD) for route in found]
        return self._change(messages, counted=messages)

    def set_blackhole(self, *, present: bool) -> RouteChange:
        """Add or delete the blackhole of the node's own block."""
        block, protocol = self._plan.block, self._book.carrier.protocol
        message = delete_route(block, protocol=protocol)
        if present:
            message = add_route(Route(destination=block, protocol=protocol, route_type=RouteType.BLACKHOLE), _EXISTS)
        return self._change([message], counted=[message])

    def set_tunnel(self, *, present: bool) -> None:
        """Create or delete the tunnel device with its address. Doing it twice is no error."""
        if present:
            self._make_tunnel()
            return
        self._tunnel_index = None
        device = self._book.carrier.device
        if self._book.carrier is not Carrier.IPIP:
            self._netlink.execute([delete_link(device)])
            return
        # The module's own device survives its deletion: it is left as it was before Calico, down and without an address.
        # Source: Linux, net/ipv4/ip_tunnel.c, ip_tunnel_dellink.
        found = self._find_link()
        if found is not None:
            address = delete_address(self._plan.tunnel_address, 32, found.index)
            self._netlink.execute([address, set_link(device, is_up=False), delete_link(device)])

    def set_pools(self, *, masqueraded: Collection[str], spared: Collection[str]) -> None:
        """Masquerade what comes from these CIDRs, except to those."""
        held, wanted = self._pools, {MASQUERADED: frozenset(masqueraded), SPARED: frozenset(spared)}
        if held is not None and held != wanted:
            run_nft(self._namespace, change_pools(held, wanted))
            self._pools = wanted

    def state(self) -> NodeState:
        """Return the main table and the links that are up, by name; the default route's dst is `default`."""
        links = list_links(self._netlink)
        names = {link.index: link.name for link in links}
        routes = tuple(route.describe(names) for route in list_routes(self._netlink))
        return NodeState(node=self.node, routes=routes, devices=tuple(sorted(link.name for link in links if link.is_up)))

    def _make_tunnel(self) -> None:
        """Make sure that there is a tunnel device of the carrier's kind: its sysctls, up, its address, for VXLAN all peers.

        With IPIP the device may be the module's own, or one made here. Where VXLAN-GPE stands in on a kernel that has the ipip
        module, that module's `tunl0` has the name already: it is renamed, or it would carry the packets in place of VXLAN-GPE.
        Raises WorldError: the kernel has a device of that name and of another kind.
        """
        carrier = self._book.carrier
        is_ipip = carrier is Carrier.IPIP
        adding = add_ipip(Link(name=carrier.device)) if is_ipip else add_vxlan_device(carrier, self._plan)
        if any(self._netlink.execute([replace(adding, tolerated=_EXISTS)])):
            found = self._find_link()
            if found is not None and found.kind == "ipip" and not is_ipip:
                self._netlink.execute([rename_link(found.index, f"{found.name}-ipip"), adding])
            elif found is None or found.kind != ("ipip" if is_ipip else "vxlan"):
                kind = "nothing of that name" if found is None else f"a device of kind {found.kind or 'unknown'}"
                raise WorldError(f"{self.node}: cannot make {carrier.device} for {carrier}: the kernel already has {kind}")
        with inside(self._namespace):
            write_sysctls(make_tunnel_sysctls(carrier.device, self._rp_filter))
        messages = [
            set_link(carrier.device, is_up=True, mtu=carrier.tunnel_mtu),
            add_address(self._plan.tunnel_address, 32, self._find_tunnel()),
        ]
        if carrier is Carrier.VXLAN:
            messages += [m for peer in self._nodes.values() if peer is not self._plan for m in set_vtep(peer)]
        self._netlink.execute(messages)

    def _find_tunnel(self) -> int:
        if self._tunnel_index is None:
            found = self._find_link()
            if found is None:
                raise WorldError(f"{self.node}: the device {self._book.carrier.device} does not exist")
            self._tunnel_index = found.index
        return self._tunnel_index

    def _find_link(self) -> SeenLink | None:
        """Return the device that has the carrier's name."""
        return next((link for link in list_links(self._netlink) if link.name == self._book.carrier.device), None)

    def _peers(self, names: Collection[str]) -> Iterator[NodePlan]:
        for name in names:
            if name not in self._nodes or name == self.node:
                raise WorldError(f"{self.node}: the peer {name} is not a node of the lab")
            yield self._nodes[name]

    def _change(self, messages: Sequence[Message], counted: Sequence[Message]) -> RouteChange:
        """Carry the messages out; `counted` are those of them that make the number of routes."""
        began_ns = self._clock.now_ns()
        results = self._netlink.execute(messages)
        ended_ns = self._clock.now_ns()
        wanted = {id(message) for message in counted}
        done = sum(not result for message, result in zip(messages, results, strict=True) if id(message) in wanted)
        return RouteChange(routes=done, began_ns=began_ns, ended_ns=ended_ns)

"""The effects of calico-node on one node's network: the port between the doubles and the namespaces.

The doubles decide when; the plane does it, at once, with routes and links of the real kernel. Blocks: with host-local IPAM
(IPIP) a node's block is its podCIDR; with calico-ipam (VXLAN) it is a /26 that no cloud route covers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from hitless.facts import NodeState
from hitless.words import Mode, Nanoseconds, Overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChange:
    """What one call did to the kernel."""

    routes: int
    """Number of routes written or deleted."""
    began_ns: Nanoseconds
    """Run clock just before the kernel was told."""
    ended_ns: Nanoseconds
    """Run clock after it acknowledged the last message."""


class NodePlane(Protocol):
    """One node's routes and tunnel device. Every call is effective on return and raises WorldError where the kernel refuses."""

    @property
    def node(self) -> str:
        """Name of the node."""
        ...

    @property
    def overlay(self) -> Overlay:
        """Which encapsulation OVERLAY means here."""
        ...

    def repoint(self, mode: Mode, peers: Collection[str]) -> RouteChange:
        """Point the routes to the blocks of these peers (node names), each by delete + add as BIRD does.

        OVERLAY: through the tunnel (IPIP: protocol 12; VXLAN: protocol 80). NATIVE: a peer in the same zone directly, a peer in
        another zone by the gateway, protocol 12. Source: BIRD netlink.c:1111-1135; calico 4.3 of docs/mechanics.md.
        """
        ...

    def withdraw(self, peers: Collection[str]) -> RouteChange:
        """Delete the routes to the blocks of these peers, whatever their protocol is; missing ones are no error."""
        ...

    def cleanup_routes(self) -> RouteChange:
        """Delete every route of protocol 12 in the main table, blackholes included: the init container cleanup-routes."""
        ...

    def set_blackhole(self, *, present: bool) -> RouteChange:
        """Add or delete the blackhole of the node's own block (IPIP: protocol 12; VXLAN: protocol 80)."""
        ...

    def set_tunnel(self, *, present: bool) -> None:
        """Create or delete the tunnel device with its address (and for VXLAN the peers' FDB and neighbour entries)."""
        ...

    def set_pools(self, *, masqueraded: Collection[str], spared: Collection[str]) -> None:
        """Masquerade packets from these CIDRs, except to those: natOutgoing. A node without rules ignores it."""
        ...

    def state(self) -> NodeState:
        """Return the node's main route table and devices."""
        ...

"""The two nodes of a flow, and the paths that a received TTL allows between them: for convergence, paths and checks alike.

Each forwarding node and the router decrement it. A path by the router is one hop longer than one by tunnel or within a zone, if
the router decrements the TTL. The gateway of AWS does not, and then the TTL is of no use. Pure. No loop over probes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag, unique
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.facts import ClusterFacts, Flow
from hitless.history import History
from hitless.records import Rows
from hitless.words import FlowId, IpFamily, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEnds:
    """The two nodes of a flow whose ends are on different nodes."""

    sender: str
    """Node whose routes decide on the way out; of a client outside the node where it enters the cluster."""
    reflector: str
    """Node whose routes decide on the way back."""
    is_same_zone: bool
    is_to_pod: bool
    """Whether the way out is one to a pod: a node's own address is never behind the tunnel."""
    is_back_to_pod: bool
    """Whether the way back certainly leads to a pod. A flow that is not from pod to pod may be masqueraded, and then the answer
    goes to a node's address. Source: mechanics 4.2."""
    forwarding_nodes: int | None
    """How many nodes forward a packet, either way: each end that is a pod has one. None: other hops may be before them."""


def find_ends(facts: ClusterFacts, flows: Iterable[Flow]) -> dict[FlowId, RouteEnds]:
    """Return the two nodes of every flow that travels between two nodes of the cluster."""
    endpoints = {endpoint.name: endpoint for endpoint in facts.endpoints}
    zones = {node.name: node.zone for node in facts.nodes}
    by_address = {address: node.name for node in facts.nodes for family in IpFamily if (address := node.address_of(family))}
    found: dict[FlowId, RouteEnds] = {}
    for flow in flows:
        source, destination = endpoints[flow.source], endpoints[flow.destination]
        # A client of a NodePort: the node that it addresses forwards the request, and the answer comes back through it.
        sender = by_address.get(flow.target, "") if source.is_outside else source.node
        reflector = destination.node
        if sender != reflector and sender in zones and reflector in zones:
            found[flow.id] = RouteEnds(
                sender=sender,
                reflector=reflector,
                is_same_zone=zones[sender] == zones[reflector],
                is_to_pod=destination.is_pod,
                is_back_to_pod=source.is_pod and destination.is_pod,
                forwarding_nodes=None if source.is_outside else source.is_pod + destination.is_pod,
            )
    return found


SENT_TTL: Final = 255
"""TTL of STAMP packets when sent. Source: RFC 5357 4.1.2; RFC 8762 4.3.1 returns the received one."""
KERNEL_TTL: Final = 64
"""TTL of the kernel's own packets when sent, such as ICMP echo replies. Source: Linux, ip_default_ttl. No path is long enough
to confuse the two."""


@unique
class ProbePath(IntFlag):
    """The possible paths of a packet from node to node; several bits: which of them is unknown."""

    TUNNEL = 1
    DIRECT = 2
    """Plain, from node to node of one zone."""
    ROUTER = 4
    """Plain, by the gateway."""


NATIVE_PATHS: Final = ProbePath.DIRECT | ProbePath.ROUTER
ANY_PATH: Final = ProbePath.TUNNEL | NATIVE_PATHS

PathBits = npt.NDArray[np.uint8]
"""ProbePath of every probe."""
Ttls = npt.NDArray[np.uint8]
"""Received TTL of every probe; 0: none."""


def paths_of(mode: Mode, ends: RouteEnds) -> ProbePath:
    """Return the path of packets to a peer's pods in a mode.

    Plain packets go to the node within a zone, or by the gateway where only the default route is left.
    """
    if mode is Mode.OVERLAY:
        return ProbePath.TUNNEL
    return NATIVE_PATHS if ends.is_same_zone else ProbePath.ROUTER


class TtlPaths:
    """The paths that the TTLs of one run allow."""

    def __init__(self, history: History) -> None:
        self._ends = find_ends(history.facts, history.flows)
        self.is_router_counted = self._sees_router(history.records.sender)
        """Whether any packet arrived with a TTL one lower than the nodes explain."""

    def ends(self, flow: Flow) -> RouteEnds | None:
        """Return the two nodes of a flow; None: it does not travel between two nodes."""
        return self._ends.get(flow.id)

    def allowed(self, ends: RouteEnds, ttls: Ttls) -> PathBits:
        """Return the paths that received TTLs allow: any path without a TTL, or if the hop count of the router is not known."""
        allowed = np.full(ttls.size, ANY_PATH, dtype=np.uint8)
        if self.is_router_counted and ends.forwarding_nodes is not None:
            hops = np.where(ttls > 0, _hops(ttls), -1)
            allowed[hops == ends.forwarding_nodes] = ProbePath.TUNNEL | ProbePath.DIRECT
            allowed[hops == ends.forwarding_nodes + 1] = ProbePath.ROUTER
        return allowed

    def _sees_router(self, sender: Rows) -> bool:
        explained = np.full(max(int(sender["flow"].max(initial=0)), *self._ends, 0) + 1, -1, dtype=np.int16)
        for flow, ends in self._ends.items():
            explained[flow] = -1 if ends.forwarding_nodes is None else ends.forwarding_nodes
        expected = explained[sender["flow"]]
        is_usable = (expected >= 0) & (sender["corrupted"] == 0)
        return any(
            bool(np.any(is_usable & (ttls > 0) & (_hops(ttls) == expected + 1)))
            for ttls in (sender["forward_ttl"], sender["return_ttl"])
        )


def _hops(ttls: Ttls) -> npt.NDArray[np.int16]:
    return np.where(ttls > KERNEL_TTL, SENT_TTL, KERNEL_TTL) - ttls.astype(np.int16)

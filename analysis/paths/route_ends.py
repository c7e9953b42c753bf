"""The two nodes of a flow, and which of its directions their routes to pods decide. Pure; it looks at no probe."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.facts import ClusterFacts, Flow
from hitless.words import IpFamily


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


class EndsFinder:
    """Finds the ends of flows in one cluster."""

    def __init__(self, facts: ClusterFacts) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in facts.endpoints}
        self._nodes = {node.name: node for node in facts.nodes}
        addresses = ((node.address_of(family), node.name) for node in facts.nodes for family in IpFamily)
        self._by_address = {address: name for address, name in addresses if address}

    def of(self, flow: Flow) -> RouteEnds | None:
        """Return the two nodes of a flow, or None where it does not travel between two nodes of the cluster."""
        source, destination = self._endpoints[flow.source], self._endpoints[flow.destination]
        sender = source.node
        if source.is_outside:
            # A client of a NodePort: the node that it addresses forwards the request, and the answer comes back through it.
            sender = self._by_address.get(flow.target, "")
        reflector = destination.node
        if sender == reflector or sender not in self._nodes or reflector not in self._nodes:
            return None
        return RouteEnds(
            sender=sender,
            reflector=reflector,
            is_same_zone=self._nodes[sender].zone == self._nodes[reflector].zone,
            is_to_pod=destination.is_pod,
            is_back_to_pod=source.is_pod and destination.is_pod,
            forwarding_nodes=None if source.is_outside else source.is_pod + destination.is_pod,
        )

"""Which ordered pairs of nodes the mesh of a run probed, and which entries of the zones' route tables with them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hitless.facts import ClusterFacts, Flow
from hitless.plural import plural
from hitless.words import FlowRole


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshCoverage:
    """What the mesh flows of one run covered."""

    pairs: int
    """Ordered pairs of different nodes."""
    pairs_probed: int
    """Of them, those with a mesh flow."""
    routes: int
    """Routes from a zone's table to a node that another node of the zone may need."""
    routes_probed: int
    """Of them, those that a mesh flow's probes take."""
    sources_min: int
    """Fewest nodes of a zone that probe a node over one such route; 0: a route is not probed."""
    nodes_two_ways: int
    """Nodes that are both a source and a destination."""

    @property
    def is_full(self) -> bool:
        """Whether every pair was probed."""
        return self.pairs_probed == self.pairs

    @property
    def text(self) -> str:
        """How many pairs were probed, in words."""
        return f"{self.pairs_probed:,} of {plural(self.pairs, 'ordered pair')} of nodes were probed"


def find_mesh_coverage(facts: ClusterFacts, flows: Iterable[Flow]) -> MeshCoverage:
    """Return what the mesh flows among these cover."""
    node_of = {endpoint.name: endpoint.node for endpoint in facts.endpoints}
    zone_of = {node.name: node.zone for node in facts.nodes}
    pairs = {(node_of[flow.source], node_of[flow.destination]) for flow in flows if flow.role is FlowRole.MESH}
    sources = Counter((zone_of[source], destination) for source, destination in pairs)
    sizes = Counter(zone_of.values())
    needed = [(zone, node) for node in zone_of for zone, size in sizes.items() if size > (zone == zone_of[node])]
    return MeshCoverage(
        pairs=len(zone_of) * (len(zone_of) - 1),
        pairs_probed=len(pairs),
        routes=len(needed),
        routes_probed=sum(route in sources for route in needed),
        sources_min=min((sources[route] for route in needed), default=0),
        nodes_two_ways=len({source for source, _ in pairs} & {destination for _, destination in pairs}),
    )

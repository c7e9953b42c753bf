"""The mesh: which ordered pairs of nodes are probed, and which entries of the zones' route tables with them. Pure.

A full mesh probes every pair: nodes squared. A covering mesh probes every node from a few nodes of each zone, so that each
entry of each zone's route table carries probes: nodes times zones. It misses a fault of one pair of nodes that it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from hitless.facts import ClusterFacts, Flow
from hitless.plural import plural
from hitless.words import FlowRole

COVERING_TIMES: Final = 2
"""Sources in each zone that probe a node, unless the user says otherwise: with one, its loss and the route's look the same."""
COVERING_TIMES_MAX: Final = 100
FULL_NODES_MAX: Final = 50
"""A watch of more nodes probes a covering mesh by default: 2,450 flows in a full mesh, each pod in 98 of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """How the pairs are chosen."""

    times: int | None = None
    """Sources in each zone that probe a node, as far as the zone has other nodes; None: a full mesh."""

    def pairs(self, zones: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the places of source and destination of every pair, once, the same for the same zones of the nodes."""
        if self.times is None:
            yield from permutations(range(len(zones)), 2)
        else:
            yield from _cover(zones, self.times)

    def count(self, zones: Sequence[str]) -> int:
        """Return the number of pairs."""
        if self.times is None:
            return len(zones) * (len(zones) - 1)
        return sum(1 for _ in self.pairs(zones))


FULL_MESH: Final = Mesh()


def _cover(zones: Sequence[str], times: int) -> Iterator[tuple[int, int]]:
    """Yield pairs so that each node is probed from `times` nodes of each zone, and itself probes as many nodes.

    Within a zone every node probes the next ones, so that each is a source as often as a destination. From another zone the
    sources take turns: a place is as often a source as its neighbours, or once more.
    """
    members: dict[str, list[int]] = {}
    for place, zone in enumerate(zones):
        members.setdefault(zone, []).append(place)
    for zone, sources in members.items():
        turn = 0
        for other, destinations in members.items():
            for position, destination in enumerate(destinations):
                if zone == other:
                    chosen = [sources[(position + step) % len(sources)] for step in range(1, min(times + 1, len(sources)))]
                else:
                    chosen = [sources[(turn + step) % len(sources)] for step in range(min(times, len(sources)))]
                    turn += times
                yield from ((source, destination) for source in chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshCoverage:
    """Coverage of the mesh flows of one run."""

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

"""What a mesh covered, and how reports say what it left out."""

from __future__ import annotations

from dataclasses import replace

from bench.synthetic_runs import SyntheticRun
from reports.limits import limits
from reports.summary import summarise
from reports.table import identity
from scenarios.mesh import FULL_MESH, Mesh, MeshCoverage, find_mesh_coverage
from tests.unit.comparisons import comparison


def make_run(mesh: Mesh) -> SyntheticRun:
    return SyntheticRun(zones=tuple("aaaabbbbc"), mesh=mesh, ticks=1, interval_ns=1)


def cover(mesh: Mesh) -> MeshCoverage:
    facts = make_run(mesh).make_facts()
    return find_mesh_coverage(facts, make_run(mesh).make_flows(facts))


def test_a_full_mesh_probes_every_pair() -> None:
    found = cover(FULL_MESH)
    assert (found.pairs, found.pairs_probed, found.is_full) == (72, 72, True)


def test_a_covering_mesh_probes_every_route_and_names_the_fewest_sources() -> None:
    # Zone c has one node: its table is needed for the 8 others alone, and has no second source.
    assert cover(Mesh(times=2)) == MeshCoverage(
        pairs=72, pairs_probed=44, routes=26, routes_probed=26, sources_min=1, nodes_two_ways=9
    )


def test_a_route_without_a_flow_counts() -> None:
    facts = make_run(FULL_MESH).make_facts()
    flows = [flow for flow in make_run(FULL_MESH).make_flows(facts) if flow.destination != facts.endpoints[0].name]
    found = find_mesh_coverage(facts, flows)
    assert (found.routes_probed, found.sources_min, found.nodes_two_ways) == (23, 0, 8)


def test_a_report_says_what_was_probed_and_what_that_may_miss() -> None:
    found = comparison()
    summary = replace(summarise(found), mesh=cover(Mesh(times=2)))
    assert ("mesh", "44 of 72 ordered pairs of nodes were probed") in identity(summary)
    covered, missed = [text for text in limits(summary, found.runs[0].history) if "pairs" in text]
    assert "They cover 26 of 26 routes in the zones' tables to a node, each from at least 1 node of the zone" in covered
    assert missed.startswith("A fault of one of the other 28 pairs of nodes, such as one node's own route, tunnel entry")


def test_a_report_of_a_full_mesh_says_nothing_of_pairs() -> None:
    found = comparison()
    for mesh in (cover(FULL_MESH), None):
        summary = replace(summarise(found), mesh=mesh)
        assert "mesh" not in dict(identity(summary))
        assert not [text for text in limits(summary, found.runs[0].history) if "pairs" in text]

"""The covering mesh: what it promises for any number of zones and nodes, and how few pairs it takes."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.options import read_mesh
from commands.watch import choose_mesh
from hitless.errors import UsageError
from scenarios.mesh import COVERING_TIMES, FULL_MESH, FULL_NODES_MAX, Mesh

ZONES = st.lists(st.sampled_from("abcde"), max_size=40)
TIMES = st.integers(1, 5)


@given(ZONES, TIMES)
def test_every_table_carries_probes_to_every_node_from_several_sources(zones: list[str], times: int) -> None:
    found = Counter((zones[source], destination) for source, destination in Mesh(times=times).pairs(zones))
    others = {(zone, node): zones.count(zone) - (zones[node] == zone) for zone in set(zones) for node in range(len(zones))}
    assert found == Counter({table: min(times, count) for table, count in others.items() if count})


@given(ZONES, TIMES)
def test_every_node_is_a_source_and_a_destination_several_times(zones: list[str], times: int) -> None:
    pairs = list(Mesh(times=times).pairs(zones))
    least = min(times, len(zones) - 1)
    for role in (0, 1):
        counts = Counter(pair[role] for pair in pairs)
        assert all(counts[node] >= least for node in range(len(zones)))


@given(ZONES, TIMES)
def test_no_pair_stands_twice_and_there_are_at_most_nodes_times_zones_of_them(zones: list[str], times: int) -> None:
    mesh = Mesh(times=times)
    pairs = list(mesh.pairs(zones))
    assert set(pairs) <= set(permutations(range(len(zones)), 2))
    assert len(pairs) == len(set(pairs)) == mesh.count(zones) <= times * len(zones) * len(set(zones))


@given(st.integers(1, 5), st.integers(1, 12), TIMES)
def test_the_nodes_of_zones_of_one_size_send_about_as_much(zones: int, nodes_per_zone: int, times: int) -> None:
    places = [zone for zone in "abcde"[:zones] for _ in range(nodes_per_zone)]
    counts = Counter(source for source, _ in Mesh(times=times).pairs(places))
    sent = [counts[node] for node in range(len(places))]
    assert max(sent) - min(sent) <= zones


def test_a_covering_mesh_of_5000_nodes_in_three_zones_has_30000_pairs_of_25_million() -> None:
    zones = ["abc"[node % 3] for node in range(5_000)]
    assert (Mesh(times=2).count(zones), FULL_MESH.count(zones)) == (30_000, 24_995_000)


@given(ZONES)
def test_a_full_mesh_has_every_pair(zones: list[str]) -> None:
    pairs = list(FULL_MESH.pairs(zones))
    assert pairs == list(permutations(range(len(zones)), 2))
    assert len(pairs) == FULL_MESH.count(zones)


@pytest.mark.parametrize(
    ("text", "mesh"),
    [(None, None), ("full", FULL_MESH), ("covering", Mesh(times=COVERING_TIMES)), ("covering:7", Mesh(times=7))],
)
def test_the_option_names_a_mesh(text: str | None, mesh: Mesh | None) -> None:
    assert read_mesh(text) == mesh


@pytest.mark.parametrize("text", ["", "half", "full:2", "covering:", "covering:0", "covering:101", "covering:²"])
def test_an_option_that_names_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--mesh: found '.*'; expected full, covering, or covering:N with N from 1 to 100$"):
        read_mesh(text)


def test_a_watch_of_a_large_cluster_probes_a_covering_mesh_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    zones = ["abc"[node % 3] for node in range(FULL_NODES_MAX + 1)]
    assert (choose_mesh(zones[:-1]), capsys.readouterr().err) == (FULL_MESH, "")
    assert choose_mesh(zones) == Mesh(times=COVERING_TIMES)
    said = "51 nodes: each is probed from 2 nodes of each zone, 306 of 2,550 pairs; --mesh full probes all"
    assert said in " ".join(capsys.readouterr().err.split())

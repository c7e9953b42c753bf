"""SSIDs: unique where they are read, and few."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.agent_groups import assign_ssids
from hitless.errors import UsageError
from hitless.facts import Flow
from hitless.words import FlowId, FlowRole
from probes.stamp import SSID_MAX

ENDS = st.sampled_from([f"pod-{number}" for number in range(6)])


def make_flows(pairs: list[tuple[str, str]]) -> list[Flow]:
    return [
        Flow(id=FlowId(number), source=source, destination=destination, role=FlowRole.MESH)
        for number, (source, destination) in enumerate(pairs, 1)
    ]


def one_place(_: str) -> str:
    return ""


@given(st.lists(st.tuples(ENDS, ENDS), max_size=40), st.sampled_from([str, one_place]))
def test_no_two_flows_of_a_place_share_an_ssid(pairs: list[tuple[str, str]], place_of: Callable[[str], str]) -> None:
    flows = make_flows(pairs)
    ssids = assign_ssids(flows, place_of)
    for place in {place_of(end) for pair in pairs for end in pair}:
        mine = [flow for flow in flows if place in {place_of(flow.source), place_of(flow.destination)}]
        assert len({ssids[flow.id] for flow in mine}) == len(mine)
    assert all(1 <= ssid <= max(1, 2 * len(pairs) - 1) for ssid in ssids.values())


def test_in_one_place_the_ssid_is_the_flows_number() -> None:
    assert assign_ssids(make_flows([("a", "b"), ("b", "a"), ("a", "a")]), one_place) == {1: 1, 2: 2, 3: 3}


def test_a_full_mesh_needs_fewer_than_four_ssids_a_pod() -> None:
    pods = [f"pod-{number}" for number in range(60)]
    ssids = assign_ssids(make_flows(list(permutations(pods, 2))), str)
    assert (len(ssids), max(ssids.values()) < 4 * len(pods)) == (3_540, True)


def test_a_pod_with_more_flows_than_ssids_is_refused() -> None:
    flows = make_flows([("a", f"b{number}") for number in range(SSID_MAX + 1)])
    with pytest.raises(UsageError, match=r"^a sends and answers more than 65,535 flows.*use --mesh covering$"):
        assign_ssids(flows, str)

"""The lab's own faults: what each does to packets and objects, and that its cure undoes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.lab.cluster import LabCluster
from clusters.lab.kube import MemoryKube
from gardener.conditions import network_unavailable
from hitless.clock import RunClock
from hitless.errors import UsageError
from hitless.words import Capability, Kind, Mode
from scenarios.loading import find_scenario, load_scenario
from scenarios.parts import FaultStep, PerProfile
from scenarios.plan import Options, make_case
from tests.lab.lab_traffic import missing_pairs, pod_sockets, send_many
from tests.lab.needs import need

QUICK_S = 0.3
MESH = ("node-a1-mesh", "node-b1-mesh")


def bring_up(name: str, *faults: str) -> LabCluster:
    at_once = PerProfile(fast=0, gardener=0)
    steps = tuple(FaultStep(name=fault, at_ms=at_once) for fault in faults)
    scenario = load_scenario(find_scenario(name)).model_copy(update={"faults": steps})
    return LabCluster(make_case(scenario, Options()), RunClock())


@pytest.fixture(params=["plain-switch", "native-to-overlay"])
def lab(request: pytest.FixtureRequest) -> Iterator[LabCluster]:
    lab = bring_up(request.param)
    lab.up()
    yield lab
    lab.down()


def lost(lab: LabCluster) -> set[tuple[str, str]]:
    with pod_sockets(lab._network) as sockets:
        return missing_pairs(lab._network, sockets, QUICK_S)


def test_a_source_check_drops_native_packets_of_its_node_and_passes_encapsulated_ones(lab: LabCluster) -> None:
    need(Capability.NFT)
    is_native = lab._network.spec.start_mode is Mode.NATIVE
    lab.faults.inject("source-check-on", {"node": "node-b1"})
    between = {(a, b) for a, b in lost(lab) if a.rpartition("-")[0] != b.rpartition("-")[0]}
    assert {pair for pair in between if "node-b1" not in "".join(pair)} == set()
    assert bool(between) is is_native
    lab.faults.cure("source-check-on", {"node": "node-b1"})
    assert lost(lab) == set()


def test_a_lowered_mtu_lets_small_packets_pass_and_its_cure_restores_it(lab: LabCluster) -> None:
    lab.faults.inject("mtu-lowered", {"node": "node-b1", "octets": 1400})
    assert lost(lab) == set()
    lab.faults.cure("mtu-lowered", {"node": "node-b1"})


def test_refused_connections_leave_established_flows_alone() -> None:
    need(Capability.NFT)
    lab = bring_up("native-to-overlay", "connections-refused")
    try:
        lab.up()
        with pod_sockets(lab._network) as sockets:
            assert send_many(lab._network, sockets, *MESH, count=1) == 1
            lab.faults.inject("connections-refused", {"node": "node-b1"})
            assert send_many(lab._network, sockets, *MESH, count=3) == 3
            assert send_many(lab._network, sockets, "node-a2-mesh", "node-b1-mesh", count=3) == 0
            lab.faults.cure("connections-refused", {"node": "node-b1"})
            assert send_many(lab._network, sockets, "node-a2-mesh", "node-b1-mesh", count=3) == 3
    finally:
        lab.down()


def test_an_unregistered_node_comes_back_without_its_condition(lab: LabCluster) -> None:
    kube: MemoryKube = lab.kube
    before = kube.get(Kind.NODE, "node-a2")
    lab.faults.inject("node-unregistered", {"node": "node-a2"})
    assert "node-a2" not in {node["metadata"]["name"] for node in kube.list(Kind.NODE)}
    lab.faults.cure("node-unregistered", {"node": "node-a2"})
    after = kube.get(Kind.NODE, "node-a2")
    assert (after["spec"], network_unavailable(before) != (), network_unavailable(after)) == (before["spec"], True, ())


def test_a_node_that_does_not_exist_is_refused(lab: LabCluster) -> None:
    with pytest.raises(UsageError, match="found 'node-z9'; expected node-a1, node-a2, node-b1, node-b2"):
        lab.faults.inject("node-unregistered", {"node": "node-z9"})

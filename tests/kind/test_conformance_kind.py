"""The ports' contracts on a real kind cluster with real pods; if this machine lacks something, a skip that names everything.

The options are those of the suites: `pytest tests/kind/test_conformance_kind.py --kind-image ... --overlay vxlan`. The cluster
is made once, or one that was kept is used, and is taken down after the last test unless --keep-cluster is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kind.cluster import CalicoCluster, make_kind_cluster
from clusters.kind.config import KindOptions
from clusters.kind.docker import Docker
from clusters.kind.versions import CALICO_IMAGES, PROBER_IMAGE, ROUTER_IMAGE
from hitless.clock import RunClock
from hitless.events import Recorder
from hitless.facts import Flow
from hitless.ports import Prober
from hitless.words import FlowClass, FlowRole, Overlay
from scenarios.flows import make_flows
from tests.kind.real_machine import FLOW_SETS, Machine, case_of, find_missing
from tests.lab.conformance.cluster import ClusterConformance
from tests.lab.conformance.prober import ProberConformance, probe
from tests.recorders import ListRecorder


@pytest.fixture
def recorder(clock: RunClock) -> Recorder:
    return ListRecorder(clock)


@pytest.fixture
def cluster(machine: Machine, clock: RunClock) -> Iterator[CalicoCluster]:
    made = make_kind_cluster(machine.case, clock, machine.options)
    yield made
    made.down()


class TestKindCluster(ClusterConformance):
    pass


class TestKindProber(ProberConformance):
    @pytest.fixture
    def prober(self, cluster: CalicoCluster) -> Prober:
        self._facts = cluster.up()
        return cluster.prober

    @pytest.fixture
    def flows(self, prober: Prober) -> Sequence[Flow]:
        assert prober is not None
        udp = [flow for flow in make_flows(self._facts, FLOW_SETS) if flow.flow_class is FlowClass.UDP]
        return [replace(flow, interval_ns=None) for flow in udp if flow.role in {FlowRole.MESH, FlowRole.CONTROL}]


def test_nodes_and_pods_reach_each_other_and_no_probe_is_seen_on_the_management_network(
    cluster: CalicoCluster, clock: RunClock, tmp_path: Path
) -> None:
    facts = cluster.up()
    flows = make_flows(facts, FLOW_SETS)
    assert {flow.role for flow in flows} >= {FlowRole.MESH, FlowRole.HOST}
    before = cluster.counters()
    probe(cluster.prober, flows, clock, tmp_path / "run")
    after = cluster.counters()
    sender = cluster.prober.collect().sender
    assert set(sender["copies"].tolist()) == {1}
    for node in facts.nodes:
        strays = [counters[node.name][name] for counters in (before, after) for name in counters[node.name] if "Manag" in name]
        assert strays[: len(strays) // 2] == strays[len(strays) // 2 :], node.name


class EmptyEngine(Docker):
    """An engine that answers and has no image."""

    def __init__(self) -> None:
        super().__init__(Path("docker"))

    def version(self) -> str:
        return "28.2.2"

    def has_image(self, reference: str) -> bool:
        assert reference
        return False


def test_a_machine_that_lacks_something_is_told_all_of_it_by_name(tmp_path: Path) -> None:
    nowhere = KindOptions(kind_bin=tmp_path / "kind", kubectl_bin=tmp_path / "kubectl")
    case = case_of(Overlay.IPIP)
    missing = "; ".join(find_missing(EmptyEngine(), case, nowhere))
    assert ROUTER_IMAGE not in missing
    for name in ("kindest/node:v1.36.4", *(image.name for image in CALICO_IMAGES), PROBER_IMAGE, "kind", "kubectl"):
        assert name in missing, missing

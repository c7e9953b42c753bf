"""The lab as a cluster: the contract of the port, for every kind of lab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from clusters.lab.cluster import LabCluster
from hitless.clock import RunClock
from hitless.events import Recorder
from hitless.facts import Flow
from hitless.loop import Loop
from hitless.ports import Calibrator, Cluster, Prober
from hitless.words import SECOND, Arm, Nanoseconds
from scenarios.flows import make_flows
from scenarios.plan import make_plan
from tests.cases import case_of
from tests.event_contract import events_of, is_in_the_contract
from tests.lab.conformance.calibrator import CalibratorConformance
from tests.lab.conformance.cluster import ClusterConformance
from tests.recorders import ListRecorder


@pytest.fixture
def recorder(clock: RunClock) -> Recorder:
    return ListRecorder(clock)


@pytest.fixture(params=["plain-switch", "native-to-overlay"])
def cluster(request: pytest.FixtureRequest, clock: RunClock) -> Iterator[LabCluster]:
    lab = LabCluster(case_of(request.param), clock)
    yield lab
    lab.down()


class TestLabCluster(ClusterConformance):
    pass


class TestLabCalibrator(CalibratorConformance):
    @pytest.fixture
    def lab(self, clock: RunClock) -> Iterator[LabCluster]:
        lab = LabCluster(case_of(), clock)
        yield lab
        lab.down()

    @pytest.fixture
    def flows(self, lab: LabCluster) -> Sequence[Flow]:
        return make_flows(lab.up())

    @pytest.fixture
    def calibrator(self, lab: LabCluster) -> Calibrator:
        return lab.calibrator

    @pytest.fixture
    def prober(self, lab: LabCluster) -> Prober:
        return lab.prober


def test_a_switch_leaves_every_event_that_a_cluster_must_record(clock: RunClock) -> None:
    case, recorder = case_of(), ListRecorder(clock)
    lab = LabCluster(case, clock)
    try:
        facts = lab.up()
        switch = make_plan(case, Arm.GATED, 1, clock).make_switch(lab, facts, ListRecorder(clock))
        participants = (*switch.participants, *lab.participants(recorder))
        loop = Loop(participants, lab.kube, clock)
        loop.at(clock.now_ns(), lambda: switch.request(0))
        deadline_ns = Nanoseconds(clock.now_ns() + 30 * SECOND)
        assert loop.run(lambda: bool(recorder.named("roll.finished")), deadline_ns)
        assert loop.run(lambda: all(one.is_settled() for one in participants), deadline_ns)
    finally:
        lab.down()
    assert {event.name for event in recorder.events} >= events_of("roll", "pod", "calico")
    assert [event for event in recorder.events if not is_in_the_contract(event)] == []
    # A node that was rolled before the pool's turn has no BIRD any more that would re-point its routes.
    assert {event.facts["node"] for event in recorder.named("calico.cleanup_routes")} == {node.name for node in facts.nodes}


def test_vxlan_gives_pods_addresses_outside_of_their_nodes_cidr(clock: RunClock) -> None:
    case = case_of("vxlan-switch")
    lab: Cluster = LabCluster(case, clock)
    try:
        facts = lab.up()
    finally:
        lab.down()
    assert facts.carrier == "vxlan"
    cidrs = {node.pod_cidr.split(".")[1] for node in facts.nodes}
    assert cidrs.isdisjoint(endpoint.address.split(".")[1] for endpoint in facts.endpoints)

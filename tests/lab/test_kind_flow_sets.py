"""Flow sets by the prober for Kubernetes, in a lab's namespaces: real packets between nodes' own networks and pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.lab.cluster import LabCluster
from hitless.clock import RunClock
from hitless.facts import ProbeSpec
from hitless.records import encode_address
from hitless.words import MILLISECOND, SECOND, Arm, FlowClass, FlowRole, FlowSet, Nanoseconds
from scenarios.flows import make_flows
from tests.cases import case_of
from tests.lab.test_watch import StrangersCluster

PROBING = ProbeSpec(interval_ns=Nanoseconds(10 * MILLISECOND), drain_ns=SECOND, duration_ns_max=Nanoseconds(60 * SECOND))
SETS = (FlowSet.UDP, FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST, FlowSet.ICMP)


@pytest.fixture
def cluster(clock: RunClock, tmp_path: Path) -> Iterator[StrangersCluster]:
    case = case_of(nodes_per_zone=1)
    lab = LabCluster(case, clock)
    stranger = StrangersCluster(lab, case, Arm.GATED, clock, tmp_path / "pods")
    try:
        yield stranger
    finally:
        stranger.down()
        lab.down()


def test_flows_between_nodes_and_pods_are_answered_from_the_nodes_zone_addresses(
    cluster: StrangersCluster, clock: RunClock, tmp_path: Path
) -> None:
    facts = cluster.up()
    flows = make_flows(facts, SETS, PROBING.interval_ns)
    cluster.prober.start(flows, PROBING, tmp_path / "run", clock.epoch_ns)
    deadline_ns = clock.now_ns() + 30 * SECOND
    while not cluster.prober.is_live():
        assert clock.now_ns() < deadline_ns
    cluster.prober.stop()
    records = cluster.prober.collect()
    assert all(report.finished for report in records.reports)
    assert set(records.sender["flow"].tolist()) == {flow.id for flow in flows}
    assert set(records.sender["copies"].tolist()) == {1}
    addresses = {endpoint.name: encode_address(endpoint.address) for endpoint in facts.endpoints}
    hosts = [flow for flow in flows if flow.role is FlowRole.HOST]
    assert {(flow.flow_set, flow.flow_class) for flow in hosts} == {
        (FlowSet.HOST_TO_POD, FlowClass.UDP),
        (FlowSet.POD_TO_HOST, FlowClass.UDP),
        (FlowSet.POD_TO_HOST, FlowClass.TCP_CONNECT),
    }
    for flow in hosts:
        seen = records.reflector["source"][records.reflector["flow"] == flow.id]
        assert {addresses[flow.source]} == set(seen.tolist()), flow.label

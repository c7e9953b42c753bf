"""What every Cluster must do: the conformance suite of the port, its Prober and its Faults included.

A test module takes the suite in by subclassing `ClusterConformance`, or for a cluster that may only be watched
`WatchedClusterConformance`, and giving three fixtures: `cluster`, an implementation that is not up and is taken down
afterwards; `clock`, the clock it was built with; and `recorder`.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hitless.clock import RunClock
from hitless.errors import UsageError
from hitless.events import Recorder
from hitless.loop import Loop
from hitless.ports import Cluster
from hitless.words import SECOND, Capability, Kind, Nanoseconds
from scenarios.flows import make_flows
from tests.lab.conformance.prober import probe


class WatchedClusterConformance:
    """What holds without the cloud's route tables and without faults."""

    def test_it_says_what_it_offers_before_it_is_up(self, cluster: Cluster) -> None:
        assert cluster.capabilities() <= frozenset(Capability)

    def test_facts_nodes_and_objects_agree(self, cluster: Cluster) -> None:
        facts = cluster.up()
        assert [node.name for node in facts.nodes] == [state.node for state in cluster.inspect()]
        assert {node.name for node in facts.nodes} == {node["metadata"]["name"] for node in cluster.kube.list(Kind.NODE)}
        assert {node.zone for node in facts.nodes} == set(facts.zone_gateways)
        for node in facts.nodes:
            stored = cluster.kube.get(Kind.NODE, node.name)
            assert stored["spec"]["podCIDR"] == node.pod_cidr
            assert IPv4Address(node.gateway) == IPv4Address(facts.zone_gateways[node.zone])

    def test_every_node_has_two_pods_of_its_own_and_one_prober_in_its_network_at_most(self, cluster: Cluster) -> None:
        facts = cluster.up()
        addresses = [IPv4Address(endpoint.address) for endpoint in facts.endpoints]
        assert len(set(addresses)) == len(addresses)
        pods = [endpoint for endpoint in facts.endpoints if endpoint.is_pod]
        assert Counter(endpoint.node for endpoint in pods) == {node.name: 2 for node in facts.nodes}
        blocks = {node.name: IPv4Network(node.pod_cidr) for node in facts.nodes}
        assert all(IPv4Address(one.address) in blocks[one.node] for one in pods)
        hosts = {endpoint.node: endpoint.address for endpoint in facts.endpoints if endpoint.is_host}
        assert hosts.items() <= {node.name: node.address for node in facts.nodes}.items()

    def test_every_flow_is_answered_and_the_records_come_home(self, cluster: Cluster, clock: RunClock, tmp_path: Path) -> None:
        facts = cluster.up()
        probe(cluster.prober, make_flows(facts), clock, tmp_path)
        records = cluster.prober.collect()
        flows = make_flows(facts)
        assert set(records.sender["flow"].tolist()) == {flow.id for flow in flows}
        assert records.sender["copies"].tolist() == [1] * records.sender.size
        assert records.sender.size == records.reflector.size >= len(flows) * 25
        assert all(report.finished for report in records.reports)
        assert set(records.clocks) == {report.agent for report in records.reports}

    def test_the_prober_stops_twice_and_is_not_live_before_it_starts(
        self, cluster: Cluster, clock: RunClock, tmp_path: Path
    ) -> None:
        facts = cluster.up()
        assert not cluster.prober.is_live()
        probe(cluster.prober, make_flows(facts), clock, tmp_path, length_ms=10)
        cluster.prober.stop()
        assert cluster.prober.collect().sender.size > 0

    def test_counters_are_numbers_by_place_and_never_fall(self, cluster: Cluster) -> None:
        cluster.up()
        first, second = cluster.counters(), cluster.counters()
        assert set(first) == set(second)
        assert all(second[place][name] >= value for place, values in first.items() for name, value in values.items())

    def test_with_nothing_to_do_its_doubles_settle(self, cluster: Cluster, clock: RunClock, recorder: Recorder) -> None:
        cluster.up()
        doubles = cluster.participants(recorder)
        assert len({double.name for double in doubles}) == len(doubles)
        loop = Loop(doubles, cluster.kube, clock)
        deadline_ns = Nanoseconds(clock.now_ns() + 5 * SECOND)
        assert loop.run(lambda: all(double.is_settled() for double in doubles), deadline_ns)

    def test_it_goes_down_twice_and_also_without_having_been_up(self, cluster: Cluster) -> None:
        cluster.down()
        cluster.up()
        cluster.down()
        cluster.down()


class ClusterConformance(WatchedClusterConformance):
    def test_the_cloud_has_a_route_table_for_every_zone(self, cluster: Cluster) -> None:
        facts = cluster.up()
        assert set(cluster.routes.zones()) == {node.zone for node in facts.nodes}

    def test_an_unknown_fault_is_refused_and_an_unneeded_cure_is_no_error(self, cluster: Cluster) -> None:
        cluster.up()
        with pytest.raises(UsageError):
            cluster.faults.inject("no-such-fault", {})
        for name in cluster.faults.known():
            cluster.faults.cure(name, {})

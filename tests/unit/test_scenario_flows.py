"""Which flows a run probes, by the sets that a scenario asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.errors import WorldError
from hitless.facts import ClusterFacts, Endpoint, Flow, NodeFacts, ServiceFacts
from hitless.words import MILLISECOND, SECOND, Capability, FlowClass, FlowRole, FlowSet, IpFamily, Nanoseconds
from scenarios.flows import capabilities_of, count_flows, make_flows, rate_hz
from scenarios.mesh import FULL_MESH, Mesh


def make_facts(zones: int, nodes_per_zone: int, pods: tuple[str, ...] = ("mesh", "control")) -> ClusterFacts:
    nodes = [(zone, number) for zone in "abc"[:zones] for number in range(1, nodes_per_zone + 1)]
    names = [f"node-{zone}{number}" for zone, number in nodes]
    endpoints = [
        Endpoint(name=f"node-{zone}{number}-{pod}", node=f"node-{zone}{number}", zone=zone, address="100.96.0.2")
        for zone, number in nodes
        for pod in pods
    ]
    hosts = [Endpoint(name=f"{name}-host", node=name, zone=name[5], address="10.0.0.1", is_host=True) for name in names]
    outside = Endpoint(name="outside", node="vpc", zone="a", address="10.0.0.254", is_outside=True)
    return ClusterFacts(
        backend="lab",
        carrier="ipip",
        nodes=tuple(
            NodeFacts(name=name, zone=name[5], address=f"10.0.0.{place}", pod_cidr="100.96.0.0/24", gateway="10.0.0.254")
            for place, name in enumerate(names)
        ),
        endpoints=(*endpoints, *hosts, outside),
        zone_gateways={},
        underlay_mtu=1500,
        pod_mtu=1480,
        overlay_pod_mtu=1480,
        native_pod_mtu=1500,
        services=tuple(
            ServiceFacts(
                name=name, cluster_ip=f"100.64.1.{place}", port=8620, node_port=30_000 + place, destination=f"{name}-mesh"
            )
            for place, name in enumerate(names)
        ),
        permanent_neighbours=False,
        rp_filter=2,
        versions={},
    )


def of(facts: ClusterFacts, flow_set: FlowSet) -> list[Flow]:
    """The flows of one set, beside the mesh."""
    return [
        flow
        for flow in make_flows(facts, (FlowSet.UDP, flow_set))
        if flow.flow_set is flow_set and flow.role is not FlowRole.CONTROL
    ]


@pytest.mark.parametrize(("zones", "nodes_per_zone", "mesh"), [(2, 2, 12), (3, 1, 6), (1, 2, 2), (3, 3, 72)])
def test_every_pair_of_nodes_both_ways_and_two_control_flows_a_node(zones: int, nodes_per_zone: int, mesh: int) -> None:
    facts = make_facts(zones, nodes_per_zone)
    flows = make_flows(facts)
    nodes = zones * nodes_per_zone
    node = {endpoint.name: endpoint.node for endpoint in facts.endpoints}
    counts = Counter(flow.role for flow in flows)
    assert counts == {FlowRole.MESH: mesh, FlowRole.CONTROL: 2 * nodes, FlowRole.CALIBRATION: 1}
    assert [flow.id for flow in flows] == list(range(1, len(flows) + 1))
    assert all((node[flow.source] == node[flow.destination]) == (flow.role is FlowRole.CONTROL) for flow in flows)
    assert sum(flow.source == flow.destination for flow in flows) == nodes  # loopback, within each mesh pod


def test_the_calibration_flow_shares_its_destination_with_no_other_of_its_source_node() -> None:
    facts = make_facts(2, 2)
    flows = make_flows(facts, tuple(FlowSet))
    node = {endpoint.name: endpoint.node for endpoint in facts.endpoints}
    (spare,) = (flow for flow in flows if flow.role is FlowRole.CALIBRATION)
    sharing = [flow for flow in flows if flow.destination == spare.destination and node[flow.source] == node[spare.source]]
    assert sharing == [spare]


def test_nodes_with_one_pod_have_only_their_loopback_to_control() -> None:
    flows = make_flows(make_facts(2, 1, pods=("mesh",)))
    assert [(flow.source, flow.destination) for flow in flows if flow.role is not FlowRole.MESH] == [
        ("node-a1-mesh", "node-a1-mesh"),
        ("node-b1-mesh", "node-b1-mesh"),
    ]


def test_labels_are_unique_for_every_combination() -> None:
    facts = make_facts(2, 2)
    flows = make_flows(facts, tuple(FlowSet))
    labels = Counter(flow.label for flow in flows)
    assert [label for label, count in labels.items() if count > 1] == []


def test_full_size_flows_fill_the_pods_mtu() -> None:
    facts = make_facts(2, 1)
    assert {flow.octets for flow in of(facts, FlowSet.UDP_OVERLAY_MTU)} == {1480 - 28}
    assert {flow.octets for flow in of(facts, FlowSet.UDP_NATIVE_MTU)} == {1500 - 28}


def test_host_flows_join_a_node_and_the_pods_of_others() -> None:
    facts = make_facts(2, 1)
    assert [(flow.source, flow.destination) for flow in of(facts, FlowSet.HOST_TO_POD)] == [
        ("node-a1-host", "node-b1-mesh"),
        ("node-b1-host", "node-a1-mesh"),
    ]
    assert [(flow.source, flow.destination, flow.flow_class) for flow in of(facts, FlowSet.POD_TO_HOST)] == [
        ("node-a1-mesh", "node-b1-host", FlowClass.UDP),
        ("node-a1-mesh", "node-b1-host", FlowClass.TCP_CONNECT),
        ("node-b1-mesh", "node-a1-host", FlowClass.UDP),
        ("node-b1-mesh", "node-a1-host", FlowClass.TCP_CONNECT),
    ]


def test_service_flows_go_to_a_pod_of_the_same_zone_and_one_of_another_by_both_tcp_classes() -> None:
    facts = make_facts(2, 2)
    cluster_ip = of(facts, FlowSet.CLUSTER_IP)
    assert len(cluster_ip) == 4 * 2 * 2
    assert {flow.flow_class for flow in cluster_ip} == {FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT}
    first = [(flow.source, flow.destination, flow.via) for flow in cluster_ip[::2]][:2]
    assert first == [
        ("node-a1-mesh", "node-a2-mesh", "100.64.1.1:8620"),
        ("node-a1-mesh", "node-b1-mesh", "100.64.1.2:8620"),
    ]
    host = of(facts, FlowSet.HOST_CLUSTER_IP)[0]
    assert (host.source, host.via) == ("node-a1-host", "100.64.1.1:8620")
    node_port = of(facts, FlowSet.NODE_PORT)[0]
    assert (node_port.source, node_port.destination, node_port.via) == ("outside", "node-a2-mesh", "10.0.0.0:30001")


def test_only_the_mesh_is_probed_at_the_runs_own_rate() -> None:
    flows = make_flows(make_facts(2, 1), (FlowSet.UDP, FlowSet.ICMP), Nanoseconds(5 * MILLISECOND))
    assert {(flow.flow_set, flow.interval_ns) for flow in flows} == {
        (FlowSet.UDP, None),
        (FlowSet.ICMP, Nanoseconds(20 * MILLISECOND)),
    }
    assert {rate_hz(flow_class, 10.0) for flow_class in FlowClass} == {10.0}
    slow = make_flows(make_facts(2, 1), (FlowSet.UDP, FlowSet.ICMP), SECOND)
    assert {flow.interval_ns for flow in slow if flow.flow_set is FlowSet.ICMP} == {SECOND}


def test_a_set_asks_for_what_it_needs() -> None:
    assert capabilities_of([FlowSet.UDP]) == frozenset()
    assert capabilities_of([FlowSet.UDP, FlowSet.HOST_TO_POD]) == {Capability.HOST_ENDPOINTS}
    assert capabilities_of([FlowSet.ICMP]) == {Capability.FLOW_CLASSES}
    assert capabilities_of([FlowSet.NODE_PORT]) == {Capability.FLOW_CLASSES, Capability.NFT}


def test_a_set_that_the_cluster_has_no_endpoints_for_is_refused() -> None:
    facts = make_facts(2, 1)
    bare = replace(facts, services=(), endpoints=tuple(end for end in facts.endpoints if end.is_pod))
    for flow_set in (FlowSet.CLUSTER_IP, FlowSet.HOST_TO_POD):
        with pytest.raises(WorldError, match=flow_set):
            make_flows(bare, (FlowSet.UDP, flow_set))


@pytest.mark.parametrize("flow_sets", [(FlowSet.UDP,), tuple(FlowSet), (FlowSet.UDP, FlowSet.NODE_PORT)])
@pytest.mark.parametrize(("zones", "nodes_per_zone"), [(1, 2), (2, 2), (3, 3)])
def test_flows_are_counted_without_making_them(zones: int, nodes_per_zone: int, flow_sets: tuple[FlowSet, ...]) -> None:
    node_zones = tuple(zone for zone in "abc"[:zones] for _ in range(nodes_per_zone))
    made = len(make_flows(make_facts(zones, nodes_per_zone), flow_sets))
    assert made <= count_flows(node_zones, flow_sets, FULL_MESH) <= made + 12 * zones * nodes_per_zone


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))
def test_every_set_between_pods_and_hosts_keeps_to_the_mesh(zones: int, nodes_per_zone: int, times: int) -> None:
    facts = make_facts(zones, nodes_per_zone)
    mesh = Mesh(times=times)
    node_of = {end.name: end.node for end in facts.endpoints}
    names = [node.name for node in facts.nodes]
    pairs = {(names[source], names[other]) for source, other in mesh.pairs([node.zone for node in facts.nodes])}
    sets = (FlowSet.UDP, FlowSet.ICMP, FlowSet.TCP_CONNECT, FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST) if pairs else ()
    flows = [flow for flow in make_flows(facts, sets, mesh=mesh) if flow.role not in {FlowRole.CONTROL, FlowRole.CALIBRATION}]
    for flow_set in sets:
        assert {(node_of[f.source], node_of[f.destination]) for f in flows if f.flow_set is flow_set} == pairs


def make_dual(facts: ClusterFacts) -> ClusterFacts:
    return replace(
        facts,
        families=("IPv4", "IPv6"),
        families_probed=("IPv4", "IPv6"),
        nodes=tuple(replace(node, address6=f"fd00::{place + 1}") for place, node in enumerate(facts.nodes)),
        endpoints=tuple(replace(one, address6=f"fd00:1::{place + 1}") for place, one in enumerate(facts.endpoints)),
        services=tuple(replace(one, cluster_ip6=f"fd00:2::{place + 1}") for place, one in enumerate(facts.services)),
    )


def test_a_second_family_repeats_every_set_and_changes_no_flow_of_the_first() -> None:
    facts = make_facts(2, 2)
    single, dual = make_flows(facts, tuple(FlowSet)), make_flows(make_dual(facts), tuple(FlowSet))
    first, second = dual[: len(single)], dual[len(single) :]
    assert single == first
    assert {flow.ip_family for flow in second} == {IpFamily.IPV6}
    assert [flow.id for flow in dual] == list(range(1, len(dual) + 1))
    known = {(flow.source, flow.destination, flow.flow_set, flow.flow_class) for flow in second}
    assert known == {
        (flow.source, flow.destination, flow.flow_set, flow.flow_class)
        for flow in first
        if flow.role is not FlowRole.CALIBRATION
    }
    assert len(dual) <= count_flows("aabb", tuple(FlowSet), FULL_MESH, 2)


def test_the_headline_and_the_calibration_are_ipv4() -> None:
    dual = make_flows(make_dual(make_facts(2, 2)))
    roles = {family: Counter(flow.role for flow in dual if flow.ip_family is family) for family in IpFamily}
    assert roles == {
        IpFamily.IPV4: {FlowRole.MESH: 12, FlowRole.CONTROL: 8, FlowRole.CALIBRATION: 1},
        IpFamily.IPV6: {FlowRole.POD: 12, FlowRole.CONTROL: 8},
    }


def test_labels_tell_the_families_apart() -> None:
    labels = [flow.label for flow in make_flows(make_dual(make_facts(2, 2)), tuple(FlowSet))]
    assert len(set(labels)) == len(labels)
    assert "node-a1-mesh > node-b1-mesh IPv6" in labels
    assert "node-a1-mesh > node-b1-mesh icmp IPv6" in labels
    assert "outside > node-a2-mesh by fd00::1 node-port tcp-connect IPv6" in labels


def test_an_ipv6_packet_of_a_full_mtu_carries_20_octets_less() -> None:
    flows = [flow for flow in make_flows(make_dual(make_facts(2, 2)), (FlowSet.UDP_NATIVE_MTU,)) if flow.role is FlowRole.POD]
    assert {flow.ip_family: flow.octets for flow in flows if flow.flow_set is FlowSet.UDP_NATIVE_MTU} == {
        IpFamily.IPV4: 1472,
        IpFamily.IPV6: 1452,
    }


def test_a_family_without_addresses_is_refused() -> None:
    facts = replace(make_facts(2, 2), families_probed=("IPv4", "IPv6"))
    with pytest.raises(WorldError, match="no IPv6 endpoints for the flow set udp"):
        make_flows(facts)

"""Services and natOutgoing in the lab's nodes: one TCP connection each, and the source address that its far end sees."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from clusters.lab.machine import capabilities
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.namespaces import inside
from hitless.words import Capability, IpFamily, Mode
from tests.lab.needs import need

WAIT_S = 5.0


@pytest.fixture(params=[Mode.OVERLAY, Mode.NATIVE])
def lab(request: pytest.FixtureRequest) -> Iterator[LabNetwork]:
    need(Capability.NFT)
    has_ipv6 = Capability.IPV6 in capabilities()
    network = LabNetwork(LabSpec(start_mode=request.param, has_services=True, has_ipv6=has_ipv6))
    network.up()
    pods, nodes = network.spec.pods, network.spec.nodes
    for plane in network.planes.values():
        plane.set_pools(masqueraded=[pods], spared=[pods] if request.param is Mode.OVERLAY else [pods, nodes])
    yield network
    network.down()


def seen_from(lab: LabNetwork, source: str, address: str, port: int, destination: str) -> str:
    """Connect from an endpoint to an address; return the source address that the destination's listener sees."""
    family = IpFamily.IPV6 if ":" in address else IpFamily.IPV4
    domain = socket.AF_INET6 if family is IpFamily.IPV6 else socket.AF_INET
    own = {endpoint.name: endpoint.address_of(family) for endpoint in lab.all_endpoints}
    listening = next((service.port for service in lab.services), port)
    with inside(lab.namespace_path(destination.removesuffix("-host"))):
        listener = socket.create_server((own[destination], listening), family=domain)
    with inside(lab.namespace_path("vpc" if source == "outside" else source.removesuffix("-host"))):
        client = socket.socket(domain)
    with listener, client:
        listener.settimeout(WAIT_S)
        client.settimeout(WAIT_S)
        client.bind((own[source], 0))
        client.connect((address, port))
        accepted, peer = listener.accept()
        accepted.close()
        return str(peer[0])


def test_a_pod_reaches_a_pod_by_its_cluster_ip_under_its_own_address(lab: LabNetwork) -> None:
    service = lab.services[2]
    assert seen_from(lab, "node-a1-mesh", service.cluster_ip, service.port, "node-b1-mesh") == "100.96.0.2"


def test_a_node_port_masquerades_to_the_address_of_the_device_that_leads_to_the_pod(lab: LabNetwork) -> None:
    service, entry = lab.services[2], lab.nodes[0]
    expected = entry.tunnel_address if lab.spec.start_mode is Mode.OVERLAY else entry.address
    assert seen_from(lab, "outside", entry.address, service.node_port, "node-b1-mesh") == expected


def test_a_node_reaches_a_pod_by_its_cluster_ip_masqueraded_likewise(lab: LabNetwork) -> None:
    service, node = lab.services[2], lab.nodes[0]
    expected = node.tunnel_address if lab.spec.start_mode is Mode.OVERLAY else node.address
    assert seen_from(lab, "node-a1-host", service.cluster_ip, service.port, "node-b1-mesh") == expected


def test_nat_outgoing_hides_pods_from_nodes_in_overlay_mode_alone(lab: LabNetwork) -> None:
    node, other = lab.nodes[0], lab.nodes[2]
    expected = node.address if lab.spec.start_mode is Mode.OVERLAY else "100.96.0.2"
    assert seen_from(lab, "node-a1-mesh", other.address, lab.services[0].port, "node-b1-host") == expected
    for _ in range(2):
        lab.planes[node.name].set_pools(masqueraded=[lab.spec.pods], spared=[lab.spec.pods, lab.spec.nodes])
    assert seen_from(lab, "node-a1-mesh", other.address, lab.services[0].port, "node-b1-host") == "100.96.0.2"


def test_ipv6_is_masqueraded_by_a_node_port_alone_and_in_either_mode_to_the_nodes_own_address(lab: LabNetwork) -> None:
    need(Capability.IPV6)
    service, node, other = lab.services[2], lab.nodes[0], lab.nodes[2]
    found = [
        seen_from(lab, "node-a1-mesh", service.cluster_ip6, service.port, "node-b1-mesh"),
        seen_from(lab, "outside", node.address6, service.node_port, "node-b1-mesh"),
        seen_from(lab, "node-a1-host", service.cluster_ip6, service.port, "node-b1-mesh"),
        seen_from(lab, "node-a1-mesh", other.address6, service.port, "node-b1-host"),
    ]
    assert found == ["fd00:10:96::2", node.address6, node.address6, "fd00:10:96::2"]

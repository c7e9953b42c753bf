"""What an agent is told of a flow, in the flow's address family."""

from __future__ import annotations

from clusters.agent_groups import make_flow_settings
from hitless.facts import Endpoint, Flow, NodeFacts
from hitless.words import FlowClass, FlowId, FlowRole, FlowSet, IpFamily

NODE = NodeFacts(
    name="a",
    zone="a",
    address="10.0.0.1",
    pod_cidr="10.1.0.0/24",
    gateway="10.0.0.254",
    tunnel_address="10.1.0.1",
    address6="fd00::1",
)
ENDPOINTS = {
    one.name: one
    for one in (
        Endpoint(name="host", node="a", zone="a", address="10.0.0.1", address6="fd00::1", is_host=True),
        Endpoint(name="pod", node="b", zone="b", address="10.1.1.2", address6="fd00:1::2"),
        Endpoint(name="outside", node="vpc", zone="a", address="10.0.0.254", address6="fd00::fe", is_outside=True),
    )
}


def test_addresses_are_of_the_family() -> None:
    flow = Flow(id=FlowId(1), source="host", destination="pod", role=FlowRole.POD, ip_family=IpFamily.IPV6)
    found = make_flow_settings(flow, 1, ENDPOINTS)
    assert (found.source_address, found.destination_address, found.sent_to) == ("fd00::1", "fd00:1::2", "fd00:1::2")


def test_a_service_is_reached_at_its_address_and_port_and_may_be_masqueraded() -> None:
    flow = Flow(
        id=FlowId(1),
        source="outside",
        destination="pod",
        role=FlowRole.SERVICE,
        flow_class=FlowClass.TCP_CONNECT,
        flow_set=FlowSet.NODE_PORT,
        via="[fd00::1]:30001",
        ip_family=IpFamily.IPV6,
    )
    found = make_flow_settings(flow, 1, ENDPOINTS, (NODE,))
    assert (found.sent_to, found.port, found.rewritten_sources) == ("fd00::1", 30001, ("fd00::1",))

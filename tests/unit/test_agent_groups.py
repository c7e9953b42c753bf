"""Which agents share a process."""

from __future__ import annotations

from dataclasses import replace

from clusters.agent_groups import PROCESS, SHARED_HZ_MAX, TCP_COST, group_flows, share_processes
from hitless.facts import Flow, ProbeSpec
from hitless.words import SECOND, FlowClass, FlowId, FlowRole, IpFamily, Nanoseconds

SPEC = ProbeSpec(interval_ns=Nanoseconds(SECOND // 1000), drain_ns=SECOND, duration_ns_max=SECOND)
FLOWS = tuple(
    Flow(id=FlowId(number), source="a", destination="b", role=FlowRole.MESH) for number in range(1, SHARED_HZ_MAX // 1000 + 2)
)
AT_THE_LIMIT = FLOWS[:-1]
TCP = replace(FLOWS[0], flow_class=FlowClass.TCP_CONNECT)


def name_agents(*flows: Flow) -> dict[str, list[str]]:
    return {name: [group.agent for group in some] for name, some in share_processes(group_flows(flows, SPEC)).items()}


def test_all_roles_and_classes_share_a_process() -> None:
    assert name_agents(*FLOWS[:2], replace(TCP, id=FlowId(9))) == {
        PROCESS: ["reflector", "acceptor", "sender", "sender-tcp-44-1000hz"]
    }


def test_above_the_capacity_of_one_process_each_agent_has_its_own() -> None:
    assert name_agents(*AT_THE_LIMIT) == {PROCESS: ["reflector", "sender"]}
    assert name_agents(*FLOWS) == {"reflector": ["reflector"], "sender": ["sender"]}


def test_a_message_on_a_connection_weighs_as_much_as_many_datagrams() -> None:
    spared = SHARED_HZ_MAX // 1000 - TCP_COST
    assert list(name_agents(TCP, *FLOWS[1 : spared + 1])) == [PROCESS]
    assert PROCESS not in name_agents(TCP, *FLOWS[1 : spared + 2])


def test_without_flows_there_is_no_process() -> None:
    assert name_agents() == {}


def test_ipv6_has_agents_of_its_own_at_both_ends() -> None:
    second = [replace(flow, ip_family=IpFamily.IPV6) for flow in (FLOWS[0], TCP)]
    groups = group_flows([FLOWS[0], TCP, *second], SPEC)
    assert [(group.agent, group.ip_family) for group in groups] == [
        ("reflector", IpFamily.IPV4),
        ("reflector6", IpFamily.IPV6),
        ("acceptor", IpFamily.IPV4),
        ("acceptor6", IpFamily.IPV6),
        ("sender", IpFamily.IPV4),
        ("sender-tcp-44-1000hz", IpFamily.IPV4),
        ("sender-udp6-44-1000hz", IpFamily.IPV6),
        ("sender-tcp6-44-1000hz", IpFamily.IPV6),
    ]

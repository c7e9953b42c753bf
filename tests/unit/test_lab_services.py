"""The rules of kube-proxy and Felix in a node: what they say, before any kernel reads them."""

from clusters.lab.services import make_services, render_rules
from clusters.lab.spec import LabSpec, make_plan

PLAN = make_plan(LabSpec(has_services=True))
SERVICES = make_services(PLAN)


def rules() -> list[str]:
    return [line.strip() for line in render_rules(PLAN, PLAN.nodes[0], SERVICES, "tunl0").splitlines()]


def test_every_mesh_pod_has_a_service_of_its_own() -> None:
    assert [(one.cluster_ip, one.node_port, one.destination) for one in SERVICES] == [
        ("100.64.1.1", 30_000, "node-a1-mesh"),
        ("100.64.1.2", 30_001, "node-a2-mesh"),
        ("100.64.1.3", 30_002, "node-b1-mesh"),
        ("100.64.1.4", 30_003, "node-b2-mesh"),
    ]
    assert len(make_services(make_plan(LabSpec(nodes_per_zone=200)))) == 254


def test_cluster_ips_and_pods_lie_in_the_networks_of_the_shoot() -> None:
    plan = make_plan(LabSpec(has_services=True, services="10.9.0.0/23", pods="10.4.0.0/14"))
    services = make_services(plan)
    assert [service.cluster_ip for service in services] == ["10.9.1.1", "10.9.1.2", "10.9.1.3", "10.9.1.4"]
    assert "ip saddr != 10.4.0.0/14 ip daddr { 10.9.1.1, " in render_rules(plan, plan.nodes[0], services, "tunl0")


def test_a_node_port_is_marked_translated_and_masqueraded() -> None:
    assert "ip daddr 10.250.0.11 tcp dport @node-ports meta mark set meta mark | 0x4000" in rules()
    translated = "30000 : 100.96.0.2, 30001 : 100.96.1.2, 30002 : 100.96.2.2, 30003 : 100.96.3.2"
    assert f"ip daddr 10.250.0.11 dnat to tcp dport map {{ {translated} }} : 8620" in rules()
    assert "meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade" in rules()


def test_a_cluster_ip_is_masqueraded_for_callers_outside_the_pod_network_alone() -> None:
    (marked,) = (line for line in rules() if line.startswith("ip saddr != 100.96.0.0/11"))
    assert marked.endswith("tcp dport 8620 meta mark set meta mark | 0x4000")
    assert "100.64.1.4" in marked


def test_felix_masquerades_what_the_node_sends_into_the_tunnel_and_what_pods_send_elsewhere() -> None:
    assert 'oifname "tunl0" fib saddr type local ip saddr != 100.96.0.1 masquerade' in rules()
    assert "ip saddr @masq-pools ip daddr != @ipam-pools masquerade" in rules()


def test_a_dual_stack_lab_has_the_same_rules_for_ipv6() -> None:
    plan = make_plan(LabSpec(has_services=True, has_ipv6=True))
    services = make_services(plan)
    text = render_rules(plan, plan.nodes[0], services, "tunl0")
    assert services[0].cluster_ip6 == "fd00:10:64::101"
    assert "table ip6 kube-proxy {" in text
    assert "ip6 daddr fd00:10:250::b dnat to tcp dport map { 30000 : fd00:10:96::2, 30001 : fd00:10:96:0:1::2, " in text
    assert "ip6" not in "".join(rules())

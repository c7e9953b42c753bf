"""What kind offers: host-network probers and the addresses of a node's packets, faults, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kind.cluster import roles_of
from clusters.kind.machine import KIND_FAULTS, capabilities_missing, kernel_capabilities
from clusters.kubernetes.node_objects import read_tunnel_address
from clusters.kubernetes.prober_manifests import PodRole
from hitless.faults import FAULTS, OF_SWITCH
from hitless.words import Capability, FlowSet, JsonObject, Overlay
from tests.cases import case_of


def node(annotations: dict[str, str] | None = None, cidr: str | None = "100.96.3.0/24") -> JsonObject:
    spec = {} if cidr is None else {"podCIDR": cidr}
    return {"kind": "Node", "metadata": {"name": "n", "annotations": annotations}, "spec": spec}


@pytest.mark.parametrize(
    ("document", "overlay", "address"),
    [
        (node(), Overlay.IPIP, "100.96.3.1"),
        (node({"projectcalico.org/IPv4IPIPTunnelAddr": "100.96.3.7"}), Overlay.IPIP, "100.96.3.7"),
        (node({"projectcalico.org/IPv4IPIPTunnelAddr": "100.96.3.7"}), Overlay.VXLAN, ""),
        (node({"projectcalico.org/IPv4VXLANTunnelAddr": "100.96.9.64"}), Overlay.VXLAN, "100.96.9.64"),
        (node(cidr=None), Overlay.IPIP, ""),
        (node(cidr="fd00::/64"), Overlay.IPIP, ""),
    ],
)
def test_a_tunnels_address_is_calicos_word_or_the_blocks_first(document: JsonObject, overlay: Overlay, address: str) -> None:
    assert address == read_tunnel_address(document, overlay)


def test_a_node_gets_a_prober_in_its_own_network_only_where_a_flow_needs_it() -> None:
    assert roles_of([FlowSet.UDP, FlowSet.ICMP]) == (PodRole.MESH, PodRole.CONTROL)
    for flow_set in (FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST):
        assert roles_of([FlowSet.UDP, flow_set]) == (PodRole.MESH, PodRole.CONTROL, PodRole.HOST)


@pytest.fixture
def everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose kernel has both overlays."""
    offered = kernel_capabilities() | {Capability.OVERLAY_IPIP, Capability.OVERLAY_VXLAN}
    monkeypatch.setattr("clusters.kind.machine.kernel_capabilities", lambda: offered)


@pytest.mark.usefixtures("everything_else")
def test_kind_offers_every_flow_between_pods_and_nodes_and_no_service() -> None:
    between = (FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST, FlowSet.ICMP, FlowSet.TCP_ESTABLISHED, FlowSet.UDP_OVERLAY_MTU)
    assert capabilities_missing(case_of("plain-switch", *between)) == ()
    assert capabilities_missing(case_of("plain-switch", FlowSet.CLUSTER_IP)) == (Capability.NFT,)
    assert capabilities_missing(case_of("plain-switch", FlowSet.POD_TO_HOST, FlowSet.NODE_PORT)) == ("nft",)


@pytest.mark.usefixtures("everything_else")
def test_host_flows_need_a_tunnel_whose_address_is_known_before_it_is_there() -> None:
    refused = ("host-endpoints whose tunnel's address is known beforehand",)
    for flow_set in (FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST):
        assert refused == capabilities_missing(case_of("native-to-overlay", flow_set, overlay=Overlay.VXLAN))
        assert capabilities_missing(case_of("native-to-overlay", flow_set)) == ()
        assert capabilities_missing(case_of("plain-switch", flow_set, overlay=Overlay.VXLAN)) == ()
    assert capabilities_missing(case_of("native-to-overlay", overlay=Overlay.VXLAN)) == ()


@pytest.mark.usefixtures("everything_else")
def test_what_a_kind_cluster_cannot_break_is_missing_by_its_name() -> None:
    assert capabilities_missing(case_of("node-joins-during-hold")) == ("the fault node-unregistered",)
    for scenario in ("route-lost-after-opening", "calico-restart-before", "source-check-on", "node-leaves-during-hold"):
        assert capabilities_missing(case_of(scenario)) == ()
    unwritable = ("Node objects that only the run writes (kubelet and API server own deletion and Ready)",)
    for scenario in ("node-deleting-without-route", "node-not-ready"):
        assert capabilities_missing(case_of(scenario)) == unwritable
    assert capabilities_missing(case_of("stale-condition")) == ()
    assert capabilities_missing(case_of("extension-restart")) == ()


@pytest.mark.usefixtures("everything_else")
def test_a_dual_stack_shoot_is_refused_by_name() -> None:
    assert capabilities_missing(case_of("dual-stack")) == ("ipv6 (kind clusters are IPv4 only)",)


@pytest.mark.usefixtures("everything_else")
def test_the_node_of_the_control_plane_cannot_leave() -> None:
    case = case_of("node-leaves-during-hold")
    steps = tuple(step.model_copy(update={"options": {"node": "node-a1"}}) for step in case.scenario.faults)
    without = replace(case, scenario=case.scenario.model_copy(update={"faults": steps}))
    assert capabilities_missing(without) == ("a control plane on another node than node-a1, which leaves",)


def test_the_documentation_says_of_every_fault_whether_kind_can_perform_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "kind.md").read_text(encoding="utf-8")
    table = text.partition("## Which faults a kind cluster can perform")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    said = {name: answer.split()[0].rstrip(";") for names, answer in rows for name in re.findall(r"`([^`]+)`", names)}
    assert {name: "yes" if name in KIND_FAULTS | OF_SWITCH else "no" for name in FAULTS} == said

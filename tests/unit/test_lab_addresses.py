"""Names and addresses of a lab."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.lab.spec import NODES_PER_ZONE_MAX, ZONES_MAX, LabSpec, make_plan
from hitless.errors import UsageError

SPECS = st.builds(
    LabSpec,
    zones=st.integers(1, ZONES_MAX),
    nodes_per_zone=st.integers(1, 12),
    pods=st.sampled_from(("100.96.0.0/11", "10.4.0.0/14")),
    nodes=st.sampled_from(("10.250.0.0/16", "172.20.32.0/19")),
    node_mask=st.sampled_from((24, 25)),
    block_mask=st.sampled_from((None, 26)),
)
LARGEST = LabSpec(zones=ZONES_MAX, nodes_per_zone=NODES_PER_ZONE_MAX, block_mask=26)


def test_the_first_and_the_last_node_of_the_smallest_real_lab() -> None:
    nodes = make_plan(LabSpec()).nodes
    assert [node.name for node in nodes] == ["node-a1", "node-a2", "node-b1", "node-b2"]
    last = nodes[-1]
    assert (last.address, last.gateway, last.pod_cidr) == ("10.250.1.12", "10.250.1.1", "100.96.3.0/24")
    assert (last.tunnel_address, last.mesh.address, last.control.address) == ("100.96.3.1", "100.96.3.2", "100.96.3.3")
    assert (last.mesh.name, last.control.name) == ("node-b2-mesh", "node-b2-control")


def check_plan(spec: LabSpec) -> None:
    plan = make_plan(spec)
    nodes = plan.nodes
    assert len(nodes) == spec.zones * spec.nodes_per_zone
    pods = [pod for node in nodes for pod in node.pods]
    addresses = [node.address for node in nodes] + [node.tunnel_address for node in nodes] + [pod.address for pod in pods]
    macs = [node.mac for node in nodes] + [node.tunnel_mac for node in nodes] + [pod.mac for pod in pods]
    macs += [zone.mac for zone in plan.zones]
    names = [node.name for node in nodes] + [pod.name for pod in pods]
    for unique in (addresses, macs, names, [pod.device for pod in pods], [node.port_index for node in nodes]):
        assert Counter(unique).most_common(1)[0][1] == 1
    assert max(len(name) for name in [*(pod.device for pod in pods), *(node.name for node in nodes)]) <= 15
    subnets = {zone.name: IPv4Network(zone.subnet) for zone in plan.zones}
    shoot = IPv4Network(spec.pods)
    blocks = [IPv4Network(node.block) for node in nodes]
    cidrs = [IPv4Network(node.pod_cidr) for node in nodes]
    for node, block, cidr in zip(nodes, blocks, cidrs, strict=True):
        assert IPv4Address(node.address) in subnets[node.zone]
        assert subnets[node.zone].subnet_of(IPv4Network(spec.nodes))
        assert cidr.prefixlen == spec.node_mask
        assert block.subnet_of(shoot)
        assert cidr.subnet_of(shoot)
        assert all(IPv4Address(address) in block for address in (node.tunnel_address, node.mesh.address, node.control.address))
    has_own_blocks = spec.block_mask is not None
    ordered = sorted([*cidrs, *blocks] if has_own_blocks else cidrs)
    assert all(one.broadcast_address < two.network_address for one, two in pairwise(ordered))
    assert has_own_blocks == (blocks != cidrs)


@given(SPECS)
def test_nothing_is_given_twice_and_everything_lies_where_it_should(spec: LabSpec) -> None:
    check_plan(spec)


def test_the_largest_lab_fits() -> None:
    check_plan(LARGEST)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zones": 0}, "lab: zones: found 0; expected 1 to 26"),
        ({"zones": 27}, "lab: zones: found 27; expected 1 to 26"),
        ({"nodes_per_zone": 201}, "lab: nodes_per_zone: found 201; expected 1 to 200"),
        ({"rp_filter": 3}, "lab: rp_filter: found 3; expected 0 to 2"),
        (
            {"pods": "100.96.0.0/24"},
            "lab: spec.networking.pods: found 100.96.0.0/24; expected /22 or larger, to fit 4 podCIDRs with a /24 each",
        ),
        (
            {"pods": "100.96.0.0/22", "block_mask": 26},
            "lab: spec.networking.pods: found 100.96.0.0/22; expected /21 or larger, to fit 4 podCIDRs with a /24 each",
        ),
        (
            {"nodes": "10.0.0.0/24"},
            "lab: spec.networking.nodes: found 10.0.0.0/24; expected /23 or larger, to fit 2 zones with a /24 each",
        ),
        (
            {"services": "10.0.0.0/24", "has_services": True},
            "lab: spec.networking.services: found 10.0.0.0/24; expected /23 or larger, to fit the lab's Services",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LabSpec(**values)  # type: ignore[arg-type] # only one of them is wrong
    assert str(caught.value).startswith(message)


def test_neighbours_are_written_by_hand_above_20_nodes() -> None:
    assert [LabSpec(nodes_per_zone=n).has_permanent_neighbours for n in (10, 11)] == [False, True]


def test_a_dual_stack_lab_has_a_subnet_a_zone_and_a_prefix_a_node() -> None:
    plan = make_plan(LabSpec(has_ipv6=True))
    last = plan.nodes[-1]
    assert (plan.zones[1].subnet6, plan.zones[1].gateway6) == ("fd00:10:250:1::/64", "fd00:10:250:1::1")
    assert (last.address6, last.pod_cidr6) == ("fd00:10:250:1::c", "fd00:10:96:0:3::/80")
    assert [pod.address6 for pod in last.pods] == ["fd00:10:96:0:3::2", "fd00:10:96:0:3::3"]
    assert {one.address6 for one in make_plan(LabSpec()).endpoints} == {""}

"""The lab's node planes: the contract of the seam, and that packets follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from clusters.lab.calico.plane import NodePlane
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.namespaces import inside
from clusters.linux.netlink import Netlink, list_links
from clusters.linux.netlink_messages import Link, add_bridge, rename_link
from hitless.errors import WorldError
from hitless.facts import CloudRoute, NodeFacts
from hitless.words import Mode, Overlay
from tests.lab.conformance.node_plane import Blocks, NodePlaneConformance
from tests.lab.lab_traffic import QUIET_S, missing_pairs, pod_sockets


@pytest.fixture(params=list(Overlay))
def lab(request: pytest.FixtureRequest) -> Iterator[LabNetwork]:
    lab = LabNetwork(LabSpec(overlay=request.param))
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def plane(lab: LabNetwork) -> NodePlane:
    return lab.planes["node-a1"]


@pytest.fixture
def facts(lab: LabNetwork) -> NodeFacts:
    return lab.nodes[0]


@pytest.fixture
def peers(lab: LabNetwork) -> Sequence[NodeFacts]:
    return lab.nodes[1:]


@pytest.fixture
def blocks(lab: LabNetwork) -> Blocks:
    return {node.name: node.block for node in lab.plan.nodes}


@pytest.fixture
def tunnel_device(lab: LabNetwork) -> str:
    return lab.carrier.device


class TestLabNodePlane(NodePlaneConformance):
    pass


def switch(lab: LabNetwork, mode: Mode) -> None:
    for plane in lab.planes.values():
        plane.repoint(mode, [peer for peer in lab.planes if peer != plane.node])


def across(lab: LabNetwork) -> set[tuple[str, str]]:
    """Return all pairs of pods in different zones."""
    return {(one.name, two.name) for one in lab.endpoints for two in lab.endpoints if one.zone != two.zone}


def test_ungated_pairs_across_zones_lose_until_the_cloud_has_routes(overlay_lab: LabNetwork) -> None:
    lab = overlay_lab
    with pod_sockets(lab) as sockets:
        switch(lab, Mode.NATIVE)
        assert across(lab) == missing_pairs(lab, sockets, QUIET_S)
        for zone in lab.tables.zones():
            for node in lab.nodes:
                lab.tables.create(CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name))
        assert set() == missing_pairs(lab, sockets)
        for plane in lab.planes.values():
            plane.cleanup_routes()
        assert set() == missing_pairs(lab, sockets)


def test_after_cleanup_without_cloud_routes_only_pods_of_one_node_reach_each_other(overlay_lab: LabNetwork) -> None:
    lab = overlay_lab
    for plane in lab.planes.values():
        plane.cleanup_routes()
    expected = {(one.name, two.name) for one in lab.endpoints for two in lab.endpoints if one.node != two.node}
    with pod_sockets(lab) as sockets:
        assert expected == missing_pairs(lab, sockets, QUIET_S)


@pytest.mark.parametrize(("rp_filter", "is_delivered"), [(0, True), (1, False), (2, True)])
def test_a_strict_filter_drops_what_comes_native_to_a_node_in_overlay(rp_filter: int, *, is_delivered: bool) -> None:
    lab = LabNetwork(LabSpec(rp_filter=rp_filter))
    lab.up()
    try:
        lab.planes["node-a1"].repoint(Mode.NATIVE, ["node-a2"])
        with pod_sockets(lab) as sockets:
            lost = missing_pairs(lab, sockets, QUIET_S)
    finally:
        lab.down()
    both = {(f"node-a1-{one}", f"node-a2-{two}") for one in ("mesh", "control") for two in ("mesh", "control")}
    # The way back is encapsulated by node-a2, and its inner source is not behind node-a1's tunnel either.
    assert (set() if is_delivered else both | {(two, one) for one, two in both}) == lost


def test_a_vxlan_node_without_its_device_hears_nothing(vxlan_lab: LabNetwork) -> None:
    lab = vxlan_lab
    lab.planes["node-b1"].set_tunnel(present=False)
    with pod_sockets(lab) as sockets:
        lost = missing_pairs(lab, sockets, QUIET_S)
    names = {endpoint.name: endpoint.node for endpoint in lab.endpoints}
    expected = {(one, two) for one in names for two in names if (names[one] == "node-b1") != (names[two] == "node-b1")}
    assert expected == lost


def test_pods_of_calico_ipam_are_not_covered_by_cloud_routes(vxlan_lab: LabNetwork) -> None:
    lab = vxlan_lab
    for zone in lab.tables.zones():
        for node in lab.nodes:
            lab.tables.create(CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name))
    switch(lab, Mode.NATIVE)
    with pod_sockets(lab) as sockets:
        assert across(lab) == missing_pairs(lab, sockets, QUIET_S)


def test_a_refusal_says_what_was_asked_and_why(overlay_lab: LabNetwork) -> None:
    plane = overlay_lab.planes["node-a1"]
    plane.set_tunnel(present=False)
    with pytest.raises(WorldError, match=r"node-a1: (the device tunl0 does not exist|route add .* ENETDOWN)"):
        plane.repoint(Mode.OVERLAY, ["node-b1"])


def test_a_device_of_another_kind_is_not_taken_for_the_tunnel(overlay_lab: LabNetwork) -> None:
    plane = overlay_lab.planes["node-a1"]
    plane.set_tunnel(present=False)
    with inside(overlay_lab.namespace_path("node-a1")), Netlink() as netlink:
        for link in list_links(netlink):
            if link.name == "tunl0":  # the ipip module's own, which cannot be deleted
                netlink.execute([rename_link(link.index, "module")])
        netlink.execute([add_bridge(Link(name="tunl0"))])
    with pytest.raises(WorldError, match="the kernel already has a device of kind bridge"):
        plane.set_tunnel(present=True)

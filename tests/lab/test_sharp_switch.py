"""The sharp switch: packets that are forwarded to its addresses are dropped from one instant to the next, and no others."""

from __future__ import annotations

import socket

from clusters.lab.network import LabNetwork
from clusters.lab.sharp_switch import SharpSwitch
from clusters.linux.namespaces import inside
from clusters.linux.netlink import Netlink, list_links, list_routes
from probes.netlink import SeenLink, SeenRoute

TIMEOUT_S = 0.2


def receives(lab: LabNetwork, source: str, destination: str) -> bool:
    """Whether a datagram from one mesh pod reaches another."""
    addresses = {endpoint.name: endpoint.address for endpoint in lab.endpoints}
    with inside(lab.namespace_path(destination)):
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(lab.namespace_path(source)):
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with here, there:
        there.bind((addresses[destination], 0))
        there.settimeout(TIMEOUT_S)
        here.sendto(b"probe", there.getsockname())
        try:
            there.recv(16)
        except TimeoutError:
            return False
        return True


def test_it_drops_and_restores_what_goes_to_its_node_only(overlay_lab: LabNetwork) -> None:
    nodes = {node.name: node.address for node in overlay_lab.nodes}
    paths = [("node-a1-mesh", "node-b1-mesh"), ("node-b1-mesh", "node-a1-mesh"), ("node-a1-mesh", "node-b2-mesh")]
    seen = []
    with SharpSwitch(overlay_lab, [nodes["node-b1"]]) as switch:
        for act in (switch.restore, switch.drop, switch.restore):
            before_ns, after_ns = act()
            assert before_ns <= after_ns
            seen.append([receives(overlay_lab, *path) for path in paths])
    seen.append([receives(overlay_lab, *path) for path in paths])
    assert seen == [[True, True, True], [False, True, True], [True, True, True], [True, True, True]]


def test_pods_are_dropped_likewise_where_the_router_sees_them(native_lab: LabNetwork) -> None:
    pods = {endpoint.name: endpoint.address for endpoint in native_lab.endpoints}
    with SharpSwitch(native_lab, [pods["node-b1-mesh"]]) as switch:
        switch.drop()
        assert not receives(native_lab, "node-a1-mesh", "node-b1-mesh")
        assert receives(native_lab, "node-a1-mesh", "node-b1-control")


def test_it_leaves_the_router_as_it_was(overlay_lab: LabNetwork) -> None:
    def look() -> tuple[list[SeenLink], list[list[SeenRoute]]]:
        tables = [zone.table for zone in overlay_lab.plan.zones]
        with Netlink(overlay_lab.namespace_path("vpc")) as netlink:
            return list_links(netlink), [list_routes(netlink, table) for table in tables]

    before = look()
    with SharpSwitch(overlay_lab, [node.address for node in overlay_lab.nodes]):
        assert look() != before
    assert look() == before

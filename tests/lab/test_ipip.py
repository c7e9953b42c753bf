"""IPIP on the wire, where the kernel has it: what is between two nodes before the switch and after it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet

from clusters.lab.machine import ipip_carriers
from clusters.lab.network import LabNetwork
from clusters.linux.netlink import Netlink, list_links
from hitless.facts import CloudRoute
from hitless.history import History
from hitless.words import IpipCarrier, Mode
from tests.lab.capture import Frame, capturing
from tests.lab.lab_traffic import PORT, Sockets, missing_pairs, pod_sockets
from tests.lab.wire_session import make_flows, probe

A1, A2, B1 = "node-a1", "node-a2", "node-b1"
PODS = {A1: "100.96.0.2", A2: "100.96.1.2", B1: "100.96.2.2"}
NODES = {A1: "10.250.0.11", A2: "10.250.0.12", B1: "10.250.1.11"}
IPIP = 4
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
"""Source: linux/in.h."""


@pytest.fixture
def ipip_lab(overlay_lab: LabNetwork) -> LabNetwork:
    if IpipCarrier.IPIP not in ipip_carriers():
        pytest.skip("missing: a kernel with ipip")
    return overlay_lab


def switch_to_native(lab: LabNetwork) -> None:
    for zone in lab.tables.zones():
        for node in lab.nodes:
            lab.tables.create(CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name))
    for plane in lab.planes.values():
        plane.repoint(Mode.NATIVE, [peer for peer in lab.planes if peer != plane.node])


def between_pods(frames: Iterable[Frame], source: str, destination: str) -> list[Packet]:
    """Return the UDP packets from one node's pod to another's, whole: the outermost header first."""
    ends = (PODS[source], PODS[destination])
    return [frame.packet for frame in frames if UDP in frame.packet and ends_of(frame.packet) == ends]


def ends_of(packet: Packet) -> tuple[str, str]:
    inner = packet[IP].payload if packet.proto == IPIP else packet
    return inner.src, inner.dst


def send(sockets: Sockets, source: str, destination: str, *, octets: int = 48, has_df: bool = True) -> None:
    """Send one packet of that many octets, IP header and all, and wait for it."""
    sender = sockets[f"{source}-mesh"]
    sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO if has_df else IP_PMTUDISC_DONT)
    sender.sendto(bytes(octets - 28), (PODS[destination], PORT))
    receiver = sockets[f"{destination}-mesh"]
    receiver.settimeout(5)
    assert octets - 28 == len(receiver.recv(2048))


def pod_mtus(lab: LabNetwork) -> set[int]:
    found = set()
    for endpoint in lab.endpoints:
        with Netlink(lab.namespace_path(endpoint.name)) as netlink:
            found |= {link.mtu for link in list_links(netlink) if link.name == "eth0"}
    return found


def test_before_the_switch_nodes_carry_pod_packets_in_ipip_and_after_it_none(ipip_lab: LabNetwork, tmp_path: Path) -> None:
    flows = make_flows((f"{A1}-mesh", f"{B1}-mesh"), (f"{A1}-mesh", f"{A2}-mesh"))
    with capturing(ipip_lab, (A1, "eth0"), ("vpc", "br-b")) as captures:
        before = probe(ipip_lab, flows, tmp_path / "before")
        at_node, at_router = (tuple(one.frames()) for one in captures)
        switch_to_native(ipip_lab)
        after = probe(ipip_lab, flows, tmp_path / "after")
        native_at_node, native_at_router = (tuple(one.frames()) for one in captures)
    for there, back, flow, frames in ((A1, B1, 1, at_node), (A1, A2, 2, at_node), (A1, B1, 1, at_router)):
        for source, destination in ((there, back), (back, there)):
            found = between_pods(frames, source, destination)
            assert len(found) == count_probes(before, flow)
            assert {(IPIP, NODES[source], NODES[destination])} == {(one.proto, one.src, one.dst) for one in found}
    for there, back, flow, frames in ((A1, B1, 1, native_at_node), (A1, A2, 2, native_at_node), (A1, B1, 1, native_at_router)):
        for source, destination in ((there, back), (back, there)):
            found = between_pods(frames, source, destination)
            assert len(found) == count_probes(after, flow)
            assert {socket.IPPROTO_UDP} == {one.proto for one in found}


def count_probes(history: History, flow: int) -> int:
    return int((history.records.sender["flow"] == flow).sum())


@pytest.mark.parametrize("has_df", [True, False])
def test_the_outer_header_takes_ttl_and_df_of_the_inner_one(ipip_lab: LabNetwork, *, has_df: bool) -> None:
    with pod_sockets(ipip_lab) as sockets:
        assert set() == missing_pairs(ipip_lab, sockets)
        with capturing(ipip_lab, (A1, "eth0"), (B1, "eth0")) as captures:
            send(sockets, A1, B1, has_df=has_df)
            (leaving,), (arriving,) = (between_pods(one.frames(), A1, B1) for one in captures)
    # A pod's packet starts with 64, and its node has forwarded it once. The router sees the outer header alone.
    # Source: Linux net/ipv4/ip_tunnel.c, ip_tunnel_xmit: ttl and DF are inherited where the device has none of its own.
    for packet, outer_ttl in ((leaving, 63), (arriving, 62)):
        inner = packet[IP].payload
        assert (outer_ttl, 63) == (packet.ttl, inner.ttl)
        assert (has_df, has_df) == (packet.flags.DF, inner.flags.DF)


def test_a_pod_of_the_overlay_fills_the_underlays_mtu_with_20_octets_of_ipip(ipip_lab: LabNetwork) -> None:
    assert pod_mtus(ipip_lab) == {1480}
    with pod_sockets(ipip_lab) as sockets:
        assert set() == missing_pairs(ipip_lab, sockets)
        with capturing(ipip_lab, (A1, "eth0")) as captures:
            send(sockets, A1, B1, octets=1480)
            (packet,) = between_pods(captures[0].frames(), A1, B1)
        assert (packet.len, packet[IP].payload.len) == (1500, 1480)
        with pytest.raises(OSError, match="Message too long"):
            send(sockets, A1, B1, octets=1481)


def test_a_pod_made_after_the_switch_has_the_underlays_mtu(native_lab: LabNetwork) -> None:
    assert pod_mtus(native_lab) == {1500}
    with pod_sockets(native_lab) as sockets:
        assert set() == missing_pairs(native_lab, sockets)
        with capturing(native_lab, (A1, "eth0")) as captures:
            send(sockets, A1, B1, octets=1500)
            (packet,) = between_pods(captures[0].frames(), A1, B1)
    assert (packet.proto, packet.len) == (socket.IPPROTO_UDP, 1500)

"""IPv6 probes across a router, as they are on the wire: hop limit, checksum, never cut; and what strangers are told."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from pyroute2 import IPRoute
from scapy.compat import raw
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether

from clusters.linux.namespaces import THREAD_NETWORK, Clone, inside, return_home, unshare
from clusters.linux.netlink import Netlink, list_links, list_unready_addresses6
from hitless.clock import wait_until
from hitless.records import Rows, encode_address, read_record
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.reflector import Reflector
from probes.sender import Sender
from probes.settings import AgentSettings
from tests.unit.exchange import WAIT_S, datagrams, make_settings

POD, PEER, STRANGER = "fd00:a::2", "fd00:b::2", "fd00:b::9"
GATEWAYS = {"pod": "fd00:a::1", "peer": "fd00:b::1"}
ETH_P_ALL, ETH_P_IPV6 = 3, 0x86DD
MTU = 1500
HEADERS_OCTETS = 48
"""IPv6 and UDP. Source: RFC 8200 3 (40), RFC 768 (8)."""
__all__ = ["datagrams"]


@dataclass(frozen=True, kw_only=True)
class Net:
    """Namespaces by name, each as a path: pod, router and peer in a row."""

    paths: dict[str, Path]

    def capture(self, name: str) -> socket.socket:
        """Return a packet socket on a namespace's eth0."""
        with inside(self.paths[name]):
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))  # others do not see what leaves
            opened.bind(("eth0", ETH_P_ALL))
        opened.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return opened


def write_sysctl(name: str, value: int) -> None:
    (Path("/proc/sys/net/ipv6/conf") / name).write_text(str(value))


def address_eth0(name: str, *addresses: str) -> None:
    with IPRoute() as route:
        (loopback,), (index,) = (route.link_lookup(ifname=device) for device in ("lo", "eth0"))
        for device in (loopback, index):
            route.link("set", index=device, state="up")
        for address in addresses:
            route.addr("add", index=index, address=address, prefixlen=64, family=socket.AF_INET6)
        route.route("add", dst="::/0", gateway=GATEWAYS[name], family=socket.AF_INET6)


def wait_addresses(name: str, path: Path) -> None:
    with inside(path):
        netlink = Netlink(name=name)
    try:
        wait_until(
            lambda: not list_unready_addresses6(netlink, list_links(netlink)),
            timeout_s=WAIT_S,
            poll_s=0.002,
            unmet=f"addresses of {name}",
        )
    finally:
        netlink.close()


@pytest.fixture
def net() -> Iterator[Net]:
    with ExitStack() as stack:
        paths = {}
        for name in ("pod", "peer", "router"):
            with return_home():
                unshare(Clone.NETWORK)
                descriptor = os.open(THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
                for scope in ("all", "default"):
                    write_sysctl(f"{scope}/disable_ipv6", 0)
                    write_sysctl(f"{scope}/accept_dad", 0)
                write_sysctl("all/forwarding", int(name == "router"))
            stack.callback(os.close, descriptor)
            paths[name] = Path(f"/proc/self/fd/{descriptor}")
        with inside(paths["router"]), IPRoute() as route:
            for name, gateway in GATEWAYS.items():
                there = int(paths[name].name)
                route.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_fd": there})
                (index,) = route.link_lookup(ifname=name)
                route.link("set", index=index, state="up")
                route.addr("add", index=index, address=gateway, prefixlen=64, family=socket.AF_INET6)
        with inside(paths["pod"]):
            address_eth0("pod", POD)
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
        with inside(paths["peer"]):
            address_eth0("peer", PEER, STRANGER)
        for name, path in paths.items():
            wait_addresses(name, path)
        yield Net(paths=paths)


def settings_of(
    net: Net, directory: Path, *, octets: int = 44, sends: bool, flow_class: FlowClass = FlowClass.UDP
) -> AgentSettings:
    name, own, other = ("pod", POD, PEER) if sends else ("peer", PEER, POD)
    namespace = str(net.paths[name])
    return make_settings(
        directory, own, destinations=[other], octets=octets, sends=sends, namespace=namespace, flow_class=flow_class
    )


def make_sender(settings: AgentSettings, datagrams: ModuleType) -> Sender:
    return Sender(settings, Bridge(0), GrowingTable(settings.directory / "x.skipped", "skipped", {}), {}, datagrams)


def make_reflector(settings: AgentSettings, datagrams: ModuleType) -> Reflector:
    return Reflector(settings, Bridge(0), GrowingTable(settings.directory / "x.reflector", "reflector", {}), datagrams)


def wait_readable(opened: socket.socket | int) -> None:
    assert select.select([opened], [], [], WAIT_S)[0]


def read_packets(capture: socket.socket, kind: type[UDP | ICMPv6EchoRequest]) -> list[IPv6]:
    """Return what was captured of a kind, in order; each has the checksum that scapy computes."""
    packets = []
    while select.select([capture], [], [], 0)[0]:
        octets, address = capture.recvfrom(65_535)
        if address[1] != ETH_P_IPV6:
            continue
        packet = Ether(octets)[IPv6]
        assert IPv6ExtHdrFragment not in packet
        if kind not in packet:
            continue
        field = "chksum" if kind is UDP else "cksum"
        again = packet.copy()
        again[kind].delfieldval(field)
        assert getattr(IPv6(raw(again))[kind], field) == getattr(packet[kind], field)
        packets.append(packet)
    return packets


def set_offload_off(opened: socket.socket, device: str) -> None:
    """Turn a device's transmit checksums off. Source: linux/ethtool.h ETHTOOL_STXCSUM, linux/sockios.h SIOCETHTOOL."""
    value = array.array("B", struct.pack("II", 0x17, 0))
    request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
    fcntl.ioctl(opened, 0x8946, request + bytes(16))


def without_offload(net: Net) -> None:
    """Have the kernel write checksums itself: between veth devices it would leave them to a device."""
    for name in ("pod", "peer"):
        with inside(net.paths[name]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            set_offload_off(opened, "eth0")
    with inside(net.paths["router"]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        for name in GATEWAYS:
            set_offload_off(opened, name)


def test_probes_and_answers_cross_a_router_whole(net: Net, tmp_path: Path, datagrams: ModuleType) -> None:
    without_offload(net)
    sender = make_sender(settings_of(net, tmp_path, octets=200, sends=True), datagrams)
    reflector = make_reflector(settings_of(net, tmp_path, octets=200, sends=False), datagrams)
    with net.capture("pod") as at_pod, net.capture("peer") as at_peer:
        sender._tick()
        wait_readable(reflector.descriptors[0])
        reflector.reflect(reflector.descriptors)
        wait_readable(sender._sockets[0])
        sender.collect()
        left, came = read_packets(at_pod, UDP), read_packets(at_peer, UDP)
    assert [(one.src, one.dst, one.hlim, len(one[UDP].payload)) for one in left] == [
        (POD, PEER, 255, 200),
        (PEER, POD, 254, 200),
    ]
    assert [(one.src, one.hlim) for one in came] == [(POD, 254), (PEER, 255)]
    (row,) = sender._table.ticks[0]
    assert (row["copies"], row["corrupted"], row["forward_ttl"], row["return_ttl"]) == (1, 0, 254, 254)
    assert row["send_began_ns"] < row["received"]
    sender.finish()
    reflector.finish()
    log: Rows = read_record(tmp_path / "x.reflector")[1]
    assert (log["ttl"].tolist(), log["source"].tolist()) == ([254], [encode_address(POD)])


def test_a_stranger_is_not_answered(net: Net, tmp_path: Path, datagrams: ModuleType) -> None:
    reflector = make_reflector(settings_of(net, tmp_path, sends=False), datagrams)
    with inside(net.paths["peer"]):
        stranger = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    stranger.bind((STRANGER, 0))
    stranger.sendto(bytes(STAMPSessionSenderTestUnauthenticated(seq=1, ssid=1, ts=3_990_000_000)), (PEER, 8620))
    reflector.reflect(reflector.descriptors)
    assert select.select([stranger], [], [], 0)[0] == []
    assert {name: count for name, count in reflector.counters.items() if count} == {"foreign": 1}
    stranger.close()
    reflector.finish()


def test_a_probe_that_does_not_fit_is_never_cut(net: Net, tmp_path: Path, datagrams: ModuleType) -> None:
    whole = make_sender(settings_of(net, tmp_path, octets=MTU - HEADERS_OCTETS, sends=True), datagrams)
    whole._tick()
    assert whole._table.ticks[0]["send_errno"].tolist() == [0]
    whole.finish()
    larger = make_sender(settings_of(net, tmp_path, octets=MTU - HEADERS_OCTETS + 1, sends=True), datagrams)
    larger._tick()
    assert larger._table.ticks[0]["send_errno"].tolist() == [errno.EMSGSIZE]
    larger.finish()


def test_what_a_narrow_link_said_does_not_cut_the_next_probe(net: Net, tmp_path: Path, datagrams: ModuleType) -> None:
    without_offload(net)
    with inside(net.paths["router"]), IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname="peer")[0], mtu=1400)
    sender = make_sender(settings_of(net, tmp_path, octets=MTU - HEADERS_OCTETS, sends=True), datagrams)
    with net.capture("pod") as at_pod:
        for _ in range(2):  # the first is answered by Packet Too Big
            sender._tick()
        assert [(one.hlim, one.plen) for one in read_packets(at_pod, UDP) if one.src == POD] == [(255, MTU - 40)] * 2
    assert sender._table.ticks[:2]["send_errno"].tolist() == [[0], [0]]
    sender.finish()


def test_the_kernel_answers_echo_requests(net: Net, tmp_path: Path, datagrams: ModuleType) -> None:
    without_offload(net)
    sender = make_sender(settings_of(net, tmp_path, octets=100, sends=True, flow_class=FlowClass.ICMP), datagrams)
    with net.capture("pod") as at_pod:
        sender._tick()
        wait_readable(sender._sockets[0])
        sender.collect()
        (request,) = read_packets(at_pod, ICMPv6EchoRequest)
    assert (request.src, request.dst, request.hlim) == (POD, PEER, 255)
    (row,) = sender._table.ticks[0]
    # The far end's kernel sends its answers with its own hop limit, 64.
    assert (row["copies"], row["corrupted"], row["forward_ttl"], row["return_ttl"]) == (1, 0, 0, 63)
    sender.finish()

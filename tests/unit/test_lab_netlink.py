"""The octets of netlink messages, against what the kernel's headers say. What the kernel makes of them: tests/lab."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.lab.spec import LabSpec, make_plan
from clusters.lab.wiring import Carrier, make_native_route, make_overlay_route
from clusters.linux.machine import find_ipip_refusal
from clusters.linux.netlink import Message, make_message, pack_attribute
from clusters.linux.netlink_messages import Link, Route, add_route, add_veth, delete_link, delete_route, set_link
from hitless.words import Overlay
from probes.netlink import HEADER, RouteType, read_attributes


def body_of(message: Message) -> bytes:
    length, _, flags, sequence, port = HEADER.unpack_from(message.octets)
    assert length == len(message.octets)
    assert flags & 0x5 == 0x5  # request, acknowledge
    assert (sequence, port) == (0, 0)
    return message.octets[HEADER.size :]


@pytest.mark.parametrize("kinds", [["", "ipip"], ["", "ipip", "ipip"]])  # the module's tunl0, with a new device and without
def test_an_ipip_device_that_is_there_already_means_that_the_kernel_has_ipip(kinds: list[str]) -> None:
    assert find_ipip_refusal(kinds) is None


def test_a_kernel_without_an_ipip_device_has_no_ipip() -> None:
    assert find_ipip_refusal(["", "vxlan"]) is not None


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=300), max_size=20))
def test_attributes_are_read_as_they_were_written(attributes: dict[int, bytes]) -> None:
    octets = b"".join(pack_attribute(kind, payload) for kind, payload in attributes.items())
    assert len(octets) % 4 == 0
    assert {kind: bytes(payload) for kind, payload in read_attributes(octets).items()} == attributes


@given(st.binary(max_size=200))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    assert all(kind <= 0x3FFF for kind in read_attributes(octets))


def test_a_route_is_struct_rtmsg_and_its_attributes() -> None:
    route = Route(destination="100.96.7.0/24", protocol=12, device=9, via="10.250.0.7")
    expected = bytes([2, 24, 0, 0, 254, 12, 0, 1]) + struct.pack("=I", 0)
    expected += bytes.fromhex("08000100 64600700")  # RTA_DST
    expected += bytes.fromhex("08000f00 fe000000")  # RTA_TABLE
    expected += bytes.fromhex("08000400 09000000")  # RTA_OIF
    expected += bytes.fromhex("08000500 0afa0007")  # RTA_GATEWAY
    message = add_route(route)
    assert body_of(message) == expected
    assert message.octets[4:8] == struct.pack("=HH", 24, 0x605)  # RTM_NEWROUTE, request ack excl create


def test_the_default_route_has_no_destination() -> None:
    body = body_of(add_route(Route(destination="0.0.0.0/0", protocol=16, device=9, via="10.250.0.1")))
    assert 1 not in read_attributes(body[12:])


def test_a_table_above_255_is_in_its_attribute_only() -> None:
    body = body_of(delete_route("100.96.7.0/24", table=1001))
    assert (body[4], bytes(read_attributes(body[12:])[15])) == (0, struct.pack("=I", 1001))


def test_texts_read_like_ip_route() -> None:
    route = Route(destination="100.96.7.0/24", protocol=12, device=110, encapsulation=(42, "10.250.0.7"))
    assert add_route(route).text == "route add 100.96.7.0/24 dev index 110 encap ip id 42 dst 10.250.0.7 proto 12 table 254"
    blackhole = Route(destination="100.96.7.0/24", protocol=80, route_type=RouteType.BLACKHOLE)
    assert add_route(blackhole).text == "route add blackhole 100.96.7.0/24 proto 80 table 254"
    assert set_link("lo", is_up=True).text == "link set lo up"


def test_a_pair_is_up_here_and_down_there() -> None:
    body = body_of(add_veth(Link(name="one", index=5), Link(name="two", index=6), 9))
    info = read_attributes(read_attributes(body[16:])[18])
    peer = read_attributes(info[2])[1]
    flags_here, flags_there = (struct.unpack_from("=BxHiII", octets)[3] for octets in (body, peer))
    assert (flags_here, flags_there) == (1, 0)
    assert bytes(read_attributes(peer[16:])[28]) == struct.pack("=i", 9)


def test_what_is_as_good_as_success_is_said() -> None:
    assert delete_route("100.96.7.0/24").tolerated == {errno.ESRCH}
    assert delete_link("tunl0").tolerated == {errno.ENODEV}
    assert make_message(24, 0, b"", "x").tolerated == frozenset()


def test_each_carrier_reaches_a_peer_as_the_table_says() -> None:
    peer = make_plan(LabSpec()).nodes[2]
    vxlan_peer = make_plan(LabSpec(overlay=Overlay.VXLAN, block_mask=26)).nodes[2]
    ipip = Route(destination="100.96.2.0/24", protocol=12, device=7, via="10.250.1.11", is_on_link=True)
    gpe = Route(destination="100.96.2.0/24", protocol=12, device=7, encapsulation=(42, "10.250.1.11"))
    vxlan = Route(destination="100.120.0.128/26", protocol=80, device=7, via="100.120.0.129", is_on_link=True)
    assert make_overlay_route(Carrier.IPIP, peer, 7) == ipip
    assert make_overlay_route(Carrier.VXLAN_GPE, peer, 7) == gpe
    assert make_overlay_route(Carrier.VXLAN, vxlan_peer, 7) == vxlan


def test_without_encapsulation_only_the_zone_is_direct() -> None:
    here, neighbour, far, _ = make_plan(LabSpec()).nodes
    assert [make_native_route(here, peer).via for peer in (neighbour, far)] == ["10.250.0.12", "10.250.0.1"]


def test_the_carriers_leave_pods_calicos_mtu() -> None:
    mtus = {carrier: (carrier.underlay_mtu, carrier.tunnel_mtu) for carrier in Carrier}
    assert mtus == {Carrier.IPIP: (1500, 1480), Carrier.VXLAN_GPE: (1516, 1480), Carrier.VXLAN: (1500, 1450)}
    overhead = {Carrier.IPIP: 20, Carrier.VXLAN_GPE: 36, Carrier.VXLAN: 50}
    assert {carrier: underlay - tunnel for carrier, (underlay, tunnel) in mtus.items()} == overhead

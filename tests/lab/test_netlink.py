"""What our netlink messages make of the kernel, read back by pyroute2; and what is said when it refuses."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from bench.lab.netlink_messages import set_blackhole_rule, set_master
from clusters.linux.namespaces import THREAD_NETWORK, Clone, set_namespace, unshare
from clusters.linux.netlink import Message, Netlink, list_links, list_routes, list_unready_addresses6, read_neighbour_table
from clusters.linux.netlink_messages import (
    Link,
    Route,
    add_address,
    add_bridge,
    add_route,
    add_table_rule,
    add_veth,
    add_vxlan,
    add_vxlan_gpe,
    delete_address,
    delete_link,
    delete_route,
    set_forwarding_entry,
    set_link,
    set_neighbour,
)
from hitless.clock import wait_until
from hitless.errors import WorldError
from probes.netlink import RouteType


@pytest.fixture
def netlink() -> Iterator[Netlink]:
    """In a network namespace of its own, with a bridge br0 (index 50, 192.0.2.1/24) that is up."""
    home = os.open(THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    unshare(Clone.NETWORK)
    try:
        with Netlink(name="test") as opened:
            opened.execute([add_bridge(Link(name="br0", index=50, mac="02:00:00:00:00:50")), add_address("192.0.2.1", 24, 50)])
            yield opened
    finally:
        set_namespace(home, Clone.NETWORK)
        os.close(home)


@pytest.fixture
def oracle(netlink: Netlink) -> Iterator[IPRoute]:
    del netlink
    with IPRoute() as opened:
        yield opened


def find_routes(oracle: IPRoute, destination: str, table: int = 254) -> list[dict[str, object]]:
    routes = [
        route for route in oracle.get_routes(family=socket.AF_INET, table=table) if route.get_attr("RTA_DST") == destination
    ]
    names = {"gateway": "RTA_GATEWAY", "device": "RTA_OIF"}
    return [
        {
            "protocol": route["proto"],
            "type": route["type"],
            "scope": route["scope"],
            "flags": route["flags"] & 0x4,
            **{key: route.get_attr(name) for key, name in names.items()},
        }
        for route in routes
    ]


def test_a_bridge_is_up_with_its_address(oracle: IPRoute) -> None:
    bridge = oracle.get_links(ifname="br0")[0]
    assert (bridge["index"], bridge.get_attr("IFLA_ADDRESS")) == (50, "02:00:00:00:00:50")
    assert bridge["flags"] & 0x1
    assert bridge.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"
    addresses = [(a.get_attr("IFA_LOCAL"), a["prefixlen"]) for a in oracle.get_addr(family=socket.AF_INET, index=50)]
    assert addresses == [("192.0.2.1", 24)]


def test_a_pair_has_the_wished_indices_mtu_master_and_macs(netlink: Netlink, oracle: IPRoute) -> None:
    with Path(THREAD_NETWORK).open("rb") as here:
        one = Link(name="one", index=60, mtu=1516, mac="02:00:00:00:00:60", master=50)
        two = Link(name="two", index=61, mtu=1480, mac="02:00:00:00:00:61")
        netlink.execute([add_veth(one, two, here.fileno())])
    seen = {}
    for name in ("one", "two"):
        link = oracle.get_links(ifname=name)[0]
        seen[name] = (link["index"], *(link.get_attr(f"IFLA_{key}") for key in ("MTU", "ADDRESS", "MASTER")), link["flags"] & 1)
    assert seen == {"one": (60, 1516, "02:00:00:00:00:60", 50, 1), "two": (61, 1480, "02:00:00:00:00:61", None, 0)}
    netlink.execute([set_link("two", is_up=True, mtu=1400)])
    two_now = oracle.get_links(ifname="two")[0]
    assert (two_now["flags"] & 1, two_now.get_attr("IFLA_MTU")) == (1, 1400)
    masters = []
    for master in (0, 50):
        netlink.execute([set_master("one", master)])
        masters.append(oracle.get_links(ifname="one")[0].get_attr("IFLA_MASTER"))
    assert masters == [None, 50]


def test_a_vxlan_device_is_calicos(netlink: Netlink, oracle: IPRoute) -> None:
    link = Link(name="vxlan.calico", index=70, mtu=1450, mac="02:00:00:00:00:70")
    netlink.execute(
        [
            add_vxlan(link, identifier=4096, port=4789, local="192.0.2.1", lower=50),
            set_forwarding_entry("02:00:00:00:00:71", "192.0.2.7", 70),
            set_neighbour("198.51.100.1", "02:00:00:00:00:71", 70),
        ]
    )
    data = oracle.get_links(ifname="vxlan.calico")[0].get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    found = [data.get_attr(f"IFLA_VXLAN_{key}") for key in ("ID", "PORT", "LOCAL", "LINK", "LEARNING", "COLLECT_METADATA")]
    assert found == [4096, 4789, "192.0.2.1", 50, 0, 0]
    entries = [
        (entry.get_attr("NDA_LLADDR"), entry.get_attr("NDA_DST"))
        for entry in oracle.get_neighbours(family=socket.AF_BRIDGE, ifindex=70)
    ]
    assert ("02:00:00:00:00:71", "192.0.2.7") in entries
    neighbours = oracle.get_neighbours(family=socket.AF_INET, ifindex=70)
    assert [(entry.get_attr("NDA_DST"), entry["state"]) for entry in neighbours] == [("198.51.100.1", 0x80)]


def test_a_route_encapsulates_by_metadata(netlink: Netlink, oracle: IPRoute) -> None:
    route = Route(destination="100.96.7.0/24", protocol=12, device=71, encapsulation=(42, "192.0.2.7"))
    netlink.execute([add_vxlan_gpe(Link(name="gpe0", index=71, mtu=1480), port=4790), add_route(route)])
    assert [found["device"] for found in find_routes(oracle, "100.96.7.0")] == [71]
    assert [seen.tunnel_destination for seen in list_routes(netlink) if seen.destination == "100.96.7.0/24"] == ["192.0.2.7"]
    # ip-route(8) is the oracle here: pyroute2 does not read `encap ip` back.
    assert oracle.get_links(ifname="gpe0")[0].get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VXLAN_COLLECT_METADATA") == 1


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route(destination="198.51.100.0/24", protocol=12, device=50, via="192.0.2.9"), (12, 1, 0, 0, "192.0.2.9", 50)),
        (
            Route(destination="198.51.100.0/24", protocol=80, device=50, via="203.0.113.1", is_on_link=True),
            (80, 1, 0, 4, "203.0.113.1", 50),
        ),
        (Route(destination="198.51.100.0/32", protocol=3, device=50), (3, 1, 253, 0, None, 50)),
        (Route(destination="198.51.100.0/26", protocol=80, route_type=RouteType.BLACKHOLE), (80, 6, 0, 0, None, None)),
        (
            Route(destination="198.51.100.0/24", protocol=4, device=50, via="192.0.2.9", table=1001),
            (4, 1, 0, 0, "192.0.2.9", 50),
        ),
    ],
)
def test_routes_are_as_asked(netlink: Netlink, oracle: IPRoute, route: Route, expected: tuple[object, ...]) -> None:
    netlink.execute([add_route(route)])
    keys = ("protocol", "type", "scope", "flags", "gateway", "device")
    assert [dict(zip(keys, expected, strict=True))] == find_routes(oracle, "198.51.100.0", route.table)
    seen = [found for found in list_routes(netlink, route.table) if found.destination == route.destination]
    assert [(route.protocol, route.route_type, route.via)] == [(one.protocol, one.route_type, one.via) for one in seen]
    assert netlink.execute([delete_route(route.destination, table=route.table)] * 2) == [0, errno.ESRCH]
    assert find_routes(oracle, "198.51.100.0", route.table) == []


def test_rules_come_and_go(netlink: Netlink, oracle: IPRoute) -> None:
    netlink.execute([add_table_rule("br0", 1001, 1000), set_blackhole_rule("198.51.100.7", 10, is_present=True)])
    rules = {rule.get_attr("FRA_PRIORITY"): rule for rule in oracle.get_rules(family=socket.AF_INET)}
    assert (
        rules[1000].get_attr("FRA_IIFNAME"),
        rules[1000].get_attr("FRA_TABLE"),
        rules[1000]["action"],
    ) == ("br0", 1001, 1)
    assert (rules[10].get_attr("FRA_DST"), rules[10]["dst_len"], rules[10]["action"]) == ("198.51.100.7", 32, 6)
    for _ in range(2):
        netlink.execute([set_blackhole_rule("198.51.100.7", 10, is_present=False)])
    assert 10 not in {rule.get_attr("FRA_PRIORITY") for rule in oracle.get_rules(family=socket.AF_INET)}


def test_what_is_not_there_may_be_deleted(netlink: Netlink) -> None:
    assert netlink.execute([delete_link("no-such-link")]) == [errno.ENODEV]
    assert netlink.execute([delete_address("192.0.2.77", 32, 50)]) == [errno.EADDRNOTAVAIL]


def test_an_error_names_the_message_the_errno_and_the_kernels_words(netlink: Netlink) -> None:
    good = [add_route(Route(destination=f"198.51.{n}.0/24", protocol=4, device=50)) for n in range(200)]
    bad = add_route(Route(destination="203.0.113.0/24", protocol=4, device=50, via="10.9.9.9"))
    with pytest.raises(WorldError) as caught:
        netlink.execute([*good[:150], bad, *good[150:]])
    assert "test: route add 203.0.113.0/24 via 10.9.9.9 dev index 50 proto 4 table 254: ENETUNREACH" in str(caught.value)
    assert "Nexthop has invalid gateway" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_socket_works_after_an_error(netlink: Netlink) -> None:
    message = add_route(Route(destination="198.51.100.0/24", protocol=4, device=50))
    netlink.execute([message])
    with pytest.raises(WorldError, match="EEXIST"):
        netlink.execute([message])
    assert netlink.execute([delete_route("198.51.100.0/24")]) == [0]


def test_thousands_of_messages_are_all_acknowledged(netlink: Netlink) -> None:
    messages: list[Message] = [
        add_route(Route(destination=f"100.{64 + n // 256}.{n % 256}.0/24", protocol=4, device=50)) for n in range(5000)
    ]
    assert netlink.execute(messages) == [0] * 5000
    assert sum(route.protocol == 4 for route in list_routes(netlink)) == 5000


def test_links_and_the_machines_neighbour_table_are_read(netlink: Netlink) -> None:
    # The ipip module's own device is in every namespace.
    links = [(link.name, link.is_up) for link in list_links(netlink) if link.kind != "ipip"]
    assert links == [("lo", False), ("br0", True)]
    table = read_neighbour_table(netlink)
    assert table.gc_thresh3 > 0
    assert table.table_fulls >= 0


def test_an_empty_table_has_no_routes(netlink: Netlink) -> None:
    assert list_routes(netlink, 4242) == []


def test_an_address_is_ready_once_it_receives(netlink: Netlink) -> None:
    settings = Path("/proc/sys/net/ipv6/conf/default")
    (settings / "disable_ipv6").write_text("0")
    home = os.open(THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    netlink.execute([add_veth(Link(name="a", index=70), Link(name="b", index=71, mac="02:00:00:00:00:71"), home)])
    os.close(home)
    netlink.execute([set_link("lo", is_up=True), add_address("2001:db8::a", 64, 70), set_link("a", is_up=True)])

    def unready() -> list[str]:
        return [one for one in list_unready_addresses6(netlink, list_links(netlink)) if not one.endswith("br0")]

    before = unready()  # the other end is down: no carrier
    assert before[-2:] == ["link-local of a", "link-local of b"]
    netlink.execute([set_link("b", is_up=True)])
    wait_until(lambda: not unready(), timeout_s=10.0, poll_s=0.01, unmet="addresses without a local route")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("fe80::ff:fe00:71", 0, 0, 71))
        receiver.setblocking(False)  # noqa: FBT003 - the standard library's signature
        receiver.sendto(b"here", receiver.getsockname())
        assert receiver.recv(10) == b"here"

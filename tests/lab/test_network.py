"""The lab's network: every pod reaches every other, in every mode, and nothing of a lab outlives it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.lab.wiring import Carrier
from clusters.linux.fence import raise_fence, wait_gone
from clusters.linux.namespaces import NETWORK_DIRECTORY, inside
from hitless.errors import WorldError
from hitless.words import Mode, Overlay
from tests.lab.lab_traffic import missing_pairs, pod_sockets


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("overlay", list(Overlay))
def test_every_pod_reaches_every_other(overlay: Overlay, mode: Mode) -> None:
    lab = LabNetwork(LabSpec(overlay=overlay, start_mode=mode))
    lab.up()
    try:
        with pod_sockets(lab) as sockets:
            assert set() == missing_pairs(lab, sockets)
    finally:
        lab.down()


def test_strict_reverse_path_filters_let_a_settled_lab_through() -> None:
    lab = LabNetwork(LabSpec(rp_filter=1))
    lab.up()
    try:
        with pod_sockets(lab) as sockets:
            assert set() == missing_pairs(lab, sockets)
    finally:
        lab.down()


def test_a_lab_above_20_nodes_sends_no_arp_requests() -> None:
    lab = LabNetwork(LabSpec(zones=3, nodes_per_zone=7))
    lab.up()
    try:
        with pod_sockets(lab) as sockets:
            assert set() == missing_pairs(lab, sockets)
        with inside(lab.namespace_path("node-a1")), IPRoute() as oracle:
            seen = [(e.get_attr("NDA_DST"), e["state"]) for e in oracle.get_neighbours(family=socket.AF_INET)]
    finally:
        lab.down()
    permanent, no_arp = 0x80, 0x40
    expected = ["10.250.0.1", *(f"10.250.0.{10 + n}" for n in range(2, 8)), "100.96.0.2", "100.96.0.3"]
    assert dict.fromkeys(expected, permanent) == {address: state for address, state in seen if state != no_arp}


def test_the_overlay_costs_the_pods_what_calico_says(overlay_lab: LabNetwork) -> None:
    mtus = {}
    for name, device in (("node-a1", "eth0"), ("node-a1", "tunl0"), ("node-a1-mesh", "eth0")):
        with inside(overlay_lab.namespace_path(name)), IPRoute() as oracle:
            mtus[name, device] = oracle.get_links(ifname=device)[0].get_attr("IFLA_MTU")
    expected = {("node-a1", "eth0"): overlay_lab.underlay_mtu, ("node-a1", "tunl0"): 1480, ("node-a1-mesh", "eth0"): 1480}
    assert expected == mtus


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_no_setting_is_inherited(rp_filter: int) -> None:
    lab = LabNetwork(LabSpec(rp_filter=rp_filter))
    lab.up()
    try:
        with inside(lab.namespace_path("node-b2")):
            conf = Path("/proc/sys/net/ipv4/conf")
            found = {path.parent.name: path.read_text().strip() for path in conf.glob("*/rp_filter")}
            redirects = {path.read_text().strip() for path in conf.glob("*/*_redirects") if "secure" not in path.name}
            workloads = {path.read_text().strip() for path in conf.glob("cali*/proxy_arp")}
            forwarding = {path.read_text().strip() for path in conf.glob("*/forwarding")}
    finally:
        lab.down()
    assert {str(rp_filter)} == set(found.values())
    assert {"all", "default", "lo", "eth0", "tunl0"} <= set(found)
    assert {"0"} == redirects
    assert {"1"} == workloads
    assert {"1"} == forwarding


def test_up_and_down_may_be_called_twice() -> None:
    lab = LabNetwork(LabSpec())
    for _ in range(2):
        lab.up()
        lab.up()
        assert sorted(lab.namespaces) == sorted(path.name for path in NETWORK_DIRECTORY.iterdir())
        lab.down()
        lab.down()
        assert list(NETWORK_DIRECTORY.iterdir()) == []


def test_a_second_lab_in_one_sandbox_is_refused_and_the_first_stays(overlay_lab: LabNetwork) -> None:
    other = LabNetwork(LabSpec())
    with pytest.raises(WorldError, match="another lab is already up"):
        other.up()
    other.down()
    with pod_sockets(overlay_lab) as sockets:
        assert set() == missing_pairs(overlay_lab, sockets)


def test_a_failed_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = LabNetwork(LabSpec())

    def fail() -> None:
        raise WorldError("as asked")

    monkeypatch.setattr(lab, "_start_mode", fail)
    before = Path("/proc/self/mounts").read_text()
    with pytest.raises(WorldError, match="as asked"):
        lab.up()
    assert before == Path("/proc/self/mounts").read_text()
    assert list(NETWORK_DIRECTORY.iterdir()) == []


def test_inspection_says_what_the_kernel_has(overlay_lab: LabNetwork) -> None:
    state = overlay_lab.inspect()[0]
    assert state.node == "node-a1"
    assert {"lo", "eth0", "tunl0"} <= set(state.devices)
    by_destination = {route["dst"]: route for route in state.routes}
    default = {"dst": "default", "type": "unicast", "protocol": 16, "dev": "eth0", "via": "10.250.0.1"}
    assert default == by_destination["default"]
    assert by_destination["100.96.0.0/24"] == {"dst": "100.96.0.0/24", "type": "blackhole", "protocol": 12}
    with inside(overlay_lab.namespace_path("node-a1")), IPRoute() as oracle:
        oracle_sees = {
            (f"{route.get_attr('RTA_DST')}/{route['dst_len']}" if route["dst_len"] else "default", route["proto"])
            for route in oracle.get_routes(family=socket.AF_INET, table=254)
        }
    assert oracle_sees == {(route["dst"], route["protocol"]) for route in state.routes}


def test_a_lab_that_is_gone_is_gone_from_the_kernel() -> None:
    lab = LabNetwork(LabSpec())
    lab.up()
    lab.down()
    if lab.carrier is not Carrier.IPIP:  # it has no UDP sockets, so the kernel may have been as quick
        assert any("fence-" in line for line in Path("/proc/self/net/dev").read_text().splitlines())
    wait_gone(20.0)
    assert "fence-" not in Path("/proc/self/net/dev").read_text()


def test_what_keeps_the_kernel_busy_is_not_waited_for_for_ever() -> None:
    with raise_fence(), pytest.raises(WorldError, match="has not removed the previous lab"):
        wait_gone(0.01)
    wait_gone(20.0)

"""The books balance: conservation of packets gives the place of every loss, for each way to lose one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from bench.lab.drop_switch import DropSwitch
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from hitless.words import Mode
from tests.lab.lab_traffic import Sockets, missing_pairs, pod_sockets, send_many

SENT = 500
SOURCE, DESTINATION = "node-a1-mesh", "node-b1-mesh"


class Ledger:
    """What the kernel counted between two readings."""

    def __init__(self, before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> None:
        self.deltas = {
            namespace: {name: value - before[namespace].get(name, 0) for name, value in counters.items()}
            for namespace, counters in after.items()
        }

    def input_drops(self) -> dict[str, int]:
        found = {
            namespace: d["Ip.InReceives"] - d["Ip.InDelivers"] - d["Ip.ForwDatagrams"]
            for namespace, d in self.deltas.items()
            if namespace != "machine"
        }
        return {namespace: drops for namespace, drops in found.items() if drops}

    def output_drops(self) -> dict[str, int]:
        found = {
            namespace: d["Ip.ForwDatagrams"] + d["Ip.OutRequests"] - d["Ip.OutTransmits"]
            for namespace, d in self.deltas.items()
            if namespace != "machine"
        }
        return {namespace: drops for namespace, drops in found.items() if drops}

    def link_loss(self) -> int:
        places = [d for namespace, d in self.deltas.items() if namespace != "machine"]
        return sum(d["Ip.OutTransmits"] for d in places) - sum(d["Ip.InReceives"] for d in places)


@contextmanager
def ledger_of(lab: LabNetwork, act: Callable[[Sockets], int]) -> Iterator[tuple[int, Ledger]]:
    with pod_sockets(lab) as sockets:
        assert set() == missing_pairs(lab, sockets)  # every neighbour is known
        before = lab.counters()
        arrived = act(sockets)
        yield arrived, Ledger(before, lab.counters())


@pytest.mark.parametrize("fixture", ["native_lab", "overlay_lab", "vxlan_lab"])
def test_where_nothing_is_lost_everything_balances(fixture: str, request: pytest.FixtureRequest) -> None:
    lab: LabNetwork = request.getfixturevalue(fixture)
    with ledger_of(lab, lambda sockets: send_many(lab, sockets, SOURCE, DESTINATION, 200)) as (arrived, ledger):
        assert arrived == 200
        assert (ledger.input_drops(), ledger.output_drops(), ledger.link_loss()) == ({}, {}, 0)
        assert ledger.deltas[DESTINATION]["Udp.InDatagrams"] == 200
        assert ledger.deltas["machine"]["Neigh.table_fulls"] == 0


def test_a_missing_cloud_route_is_seen_in_the_router_and_named(native_lab: LabNetwork) -> None:
    lab = native_lab

    def act(sockets: Sockets) -> int:
        lab.tables.delete("a", "100.96.2.0/24")
        return send_many(lab, sockets, SOURCE, DESTINATION, SENT)

    with ledger_of(lab, act) as (arrived, ledger):
        assert arrived == 0
        assert (ledger.input_drops(), ledger.output_drops(), ledger.link_loss()) == ({"vpc": SENT}, {}, 0)
        assert ledger.deltas["vpc"]["IpExt.InNoRoutes"] == SENT


@pytest.mark.parametrize(
    ("fixture", "addresses", "into_tunnel"),
    [("native_lab", ("100.96.0.2", "100.96.2.2"), 0), ("overlay_lab", ("10.250.0.11", "10.250.1.11"), 1)],
)
def test_the_drop_switch_drops_both_ways_and_no_counter_names_it(
    fixture: str, addresses: tuple[str, str], into_tunnel: int, request: pytest.FixtureRequest
) -> None:
    lab: LabNetwork = request.getfixturevalue(fixture)
    switch = DropSwitch(lab, addresses)

    def act(sockets: Sockets) -> int:
        began_ns, ended_ns = switch.drop()
        assert began_ns < ended_ns
        there = send_many(lab, sockets, SOURCE, DESTINATION, SENT)
        back = send_many(lab, sockets, DESTINATION, SOURCE, SENT)
        switch.restore()
        return there + back + send_many(lab, sockets, SOURCE, DESTINATION, 1)

    with ledger_of(lab, act) as (arrived, ledger):
        assert arrived == 1
        # The outer packet is dropped in the router; the inner one was sent into the tunnel and came out nowhere.
        expected: tuple[dict[str, int], dict[str, int], int] = ({"vpc": 2 * SENT}, {}, 2 * SENT * into_tunnel)
        assert expected == (ledger.input_drops(), ledger.output_drops(), ledger.link_loss())
        assert ledger.deltas["vpc"]["IpExt.InNoRoutes"] == 0


def test_a_strict_reverse_path_filter_is_named() -> None:
    lab = LabNetwork(LabSpec(rp_filter=1))

    def act(sockets: Sockets) -> int:
        lab.planes["node-a1"].repoint(Mode.NATIVE, ["node-a2"])
        return send_many(lab, sockets, SOURCE, "node-a2-mesh", SENT)

    lab.up()
    try:
        with ledger_of(lab, act) as (arrived, ledger):
            assert arrived == 0
            assert (ledger.input_drops(), ledger.output_drops(), ledger.link_loss()) == ({"node-a2": SENT}, {}, 0)
            assert ledger.deltas["node-a2"]["TcpExt.IPReversePathFilter"] == SENT
    finally:
        lab.down()


def test_a_deleted_vxlan_device_is_seen_at_the_receiving_node(vxlan_lab: LabNetwork) -> None:
    lab = vxlan_lab

    def act(sockets: Sockets) -> int:
        lab.planes["node-b1"].set_tunnel(present=False)
        return send_many(lab, sockets, SOURCE, DESTINATION, 200)

    with ledger_of(lab, act) as (arrived, ledger):
        assert arrived == 0
        assert ledger.deltas["node-b1"]["Udp.NoPorts"] == 200
        assert (ledger.input_drops(), ledger.output_drops(), ledger.link_loss()) == ({}, {}, 200)


def test_every_namespace_is_in_the_books(native_lab: LabNetwork) -> None:
    assert {*native_lab.namespaces, "machine"} == set(native_lab.counters())

"""The faults of a node's machine: what they ask of the machine, of the API and of the cloud, and that their cures undo it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from clusters.faults import node_faults, restore
from clusters.lab.kube import MemoryKube
from gardener.doubles.cloud import Cloud, CloudBehaviour
from gardener.manifests.admission import admit
from hitless.errors import UsageError
from hitless.faults import FaultTable, Owner, faults_of
from hitless.words import Kind
from tests.clocks import JumpingClock
from tests.unit.fakes_gardener import MemoryTables

NODE_FAULTS = faults_of(Owner.MACHINES)
NODES = ("node-a1", "node-b1")


class FakeMachines:
    """Machines that keep tables of nftables, an MTU and whether they are on the network."""

    def __init__(self) -> None:
        self.names: Collection[str] = NODES
        self.tables: dict[tuple[str, str], str] = {}
        self.mtus = dict.fromkeys(NODES, 1500)
        self.off: list[str] = []

    def interface(self, node: str) -> tuple[str, str]:
        return "eth7", {"node-a1": "10.250.0.11", "node-b1": "10.250.1.11"}[node]

    def run_nft(self, node: str, commands: str) -> None:
        """Do what nft does with the three commands that are used: a table that exists cannot be given chains twice."""
        while commands:
            verb, _, rest = commands.partition(" ")
            words, brace, _ = rest.partition("\n")[0].partition("{")
            key = (node, words.split()[-1])
            if verb == "add":
                self.tables.setdefault(key, "")
            elif verb == "delete":
                del self.tables[key]
            else:
                assert (verb, brace, key in self.tables) == ("table", "{", False)
                self.tables[key] = rest
                return
            commands = commands.partition("\n")[2]

    def set_mtu(self, node: str, octets: int | None) -> None:
        self.mtus[node] = 1500 if octets is None else octets

    def cut_off(self, node: str) -> None:
        self.off.append(node)


class World:
    """The faults, and what they act on."""

    def __init__(self) -> None:
        self.machines = FakeMachines()
        self.kube = MemoryKube(admit=admit, clock=JumpingClock())
        for name in NODES:
            self.kube.apply({"kind": "Node", "metadata": {"name": name}, "spec": {}}, actor="kubelet")
        self.cloud = Cloud(MemoryTables(), CloudBehaviour(), JumpingClock())
        self.faults = FaultTable(node_faults(self.machines, self.kube, self.cloud))


def test_the_table_has_every_fault_that_it_names() -> None:
    assert World().faults.known() == NODE_FAULTS


@pytest.mark.parametrize(("fault", "table"), [("source-check-on", "source-check"), ("connections-refused", "connections")])
def test_rules_come_with_a_fault_and_go_with_its_cure_and_either_twice_is_no_error(fault: str, table: str) -> None:
    world, options = World(), {"node": "node-b1"}
    for _ in range(2):
        world.faults.inject(fault, options)
        assert set(world.machines.tables) == {("node-b1", table)}
    for _ in range(2):
        world.faults.cure(fault, options)
        assert world.machines.tables == {}


def test_a_source_check_is_about_the_nodes_own_interface_and_address() -> None:
    world = World()
    world.faults.inject("source-check-on", {"node": "node-b1"})
    rules = world.machines.tables["node-b1", "source-check"]
    assert 'iifname "eth7" ip daddr != 10.250.1.11 drop' in rules
    assert 'oifname "eth7" ip saddr != 10.250.1.11 drop' in rules


def test_a_lowered_mtu_is_one_nodes_until_it_is_cured() -> None:
    world = World()
    world.faults.inject("mtu-lowered", {"node": "node-b1", "octets": 1480})
    assert world.machines.mtus == {"node-a1": 1500, "node-b1": 1480}
    world.faults.cure("mtu-lowered", {"node": "node-b1", "octets": 1480})
    assert world.machines.mtus == dict.fromkeys(NODES, 1500)


def test_a_node_that_leaves_is_off_the_network_and_unknown_to_api_and_cloud() -> None:
    world = World()
    world.faults.inject("node-leaves", {"node": "node-b1"})
    assert world.machines.off == ["node-b1"]
    assert [node["metadata"]["name"] for node in world.kube.list(Kind.NODE)] == ["node-a1"]
    assert world.cloud.unknown == {"node-b1"}


@pytest.mark.parametrize("fault", sorted(NODE_FAULTS))
def test_a_node_that_does_not_exist_is_refused_and_its_cure_is_no_error(fault: str) -> None:
    world = World()
    with pytest.raises(UsageError, match=r"options\.node: found 'node-z9'; expected node-a1, node-b1"):
        world.faults.inject(fault, {"node": "node-z9", "octets": 1400})
    world.faults.cure(fault, {"node": "node-z9", "octets": 1400})
    world.faults.cure(fault, {})
    assert (world.machines.tables, world.machines.off) == ({}, [])


def test_a_machine_is_restored_from_every_fault_that_has_a_cure() -> None:
    world = World()
    for fault in ("source-check-on", "connections-refused", "mtu-lowered"):
        world.faults.inject(fault, {"node": "node-a1", "octets": 1400})
    restore(world.machines, "node-a1")
    assert (world.machines.tables, world.machines.mtus["node-a1"]) == ({}, 1500)

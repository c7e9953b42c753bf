"""What the faults of every cluster break, and that their cures heal it; which faults there are."""

from __future__ import annotations

import pytest

from clusters.faults import common_faults
from clusters.lab.faults import LAB_FAULTS
from clusters.lab.kube import MemoryKube
from gardener.doubles.cloud import Cloud, CloudBehaviour
from gardener.manifests.admission import admit
from hitless.errors import ApiUnavailableError, RouteApiUnavailableError, RouteTableError, UsageError
from hitless.facts import CloudRoute
from hitless.faults import FAULTS, OF_SWITCH, FaultTable, Owner, check_fault, faults_missing, faults_of
from hitless.words import JsonObject, Kind
from tests.clocks import JumpingClock
from tests.unit.fakes_gardener import Bench, MemoryTables

ROUTE = CloudRoute(zone="b", cidr="100.96.0.0/24", node="node-a1")
OTHER = CloudRoute(zone="b", cidr="100.96.1.0/24", node="node-a2")


class Broken:
    """A lab's faults, and what they act on."""

    def __init__(self) -> None:
        self.kube = MemoryKube(admit=admit, clock=JumpingClock())
        self.tables = MemoryTables()
        self.tables.create(ROUTE)
        self.tables.create(OTHER)
        self.cloud = Cloud(self.tables, CloudBehaviour(), JumpingClock())
        self.faults = FaultTable(common_faults(self.kube, self.kube, self.cloud))


def test_every_fault_that_can_be_named_is_the_labs_or_the_switchs() -> None:
    assert Broken().faults.known() == faults_of(Owner.CLUSTER)
    assert Bench().switch.faults.known() == OF_SWITCH
    assert FAULTS.keys() == LAB_FAULTS | OF_SWITCH


def test_a_fault_that_a_cluster_does_not_have_is_missing_by_its_name() -> None:
    assert faults_missing({"mtu-lowered", "extension-away", "kube-api-down"}, faults_of(Owner.CLUSTER)) == [
        "the fault mtu-lowered"
    ]


def test_the_kubernetes_api_goes_away_and_comes_back() -> None:
    world = Broken()
    world.faults.inject("kube-api-down", {})
    with pytest.raises(ApiUnavailableError):
        world.kube.list(Kind.NODE)
    world.faults.cure("kube-api-down", {})
    assert world.kube.list(Kind.NODE) == ()


def test_the_route_api_goes_away_and_comes_back() -> None:
    world = Broken()
    world.faults.inject("route-api-down", {})
    with pytest.raises(RouteApiUnavailableError):
        world.cloud.describe()
    world.faults.cure("route-api-down", {})
    assert world.cloud.describe() == {"a": (), "b": (ROUTE, OTHER)}


def test_no_route_to_an_unknown_machine_can_be_created_until_the_cloud_finds_it() -> None:
    world, route = Broken(), CloudRoute(zone="a", cidr="100.96.0.0/24", node="node-a1")
    world.faults.inject("instance-unknown", {"node": "node-a1"})
    with pytest.raises(RouteTableError, match=r"InvalidInstanceID\.NotFound: the machine of node-a1 does not exist"):
        world.cloud.create(route)
    world.faults.cure("instance-unknown", {"node": "node-a1"})
    world.cloud.create(route)
    assert world.cloud.list("a") == (route,)


def test_a_restart_deletes_the_calico_node_pod_of_one_node_alone() -> None:
    world = Broken()
    for name, node, owner in (
        ("c-1", "node-a1", "calico-node"),
        ("c-2", "node-a2", "calico-node"),
        ("p-1", "node-a1", "kube-proxy"),
    ):
        owners = [{"kind": "DaemonSet", "name": owner}]
        pod = {"kind": "Pod", "metadata": {"name": name, "ownerReferences": owners}, "spec": {"nodeName": node}}
        world.kube.apply(pod, actor="test")
    world.faults.inject("calico-node-restart", {"node": "node-a1"})
    assert [pod["metadata"]["name"] for pod in world.kube.list(Kind.POD)] == ["c-2", "p-1"]
    with pytest.raises(UsageError, match="found 'node-a1'; expected a node with a pod of calico-node: node-a2"):
        world.faults.inject("calico-node-restart", {"node": "node-a1"})


OF_A1 = {"zone": "b", "node": "node-a1"}
OF_A2 = {"zone": "b", "node": "node-a2"}


def test_a_lost_route_is_gone_from_one_table_until_it_is_cured() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", OF_A1)
    assert world.tables.list("b") == (OTHER,)
    world.faults.cure("node-route-lost", OF_A1)
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_a_cure_heals_what_its_options_broke_and_nothing_else() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", OF_A1)
    world.faults.inject("node-route-lost", OF_A2)
    world.faults.cure("node-route-lost", OF_A1)
    assert world.tables.list("b") == (ROUTE,)
    world.faults.cure("node-route-lost", OF_A2)
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_a_route_that_was_restored_meanwhile_stays() -> None:
    world = Broken()
    world.faults.inject("node-route-lost", OF_A1)
    world.tables.create(ROUTE)
    world.faults.cure("node-route-lost", OF_A1)
    assert world.tables.list("b") == (ROUTE, OTHER)


def test_healing_what_is_whole_is_no_error() -> None:
    world = Broken()
    for name in sorted(world.faults.known()):
        world.faults.cure(name, dict.fromkeys(FAULTS[name].options, "node-a1"))
    assert world.tables.list("b") == (ROUTE, OTHER)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("meteorite", {}, f"fault: name: found 'meteorite'; expected {', '.join(sorted(FAULTS))}"),
        (
            "mtu-lowered",
            {"node": "node-a1", "octets": "1400"},
            "fault mtu-lowered: options.octets: found '1400'; expected a whole number, 1280 to 1499",
        ),
        (
            "mtu-lowered",
            {"node": "node-a1", "octets": 9000},
            "fault mtu-lowered: options.octets: found 9000; expected a whole number, 1280 to 1499",
        ),
        ("kube-api-down", {"zone": "a"}, "fault kube-api-down: options: found 'zone'; expected no options"),
        ("node-route-lost", {}, "fault node-route-lost: options: found no options; expected node, zone"),
        ("node-route-lost", {"zone": "b", "node": 1}, "fault node-route-lost: options.node: found 1; expected a name"),
        ("node-route-lost", {"zone": "c", "node": "x"}, "fault node-route-lost: zone: found 'c'; expected a, b"),
        (
            "node-route-lost",
            {"zone": "b", "node": "x"},
            "fault node-route-lost: node: zone b has no route to x; it has routes to node-a1, node-a2",
        ),
        (
            "node-route-lost",
            {"zone": "a", "node": "x"},
            "fault node-route-lost: node: zone a has no routes",
        ),
    ],
)
def test_a_fault_that_cannot_be_is_refused_and_breaks_nothing(name: str, options: JsonObject, message: str) -> None:
    world = Broken()

    def inject() -> None:
        check_fault(name, options)
        world.faults.inject(name, options)

    with pytest.raises(UsageError) as refused:
        inject()
    assert str(refused.value) == message
    assert world.tables.list("b") == (ROUTE, OTHER)
    assert not world.kube.is_away


def test_an_unknown_cure_is_refused() -> None:
    with pytest.raises(UsageError, match="found 'meteorite'; expected calico-node-restart, instance-unknown, kube-api-down"):
        Broken().faults.cure("meteorite", {})

"""Zones, router and route tables in a real docker engine, with plain containers in the place of kind's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from clusters.kind.docker import LABEL_CLUSTER, LABEL_OWNER, Docker, is_owner_alive, this_process
from clusters.kind.kept import remove_cluster, remove_containers, remove_networks
from clusters.kind.router import CloudNetwork
from clusters.kind.spec import KindPlan, KindSpec, make_plan
from clusters.kind.versions import ROUTER_IMAGE
from hitless.errors import WorldError
from hitless.facts import NodeFacts
from hitless.ports import RouteTables
from hitless.words import Mode, Overlay
from tests.kind.stand_ins import facts_of, import_image, import_router, is_reached, join, remove_strays, start_node
from tests.lab.conformance.route_tables import RouteTablesConformance, make_route

MANAGEMENT = "kind"
SPEC = KindSpec(
    name="trial",
    zones=2,
    nodes_per_zone=2,
    overlay=Overlay.IPIP,
    start_mode=Mode.OVERLAY,
    rp_filter=2,
    kubernetes=(1, 36),
    image="kindest/node:none",
    pod_cidr="100.96.0.0/11",
    node_mask=24,
    service_cidr="100.64.0.0/13",
)
PLAN = make_plan(SPEC)
FACTS = tuple(facts_of(node, number) for number, node in enumerate(PLAN.nodes))


@pytest.fixture(scope="module")
def engine(docker: Docker) -> Docker:
    """The engine with the images that these tests need, made of this machine's programs."""
    import_router(docker)
    import_image(docker)
    return docker


@pytest.fixture(scope="module")
def cloud(engine: Docker) -> Iterator[CloudNetwork]:
    """Two zones of two nodes, all wired; the tables are empty."""
    network = CloudNetwork(engine, PLAN, image=ROUTER_IMAGE, configuration="0123")
    try:
        # kind's own network outlives its clusters: another test may have had one.
        if MANAGEMENT not in engine.run("network", "ls", "--format", "{{.Name}}").split():
            engine.run("network", "create", "--subnet", "172.30.0.0/24", MANAGEMENT)
        network.up()
        for number, node in enumerate(PLAN.nodes):
            start_node(engine, node, SPEC.name, MANAGEMENT, number)
            join(network, node)
        yield network
    finally:
        remove_strays(engine)
        remove_networks(engine, [MANAGEMENT])


@pytest.fixture
def route_tables(cloud: CloudNetwork) -> Iterator[RouteTables]:
    tables = cloud.tables(FACTS)
    tables.clear()
    yield tables
    tables.clear()


@pytest.fixture
def nodes() -> Sequence[NodeFacts]:
    return FACTS


class TestKindRouteTables(RouteTablesConformance):
    pass


def create_all(cloud: CloudNetwork) -> None:
    tables = cloud.tables(FACTS)
    for zone in tables.zones():
        for node in FACTS:
            tables.create(make_route(zone, node))


def pings(docker: Docker, plan: KindPlan) -> set[tuple[str, str]]:
    """Return the pairs of nodes whose pods' addresses do not reach each other, in short names."""
    short = {node.name: f"{node.zone}{node.address.rpartition('.')[2]}" for node in plan.nodes}

    def missing_from(i: int) -> set[tuple[str, str]]:
        source = plan.nodes[i]
        return {
            (short[source.name], short[target.name])
            for j, target in enumerate(plan.nodes)
            if i != j and not is_reached(docker, source.name, f"100.96.{j}.2", f"100.96.{i}.2")
        }

    with ThreadPoolExecutor() as pool:
        return set().union(*pool.map(missing_from, range(len(plan.nodes))))


@pytest.mark.usefixtures("route_tables")
def test_pods_reach_each_other_once_every_zone_has_every_route(docker: Docker, cloud: CloudNetwork) -> None:
    everyone = {(one, other) for one in ("a11", "a12", "b11", "b12") for other in ("a11", "a12", "b11", "b12") if one != other}
    assert everyone == pings(docker, PLAN)
    create_all(cloud)
    assert set() == pings(docker, PLAN)


def test_a_route_missing_in_one_zone_cuts_that_zone_off_and_no_other(
    docker: Docker, cloud: CloudNetwork, route_tables: RouteTables
) -> None:
    create_all(cloud)
    route_tables.delete("a", FACTS[3].pod_cidr)
    # An echo is lost on the way out from zone a; b12's own echoes come back through zone a's table and are lost there.
    assert (
        {("a11", "b12"), ("a12", "b12")}
        <= pings(docker, PLAN)
        <= {(one, other) for one in ("a11", "a12", "b12") for other in ("a11", "a12", "b12")}
    )
    route_tables.create(make_route("a", FACTS[3]))
    assert set() == pings(docker, PLAN)


@pytest.mark.usefixtures("cloud")
def test_nodes_of_one_zone_reach_each_others_addresses_without_the_router(docker: Docker) -> None:
    first, second = PLAN.zones[0].nodes
    route = docker.execute_json(first.name, "ip", "-json", "route", "get", second.address)
    assert "gateway" not in route[0]
    assert is_reached(docker, first.name, second.address, first.address)


def test_the_default_route_of_every_node_is_its_zones_router_address(docker: Docker, cloud: CloudNetwork) -> None:
    for node in PLAN.nodes:
        routes = docker.execute_json(node.name, "ip", "-json", "route", "show", "default")
        assert [(route["gateway"], route["protocol"]) for route in routes] == [(node.gateway, "dhcp")]
        device = routes[0]["dev"]
        assert node.address in cloud.interfaces(node.name)[device]


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_rp_filter_is_as_asked_on_all_default_and_every_interface(docker: Docker, cloud: CloudNetwork, rp_filter: int) -> None:
    node = PLAN.nodes[3]
    cloud.wire(node, rp_filter)
    for place in ("all", "default", *cloud.interfaces(node.name)):
        read = [
            docker.execute(node.name, "cat", f"/proc/sys/net/ipv4/conf/{place}/{name}").strip()
            for name in ("rp_filter", "send_redirects", "accept_redirects")
        ]
        assert read == [str(rp_filter), "0", "0"], place
    cloud.wire(node, SPEC.rp_filter)


@pytest.mark.usefixtures("route_tables")
def test_what_has_no_route_never_leaves_the_router(docker: Docker) -> None:
    assert docker.execute(PLAN.router, "ip", "route", "show", "default") == ""
    with pytest.raises(WorldError, match="100% packet loss"):
        docker.execute(PLAN.nodes[0].name, "ping", "-n", "-c", "1", "-W", "1", "198.51.100.1")


def test_a_node_that_was_restarted_is_wired_again(docker: Docker, cloud: CloudNetwork) -> None:
    node = PLAN.nodes[1]
    docker.run("restart", "--time", "0", node.name)
    docker.execute(node.name, "ip", "address", "add", "100.96.1.2/32", "dev", "lo")
    cloud.wire(node, SPEC.rp_filter)
    assert is_reached(docker, node.name, PLAN.nodes[2].address, node.address)


@pytest.mark.usefixtures("cloud")
def test_everything_that_is_made_bears_its_owner(docker: Docker) -> None:
    assert docker.find_networks(f"{LABEL_CLUSTER}=trial") == ("trial-zone-a", "trial-zone-b")
    assert docker.find_containers(f"{LABEL_CLUSTER}=trial") == ("trial-router",)
    owner = docker.network_labels("trial-zone-a")[LABEL_OWNER]
    assert owner == this_process()
    assert is_owner_alive(owner)


def test_the_router_is_present_until_it_is_gone(engine: Docker) -> None:
    plan = make_plan(replace(SPEC, name="other", zones=3))
    assert not CloudNetwork(engine, plan, image=ROUTER_IMAGE).is_present()


def test_the_zones_go_although_containers_are_still_in_them(engine: Docker) -> None:
    plan = make_plan(replace(SPEC, name="held", zones=4))
    network = CloudNetwork(engine, replace(plan, zones=plan.zones[2:]), image=ROUTER_IMAGE)
    network.up()
    names = ("running", "restarted", "stopped")
    for name, zone in zip(names, (2, 2, 3), strict=True):
        engine.run("run", "--detach", "--name", name, "--network", plan.zones[zone].network, "--pull", "never", ROUTER_IMAGE)
    engine.run("restart", "--time", "0", "restarted")
    engine.run("kill", "stopped")
    remove_cluster(engine, "held")
    assert engine.find_networks(f"{LABEL_CLUSTER}=held") == ()
    assert [engine.is_running(name) for name in names] == [True, True, False]
    remove_containers(engine, (*names, "never-there"))
    assert set(names).isdisjoint(engine.run("ps", "--all", "--format", "{{.Names}}").split())


def test_a_router_that_cannot_start_leaves_no_network(engine: Docker) -> None:
    network = CloudNetwork(engine, make_plan(replace(SPEC, name="broken")), image="hitless/no-such-image:1")
    with pytest.raises(WorldError):
        network.up()
    remove_cluster(engine, "broken")
    assert engine.find_networks(f"{LABEL_CLUSTER}=broken") == ()

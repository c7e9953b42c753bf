"""What a node's kernel tells of its routes: lines of `ip -ts monitor route link`, as they were seen on nodes."""

from __future__ import annotations

from clusters.kind.route_watch import NodeRoutes, Reach, RouteChange
from hitless.facts import NodeFacts

PEER = NodeFacts(
    name="node-b1", zone="b", address="10.250.1.11", pod_cidr="100.96.1.0/24", gateway="10.250.1.1", tunnel_address="100.96.1.0"
)
STAMP = "[2026-11-29T00:20:00.250000]"


def routes_of(device: str) -> NodeRoutes:
    routes = NodeRoutes(peers=[PEER])
    routes.load([{"dst": "default", "dev": "eth1", "via": "10.250.0.1"}, {"dst": "100.96.1.0/26", "dev": device}])
    return routes


def change(before: Reach, after: Reach) -> tuple[RouteChange, ...]:
    return (RouteChange(at_ns=1_795_911_600_250_000_000, peer="node-b1", before=before, after=after),)


def test_felix_takes_the_route_out_of_the_tunnel() -> None:
    line = f"{STAMP} Deleted 100.96.1.0/26 via 100.96.1.0 dev vxlan.calico proto 80 onlink"
    assert routes_of("vxlan.calico").apply(line) == change(Reach.TUNNEL, Reach.DEFAULT)


def test_a_device_that_is_deleted_takes_its_routes_along_untold() -> None:
    line = f"{STAMP} Deleted 12: vxlan.calico: <BROADCAST,MULTICAST> mtu 1450 qdisc noop state DOWN group default"
    assert routes_of("vxlan.calico").apply(line) == change(Reach.TUNNEL, Reach.DEFAULT)
    assert routes_of("eth1").apply(line) == ()


def test_bird_re_points_a_route_and_cleanup_routes_removes_it() -> None:
    routes = routes_of("tunl0")
    assert routes.apply(f"{STAMP} 100.96.1.0/26 via 10.250.0.1 dev eth1 proto bird") == change(Reach.TUNNEL, Reach.ROUTE)
    assert routes.apply(f"{STAMP} Deleted 100.96.1.0/26 via 10.250.0.1 dev eth1 proto bird") == change(
        Reach.ROUTE, Reach.DEFAULT
    )


def test_a_block_outside_the_pod_cidrs_is_known_by_its_next_hop() -> None:
    routes = NodeRoutes(peers=[PEER])
    line = f"{STAMP} 100.120.0.64/26 via 100.96.1.0 dev vxlan.calico proto 80 onlink"
    assert routes.apply(line) == change(Reach.DEFAULT, Reach.TUNNEL)


def test_what_concerns_no_peer_changes_nothing() -> None:
    routes = routes_of("vxlan.calico")
    for line in (
        "12: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450",
        f"{STAMP} Deleted blackhole 100.96.0.0/26 proto 80",
        f"{STAMP} 100.96.0.7 dev cali0123456789a scope link",
        f"{STAMP} local 100.96.0.0 dev vxlan.calico table local proto kernel scope host src 100.96.0.0",
        "",
    ):
        assert routes.apply(line) == (), line
    assert routes.reach("node-b1") is Reach.TUNNEL

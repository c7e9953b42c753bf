"""What a node's kernel tells of its routes: lines of `ip -ts monitor route link`, as they were seen on nodes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kind.docker import Docker
from clusters.kind.route_watch import NodeRoutes, Reach, RouteChange, RouteWatch
from hitless.facts import NodeFacts
from hitless.words import Mode, Nanoseconds
from tests.clocks import JumpingClock
from tests.recorders import ListRecorder

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
    assert routes_of("vxlan.calico").apply(line) == change(Mode.OVERLAY, None)


def test_a_device_that_is_deleted_takes_its_routes_along_untold() -> None:
    line = f"{STAMP} Deleted 12: vxlan.calico: <BROADCAST,MULTICAST> mtu 1450 qdisc noop state DOWN group default"
    assert routes_of("vxlan.calico").apply(line) == change(Mode.OVERLAY, None)
    assert routes_of("eth1").apply(line) == ()


def test_bird_re_points_a_route_and_cleanup_routes_removes_it() -> None:
    routes = routes_of("tunl0")
    assert routes.apply(f"{STAMP} 100.96.1.0/26 via 10.250.0.1 dev eth1 proto bird") == change(Mode.OVERLAY, Mode.NATIVE)
    assert routes.apply(f"{STAMP} Deleted 100.96.1.0/26 via 10.250.0.1 dev eth1 proto bird") == change(Mode.NATIVE, None)


def test_a_block_outside_the_pod_cidrs_is_known_by_its_next_hop() -> None:
    routes = NodeRoutes(peers=[PEER])
    line = f"{STAMP} 100.120.0.64/26 via 100.96.1.0 dev vxlan.calico proto 80 onlink"
    assert routes.apply(line) == change(None, Mode.OVERLAY)


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
    assert routes.reach("node-b1") is Mode.OVERLAY


NODES = tuple(
    replace(PEER, name=f"node-{zone}1", zone=zone, address=f"10.250.{i}.11", pod_cidr=f"100.96.{i}.0/24", tunnel_address="")
    for i, zone in enumerate("abc")
)


class Engine(Docker):
    """An engine whose nodes had all routes in the tunnel, and whose monitors tell that all of them go."""

    def __init__(self) -> None:
        super().__init__(Path("docker"))

    def execute_json(self, _container: str, *command: str) -> object:
        return [{"dst": node.pod_cidr, "dev": "vxlan.calico", "protocol": "80"} for node in NODES] if "route" in command else []

    def start(self, *_arguments: str) -> subprocess.Popen[bytes]:
        lines = "".join(f"{STAMP} Deleted {node.pod_cidr} dev vxlan.calico proto 80\n" for node in NODES)
        monitor = subprocess.Popen(["printf", lines], stdout=subprocess.PIPE)  # noqa: S603, S607 - fixed words
        monitor.wait()
        return monitor


@pytest.mark.parametrize(
    ("left", "followed"),
    [(set(), [("node-a1", 2), ("node-b1", 2), ("node-c1", 2)]), ({"node-c1"}, [("node-a1", 1), ("node-b1", 1)])],
)
def test_routes_of_and_to_a_node_that_has_left_are_not_followed(left: set[str], followed: list[tuple[str, int]]) -> None:
    recorder = ListRecorder(JumpingClock())
    watch = RouteWatch(Engine(), NODES, recorder, JumpingClock(), left)
    watch.reconcile(Nanoseconds(0))
    watch.close()
    assert followed == [(event.facts["node"], event.facts["routes"]) for event in recorder.events]
    # All peers that are left: the event does not name them.
    assert [event.facts.get("peers") for event in recorder.events] == [None] * len(followed)

"""What the double of calico-node promises, driven by the real manifests through the in-memory API."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.lab.calico.node import make_skews
from gardener.feature_gates import FeatureGates
from gardener.manifests.render import DEFAULT_POOL, NODE_CIDR_POOL, render
from gardener.shoot import Shoot
from hitless.calico import TUNNEL_ANNOTATIONS
from hitless.objects import name_of
from hitless.words import Kind, Mode, Overlay
from tests.clocks import ms
from tests.unit.histories import node_facts
from tests.unit.lab_fakes import World, fast, make_shoot

NAMES = ["node-a1", "node-a2", "node-b1", "node-b2"]
AT = "2026-01-31T12:00:00Z"
ROUTE_CONTROLLER = "aws-custom-route-controller"
POOL_ONLY = (Kind.IP_POOL,)


def all_but(*kinds: Kind) -> tuple[Kind, ...]:
    return tuple(kind for kind in Kind if kind not in kinds)


def full_mesh(mode: Mode) -> dict[str, dict[str, Mode]]:
    return {node: dict.fromkeys(set(NAMES) - {node}, mode) for node in NAMES}


def routes(world: World) -> dict[str, dict[str, Mode]]:
    return {node: plane.routes for node, plane in world.planes.items()}


def switched(shoot: Shoot | None = None) -> World:
    """Return a world after its switch from IPIP to native, which begins at 100 ms with the policy, then ConfigMap, ..."""
    world = World()
    world.request(shoot or make_shoot(Mode.NATIVE), at_ms=100)
    world.run_until_settled(after_ms=160)
    return world


def test_ipip_to_native_ends_without_a_route_of_bird_and_with_tunl0() -> None:
    world = switched()
    assert routes(world) == {node: {} for node in NAMES}
    assert [plane.has_blackhole for plane in world.planes.values()] == [False] * 4
    assert [plane.has_tunnel for plane in world.planes.values()] == [True] * 4


def test_a_rolled_node_cleans_up_then_felix_starts_then_it_is_ready() -> None:
    world = switched()
    for node in NAMES:
        deleted = world.recorder.times_ms("pod.deleted", node=node)
        steps = world.recorder.named("calico.cleanup_routes", "calico.felix_started", "pod.ready", node=node)
        assert [(event.name, event.t_ns / 1e6 - deleted[0]) for event in steps] == [
            ("calico.cleanup_routes", 51.5),
            ("calico.felix_started", 80),
            ("pod.ready", 200),
        ]
        assert steps[0].facts == {"node": node, "removed": 4, "began_ns": ms(deleted[0] + 50)}


def test_a_bird_that_outlives_cleanup_routes_writes_its_routes_again_and_they_stay() -> None:
    world = World()
    world.calico[0].is_lingering = True
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.run_until_settled(after_ms=160)
    kept = dict.fromkeys({*NAMES} - {"node-a1"}, Mode.NATIVE)
    assert routes(world) == {node: kept if node == "node-a1" else {} for node in NAMES}
    assert world.planes["node-a1"].has_blackhole
    (scanned,) = world.recorder.named("calico.repointed", cause="kernel scan")
    (deleted_ms,) = world.recorder.times_ms("pod.deleted", node="node-a1")
    assert (scanned.facts["node"], scanned.t_ns / 1e6 - deleted_ms) == ("node-a1", 65)


def test_a_bird_that_outlives_cleanup_routes_with_a_successor_keeps_what_both_write() -> None:
    """With createPodRoutes the new BIRD writes the same routes, so nothing is left that is not its own."""
    world = World()
    world.calico[0].is_lingering = True
    world.request(make_shoot(Mode.NATIVE, overlay={"enabled": False, "createPodRoutes": True}), at_ms=100)
    world.run_until_settled(after_ms=160)
    assert routes(world) == full_mesh(Mode.NATIVE)


def test_the_pool_reaches_every_node_while_the_old_pods_run_and_at_another_time_each() -> None:
    world = World()
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=POOL_ONLY)
    world.run(1000)
    first = world.recorder.times_ms("calico.repointed", cause="IPPool")
    assert sorted(first) == pytest.approx([118, 118 + 20 / 3, 118 + 40 / 3, 138])
    # The second pool comes 10 ms after the first, sooner than a node sees either: BIRD writes everything again 40 ms later.
    again = world.recorder.times_ms("calico.repointed", cause="IPPool no-snat-for-node-cidr")
    assert sorted(again) == pytest.approx([at + 40 for at in sorted(first)])
    assert [event for event in world.recorder.named("calico.repointed") if "peers" in event.facts] == []
    assert {event.facts["mode"] for event in world.recorder.named("calico.repointed")} == {"NATIVE"}
    assert {event.facts["routes"] for event in world.recorder.named("calico.repointed")} == {3}
    assert routes(world) == full_mesh(Mode.NATIVE)
    assert [plane.has_blackhole and plane.has_tunnel for plane in world.planes.values()] == [True] * 4
    assert [[what for _, what in plane.calls] for plane in world.planes.values()] == [
        ["repoint NATIVE", "repoint NATIVE", "blackhole False", "blackhole True"]
    ] * 4
    assert world.recorder.named("pod.deleted") == []


def test_a_pool_that_comes_back_before_a_node_saw_it_is_never_seen_there() -> None:
    world = World()
    pool = render(world.shoot, FeatureGates())[-1]
    switching = next(one for one in render(make_shoot(Mode.NATIVE), FeatureGates()) if name_of(one) == DEFAULT_POOL)
    world.apply_at(100, switching)
    world.apply_at(128, pool)
    world.run(1000)
    modes = [event.facts["mode"] for event in world.recorder.named("calico.repointed")]
    assert modes == ["NATIVE", "NATIVE", "OVERLAY", "OVERLAY"]
    assert routes(world) == full_mesh(Mode.OVERLAY)


def test_a_dying_node_that_misses_the_pool_keeps_its_routes_in_the_tunnel_until_cleanup_routes() -> None:
    world = World()
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.run(165)
    # The pods are deleted at 130 ms, their BIRDs die at 155 ms and the pool of 150 ms is seen at 168 ms at the earliest.
    first = {event.facts["node"] for event in world.recorder.named("pod.deleted")[:2]}
    world.run_until_settled(after_ms=170)
    assert {event.facts["node"] for event in world.recorder.named("calico.repointed")} == set(NAMES) - first
    for node in first:
        calls = world.planes[node].calls
        assert [what for _, what in calls] == ["withdraw"] * 3 + ["cleanup_routes"]
        assert [at for at, _ in calls] == [180, 180.5, 181, 181.5]


@pytest.mark.parametrize(("stop_ms", "late_nodes"), [(29, 0), (21, 2)])
def test_the_old_containers_follow_the_pool_until_they_end(stop_ms: int, late_nodes: int) -> None:
    """The first two pods are deleted 20 ms before the pool changes; their BIRDs see it within 6 ms, if they live so long."""
    world = World(timings=fast(containers_stop_ns=ms(stop_ms), pool_seen_ns=ms(0), pool_skew_ns_max=ms(6)))
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.run_until_settled(after_ms=160)
    assert len(world.recorder.named("calico.repointed", cause="IPPool")) == len(NAMES) - late_nodes
    assert routes(world) == {node: {} for node in NAMES}


def test_an_unrolled_node_keeps_the_routes_to_a_dead_peer_for_the_graceful_restart_time() -> None:
    world = World(timings=fast(bird_graceful_restart_ns=ms(200), ready_ns=ms(500)))
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.run(500)
    gone = [event.facts["node"] for event in world.recorder.named("pod.deleted")]
    expired = world.recorder.named("calico.repointed", cause="graceful-restart expired")
    died_ms = world.recorder.times_ms("pod.deleted")[0]
    assert [(event.t_ns / 1e6, event.facts["mode"], event.facts["routes"]) for event in expired] == [
        (died_ms + 200, "NATIVE", 2),
        (died_ms + 200, "NATIVE", 2),
    ]
    assert {event.facts["node"] for event in expired} == set(NAMES) - set(gone)
    assert [event.facts["peers"] for event in expired] == [sorted(gone)] * 2
    for event in expired:
        assert world.planes[event.facts["node"]].routes.keys() == set(NAMES) - set(gone) - {event.facts["node"]}


def test_within_the_graceful_restart_time_a_peer_that_returns_loses_no_route() -> None:
    world = World()
    world.request(make_shoot(vethMTU="1400"), at_ms=100)
    # "vethMTU" changes the ConfigMap, and its checksum the template: BIRD restarts everywhere, one pair of nodes at a time.
    world.run_until_settled(after_ms=150)
    assert len(world.recorder.named("pod.ready")) == 4
    assert world.recorder.named("calico.repointed", "calico.cleanup_routes") == []
    assert [plane.calls for plane in world.planes.values()] == [[]] * 4
    assert routes(world) == full_mesh(Mode.OVERLAY)


def test_native_to_overlay_programs_a_route_only_once_both_ends_have_bird() -> None:
    world = World(shoot=make_shoot(Mode.NATIVE))
    world.request(make_shoot(Mode.OVERLAY), at_ms=100)
    seen: list[bool] = []

    def look() -> bool:
        started = {event.facts["node"] for event in world.recorder.named("calico.felix_started")}
        for node, plane in world.planes.items():
            seen.extend(node in started and peer in started for peer in plane.routes)
        return world.clock.now_ns() > ms(160) and world.is_settled()

    assert world.loop.run(look, ms(60_000))
    assert set(seen) == {True}
    assert routes(world) == full_mesh(Mode.OVERLAY)
    assert [plane.has_tunnel and plane.has_blackhole for plane in world.planes.values()] == [True] * 4
    assert world.recorder.named("calico.cleanup_routes") == []


def test_a_bird_that_waits_for_peers_in_vain_programs_the_others_after_twice_the_graceful_restart_time() -> None:
    world = World(shoot=make_shoot(Mode.NATIVE), timings=fast(bird_graceful_restart_ns=ms(200), ready_ns=ms(5000)))
    world.request(make_shoot(Mode.OVERLAY), at_ms=100)
    world.run(1000)
    started_ms = world.recorder.times_ms("calico.felix_started")
    repointed = world.recorder.named("calico.repointed")
    assert [(event.t_ns / 1e6, event.facts["cause"]) for event in repointed] == [
        (started_ms[0] + 400, "graceful restart ended")
    ] * 2
    assert {event.facts["routes"] for event in repointed} == {1}


def test_create_pod_routes_cleans_up_and_bird_restores_direct_routes() -> None:
    world = switched(make_shoot(Mode.NATIVE, overlay={"enabled": False, "createPodRoutes": True}))
    assert len(world.recorder.named("calico.cleanup_routes")) == 4
    assert routes(world) == full_mesh(Mode.NATIVE)
    assert [plane.has_blackhole for plane in world.planes.values()] == [True] * 4
    for node in NAMES:
        cleaned, started = (
            world.recorder.times_ms(name, node=node)[0] for name in ("calico.cleanup_routes", "calico.felix_started")
        )
        restored = world.recorder.times_ms("calico.repointed", node=node, cause="graceful restart ended")
        assert restored[0] >= started > cleaned


def test_vxlan_loses_routes_and_blackhole_with_the_pool_and_keeps_its_device_until_the_roll() -> None:
    world = World(shoot=make_shoot(encapsulation=Overlay.VXLAN))
    assert world.run_until_settled(after_ms=1) == 1
    world.request(make_shoot(Mode.NATIVE, Overlay.VXLAN), at_ms=100, kinds=POOL_ONLY)
    world.run(1000)
    withdrawn = {event.facts["node"]: event for event in world.recorder.named("calico.repointed")}
    assert {(event.facts["mode"], event.facts["cause"], event.facts["routes"]) for event in withdrawn.values()} == {
        ("NATIVE", "IPPool", 3)
    }
    assert sorted(event.t_ns / 1e6 for event in withdrawn.values()) == pytest.approx([118, 126, 134, 142])
    assert routes(world) == {node: {} for node in NAMES}
    assert [plane.has_blackhole for plane in world.planes.values()] == [False] * 4
    assert [plane.has_tunnel for plane in world.planes.values()] == [True] * 4
    assert world.is_settled()


def test_vxlan_to_native_rolls_without_touching_what_is_gone() -> None:
    world = World(shoot=make_shoot(encapsulation=Overlay.VXLAN))
    world.request(make_shoot(Mode.NATIVE, Overlay.VXLAN), at_ms=100)
    world.run_until_settled(after_ms=160)
    assert [plane.has_tunnel for plane in world.planes.values()] == [False] * 4
    assert len(world.recorder.named("calico.felix_started")) == 4
    withdrawn = world.recorder.named("calico.repointed")
    assert sorted((event.facts["node"], event.facts["routes"]) for event in withdrawn) == [(node, 3) for node in NAMES]
    for node, plane in world.planes.items():
        gone_ms = next(at for at, what in plane.calls if what == "tunnel False")
        assert next(event.t_ns / 1e6 for event in withdrawn if event.facts["node"] == node) <= gone_ms
    annotations = [node["metadata"].get("annotations", {}) for node in world.kube.list(Kind.NODE)]
    assert [TUNNEL_ANNOTATIONS[Overlay.VXLAN] in found for found in annotations] == [False] * 4


def test_native_to_vxlan_builds_devices_then_routes() -> None:
    world = World(shoot=make_shoot(Mode.NATIVE, Overlay.VXLAN))
    world.request(make_shoot(Mode.OVERLAY, Overlay.VXLAN), at_ms=100)
    world.run_until_settled(after_ms=160)
    assert routes(world) == full_mesh(Mode.OVERLAY)
    assert [plane.has_tunnel and plane.has_blackhole for plane in world.planes.values()] == [True] * 4


def test_a_roll_without_the_pool_leaves_half_switched_pairs() -> None:
    world = World(timings=fast(bird_graceful_restart_ns=ms(60_000), ready_ns=ms(2000)))
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=all_but(Kind.IP_POOL))
    world.run(1000)
    rolled = {event.facts["node"] for event in world.recorder.named("calico.cleanup_routes")}
    assert len(rolled) == 2
    assert {node: set(plane.routes.values()) for node, plane in world.planes.items()} == {
        node: set() if node in rolled else {Mode.OVERLAY} for node in NAMES
    }


@pytest.mark.parametrize("overlay", list(Overlay))
def test_nothing_is_settled_while_the_routes_lag_behind_the_pool(overlay: Overlay) -> None:
    world = World(shoot=make_shoot(encapsulation=overlay), timings=fast(vxlan_skew_ns_max=ms(20)))
    switching = next(one for one in render(make_shoot(Mode.NATIVE, overlay), FeatureGates()) if name_of(one) == DEFAULT_POOL)
    world.apply_at(100, switching)
    world.run(133)
    settled = {double.name: double.is_settled() for double in world.calico}
    repointed = {event.facts["node"] for event in world.recorder.named("calico.repointed")}
    assert settled == {f"calico-node/{node}": node in repointed for node in NAMES}
    assert len(repointed) == 3


@settings(max_examples=40, deadline=None)
@given(
    zones=st.integers(1, 3),
    per_zone=st.integers(1, 3),
    overlay=st.sampled_from(Overlay),
    start=st.sampled_from(Mode),
    back_ms=st.one_of(st.none(), st.integers(100, 900)),
)
def test_the_nodes_end_in_the_mode_that_was_requested_last(
    zones: int, per_zone: int, overlay: Overlay, start: Mode, back_ms: int | None
) -> None:
    other = Mode.NATIVE if start is Mode.OVERLAY else Mode.OVERLAY
    world = World(shoot=make_shoot(start, overlay), nodes=node_facts("abcdef"[:zones], per_zone))
    world.request(make_shoot(other, overlay), at_ms=10)
    if back_ms is not None:
        world.request(make_shoot(start, overlay), at_ms=10 + back_ms)
    world.run_until_settled(after_ms=100 + (back_ms or 0), limit_ms=120_000)
    end = other if back_ms is None else start
    names = {node.name for node in world.nodes}
    for name, plane in world.planes.items():
        assert plane.routes == (dict.fromkeys(names - {name}, Mode.OVERLAY) if end is Mode.OVERLAY else {})
        assert plane.has_blackhole is (end is Mode.OVERLAY)
        # A node that no overlay template reached before the operator changed his mind never made its tunl0.
        # And one that Felix made for VXLAN stays until a roll, which a node that none reached does not see.
        if not start is end is Mode.NATIVE:
            assert plane.has_tunnel is (end is Mode.OVERLAY or overlay is Overlay.IPIP)


def test_skews_are_spread_from_zero_to_one_and_the_same_in_every_run() -> None:
    skews = make_skews(NAMES)
    assert sorted(skews.values()) == [0, 1 / 3, 2 / 3, 1]
    assert make_skews(NAMES) == skews
    assert make_skews(["alone"]) == {"alone": 0}


@pytest.mark.parametrize("nodes", [True, False])
def test_nat_outgoing_spares_what_the_pools_say_once_a_node_has_seen_them(nodes: bool) -> None:  # noqa: FBT001 - a case
    world = World()
    plane = world.planes["node-a1"]
    pods = frozenset({"100.96.0.0/11"})
    assert (plane.masqueraded, plane.spared) == (pods, pods)
    for document in render(make_shoot(Mode.NATIVE), FeatureGates()):
        if nodes or name_of(document) != NODE_CIDR_POOL:
            world.apply_at(100, document)
    world.run_until_settled(after_ms=101)
    assert (plane.masqueraded, plane.spared) == (pods, pods | ({"10.250.0.0/16"} if nodes else set()))

"""The doubles of Calico take the times that real Calico was seen to take, on 4 nodes: the `gardener` timings."""

from __future__ import annotations

from functools import partial

import pytest

from gardener.timings import TIMINGS
from hitless.words import Kind, Mode, Overlay, Profile
from tests.unit.lab_fakes import World, make_shoot

GARDENER = TIMINGS[Profile.GARDENER]
NAMES = ["node-a1", "node-a2", "node-b1", "node-b2"]
make_world = partial(World, timings=GARDENER, gap_ms=20)


def switched(start: Mode, overlay: Overlay = Overlay.IPIP) -> World:
    """Return a world after a switch that begins at 100 ms."""
    world = make_world(make_shoot(start, overlay))
    wanted = Mode.NATIVE if start is Mode.OVERLAY else Mode.OVERLAY
    world.request(make_shoot(wanted, overlay), at_ms=100)
    world.run_until_settled(after_ms=1000, limit_ms=400_000)
    return world


def seconds_after(world: World, name: str, since: str, node: str) -> float:
    return (world.recorder.times_ms(name, node=node)[0] - world.recorder.times_ms(since, node=node)[0]) / 1000


@pytest.mark.parametrize(("overlay", "most_ms"), [(Overlay.IPIP, 126), (Overlay.VXLAN, 277)])
def test_the_nodes_see_the_pool_within_the_observed_skew(overlay: Overlay, most_ms: float) -> None:
    world = make_world(make_shoot(encapsulation=overlay))
    world.request(make_shoot(Mode.NATIVE, overlay), at_ms=100, kinds=(Kind.IP_POOL,))
    world.run(10_000)
    seen = world.recorder.times_ms("calico.repointed", cause="IPPool")
    assert len(seen) == 4
    assert max(seen) - min(seen) == pytest.approx(most_ms)


def test_bird_writes_everything_again_half_a_second_later() -> None:
    world = make_world()
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=(Kind.IP_POOL,))
    world.run(10_000)
    for node in NAMES:
        first, again = world.recorder.times_ms("calico.repointed", node=node)
        assert 400 <= again - first <= 700


def test_some_dying_nodes_miss_the_pool_and_keep_the_tunnel_until_cleanup_routes() -> None:
    world = switched(Mode.OVERLAY)
    missed = [node for node in NAMES if not world.recorder.times_ms("calico.repointed", node=node)]
    assert 1 <= len(missed) <= 2
    for node in missed:
        # BIRD dead after 0.3 s, cleanup-routes 1.4 s later.
        assert seconds_after(world, "calico.cleanup_routes", "pod.deleted", node) == pytest.approx(1.7, abs=0.1)


def test_cleanup_routes_takes_8_to_160_ms_for_four_routes() -> None:
    for event in switched(Mode.OVERLAY).recorder.named("calico.cleanup_routes"):
        assert event.facts["removed"] == 4
        assert 8 <= (event.t_ns - event.facts["began_ns"]) / 1e6 <= 160


def test_a_pod_is_ready_after_15_to_17_s() -> None:
    world = switched(Mode.OVERLAY)
    assert all(15 <= seconds_after(world, "pod.ready", "pod.deleted", node) <= 17 for node in NAMES)


def test_into_an_empty_mesh_the_first_pods_are_ready_after_35_s_and_the_roll_after_50() -> None:
    world = switched(Mode.NATIVE)
    ready = sorted(seconds_after(world, "pod.ready", "pod.deleted", node) for node in NAMES)
    assert ready[:2] == pytest.approx([16, 16], abs=1)
    assert ready[2:] == pytest.approx([35, 35], abs=1)
    assert world.recorder.times_ms("roll.finished")[0] / 1000 == pytest.approx(50, abs=2)


def test_calico_is_up_4_to_5_s_before_ready() -> None:
    world = switched(Mode.NATIVE)
    for node in NAMES:
        assert -5 <= seconds_after(world, "condition.written", "pod.ready", node) <= -4


def test_three_of_four_pods_write_that_calico_is_down() -> None:
    world = switched(Mode.OVERLAY)
    assert {event.facts["reason"] for event in world.recorder.named("condition.dropped")} == {"CalicoIsDown"}
    assert len(world.recorder.named("condition.dropped")) == 3


def test_vxlan_calico_stays_until_the_nodes_own_roll() -> None:
    world = switched(Mode.OVERLAY, Overlay.VXLAN)
    kept_s = []
    for node in NAMES:
        gone = next(at for at, what in world.planes[node].calls if what == "tunnel False")
        assert gone == pytest.approx(world.recorder.times_ms("calico.felix_started", node=node)[0])
        kept_s.append((gone - world.recorder.times_ms("calico.repointed", node=node)[0]) / 1000)
    # The second pair of nodes rolls when the first is ready: 16 s, and 5 s until its Felix starts.
    assert sorted(kept_s)[-2:] == pytest.approx([21, 21], abs=1)


def test_overlay_routes_come_on_all_nodes_at_once_when_the_last_bird_is_there() -> None:
    world = switched(Mode.NATIVE)
    repointed = world.recorder.times_ms("calico.repointed", cause="graceful restart ended")
    assert len(repointed) == 4
    assert max(repointed) - min(repointed) <= 34

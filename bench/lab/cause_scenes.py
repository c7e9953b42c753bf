"""The scenes of the cause experiment: how each cause is produced.

A scene begins and ends at home: every node in OVERLAY, no cloud route, filters loose. Before it breaks anything it sets the
stage, which loses nothing. What it breaks and for whom is drawn at random; so is what happens beside it and breaks nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from analysis.causes.candidates import CauseKind
from analysis.causes.finder import HEADER_OCTETS
from bench.lab.cause_world import LOOSE, STRICT, CauseWorld
from hitless.faults import NODE_ROUTE_LOST
from hitless.words import Mode

SKEW_MS: Final = 20.0
"""Nodes see a changed pool within so long of each other, as in the fast profile. Source: gardener.timings."""
CREATE_MS: Final = (5.0, 40.0)
"""Between two routes that are created. Source: the same, route_create_ns."""
LARGE_OCTETS: Final = 1200
"""Payload of the probes of a few flows: they differ from the others by size alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One thing to break, on a stage that is set."""

    kind: CauseKind
    subjects: frozenset[str]
    """What the cause may name; empty: it names nothing."""
    break_it: Callable[[], None]
    heal_it: Callable[[], None]


Stage = Callable[[CauseWorld, random.Random], Scene]


def pool_before_routes(world: CauseWorld, choice: random.Random) -> Scene:
    """Re-point every node while some tables of other zones lack a route; then create those."""
    across = [(zone, node) for zone, node in world.pairs if world.nodes[node].zone != zone]
    missing = choice.sample(across, choice.randint(1, len(across)))
    world.create_all(but=missing)

    def break_it() -> None:
        world.apply_pool(Mode.NATIVE)
        for node in choice.sample(sorted(world.nodes), len(world.nodes)):
            time.sleep(choice.uniform(0, SKEW_MS) / 1000 / len(world.nodes))
            world.repoint(node, Mode.NATIVE)

    return Scene(
        kind=CauseKind.POOL_BEFORE_ROUTES,
        subjects=_routes(missing),
        break_it=break_it,
        heal_it=lambda: _create_slowly(world, choice, missing),
    )


def cleanup_before_routes(world: CauseWorld, choice: random.Random) -> Scene:
    """Run cleanup-routes on a node while the table of its zone lacks the route to a peer of the same zone."""
    zone = choice.choice(world.zones)
    peer, node = choice.sample([node.name for node in world.nodes.values() if node.zone == zone], 2)
    world.create_all(but=[(zone, peer)])
    world.go_native()
    return Scene(
        kind=CauseKind.CLEANUP_BEFORE_ROUTES,
        subjects=_routes([(zone, peer)]),
        break_it=lambda: world.clean_up(node),
        heal_it=lambda: world.create(zone, peer),
    )


def route_deleted(world: CauseWorld, choice: random.Random) -> Scene:
    """Delete a route that is in use; sometimes one of the same zone, after cleanup-routes made it needed."""
    zone, node = _route_in_use(world, choice)
    return Scene(
        kind=CauseKind.ROUTE_DELETED,
        subjects=_routes([(zone, node)]),
        break_it=lambda: world.delete(zone, node),
        heal_it=lambda: world.create(zone, node),
    )


def fault(world: CauseWorld, choice: random.Random) -> Scene:
    """Lose a route that is in use by the fault of that name."""
    zone, node = _route_in_use(world, choice)
    return Scene(
        kind=CauseKind.FAULT,
        subjects=frozenset(f"{NODE_ROUTE_LOST}: {route}" for route in _routes([(zone, node)])),
        break_it=lambda: world.lose(zone, node),
        heal_it=lambda: world.cure(zone, node),
    )


def unexplained(world: CauseWorld, choice: random.Random) -> Scene:
    """Blackhole a node in the router, or take its port out of the bridge, in any mix of modes, without an event."""
    if choice.random() < 2 / 3:
        world.create_all()
        world.go_native(choice.sample(sorted(world.nodes), choice.randint(1, len(world.nodes))))
    target, is_port = choice.choice(sorted(world.nodes)), choice.random() < 1 / 2
    change = world.set_port if is_port else world.set_forwarding
    return Scene(
        kind=CauseKind.UNEXPLAINED,
        subjects=frozenset(),
        break_it=lambda: change(target, is_whole=False),
        heal_it=lambda: change(target, is_whole=True),
    )


def reverse_path_filter(world: CauseWorld, choice: random.Random) -> Scene:
    """Make one node's filter strict while its mode and that of others differ."""
    node = choice.choice(sorted(world.nodes))
    world.create_all()
    world.go_native([node] if choice.random() < 1 / 2 else [other for other in world.nodes if other != node])
    return Scene(
        kind=CauseKind.REVERSE_PATH_FILTER,
        subjects=frozenset({f"rp_filter of {node}"}),
        break_it=lambda: world.set_filter(node, STRICT),
        heal_it=lambda: world.set_filter(node, LOOSE),
    )


def tunnel_gone(world: CauseWorld, choice: random.Random) -> Scene:
    """Take the tunnel device of a native node away while others still encapsulate for it."""
    node = choice.choice(sorted(world.nodes))
    world.create_all()
    world.go_native([node])
    return Scene(
        kind=CauseKind.TUNNEL_GONE,
        subjects=frozenset({f"tunnel device of {node}"}),
        break_it=lambda: world.set_tunnel(node, is_present=False),
        heal_it=lambda: world.set_tunnel(node, is_present=True),
    )


def too_large(world: CauseWorld, choice: random.Random) -> Scene:
    """Lower the MTU of a node's interface below the size of encapsulated large packets; small ones pass."""
    node = choice.choice(sorted(world.nodes))
    return Scene(
        kind=CauseKind.TOO_LARGE,
        subjects=frozenset({f"interface of {node}"}),
        break_it=lambda: world.lower_mtu(node, LARGE_OCTETS + HEADER_OCTETS),
        heal_it=lambda: world.restore_mtu(node),
    )


STAGES: Final[Mapping[CauseKind, Stage]] = {
    CauseKind.POOL_BEFORE_ROUTES: pool_before_routes,
    CauseKind.CLEANUP_BEFORE_ROUTES: cleanup_before_routes,
    CauseKind.ROUTE_DELETED: route_deleted,
    CauseKind.FAULT: fault,
    CauseKind.REVERSE_PATH_FILTER: reverse_path_filter,
    CauseKind.TUNNEL_GONE: tunnel_gone,
    CauseKind.TOO_LARGE: too_large,
    CauseKind.UNEXPLAINED: unexplained,
}


def distract(world: CauseWorld, choice: random.Random) -> None:
    """Cause harmless events of every cluster: a condition, a replaced pod, an unused route flaps."""
    node, what = choice.choice(sorted(world.nodes)), choice.randrange(3)
    if what == 0:
        actor = "aws-custom-route-controller"
        world.events.record("condition.written", node=node, status="True", reason="NoRouteCreated", actor=actor)
    elif what == 1:
        for name in ("pod.deleted", "pod.created", "pod.ready"):
            world.events.record(name, node=node, pod=f"calico-node-{choice.randrange(1000)}")
    elif world.idle_routes:
        idle = choice.choice(world.idle_routes)
        world.delete(*idle)
        world.create(*idle)


def _route_in_use(world: CauseWorld, choice: random.Random) -> tuple[str, str]:
    """Have all nodes native, one of them with its default route alone, and return a route that is in use."""
    world.create_all()
    world.go_native()
    cleaned = choice.choice(sorted(world.nodes))
    world.clean_up(cleaned)
    in_use = [
        (zone, node)
        for zone, node in world.pairs
        if world.nodes[node].zone != zone or (world.nodes[cleaned].zone == zone and node != cleaned)
    ]
    return choice.choice(in_use)


def _create_slowly(world: CauseWorld, choice: random.Random, routes: list[tuple[str, str]]) -> None:
    for zone, node in routes:
        time.sleep(choice.uniform(*CREATE_MS) / 1000)
        world.create(zone, node)


def _routes(pairs: list[tuple[str, str]]) -> frozenset[str]:
    return frozenset(f"route of zone {zone} to {node}" for zone, node in pairs)

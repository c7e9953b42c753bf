"""How long the gate holds on large Shoots: the doubles in memory, on a simulated clock.

The route controller creates one route after the other in every zone's table, then writes one condition after the other; the
extension asks the gate again after a back-off that doubles. So the hold grows with nodes times zones, and by what is left of
the back-off. A table that cannot hold all routes keeps the gate shut.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import scenarios
from bench.question import Question
from bench.tables import Table
from clusters.lab.kube import MemoryKube
from commands.terminal import print_progress
from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.route_controller import RouteControllerMode
from gardener.feature_gates import FeatureGates
from gardener.gate import decide
from gardener.manifests.admission import admit
from gardener.shoot import load_shoot
from gardener.timings import TIMINGS
from hitless.facts import NodeFacts
from hitless.loop import Loop
from hitless.words import SECOND, JsonObject, Mode, Nanoseconds, Profile
from switches.doubles import SwitchSpec, initial_objects, make_switch
from tests.clocks import JumpingClock
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import MemoryTables

_SHOOT: Final = Path(scenarios.__path__[0]) / "shoots" / "aws-1.36.yaml"
ZONES: Final = ("a", "b", "c")
_QUOTA_ONCE, _QUOTA_DEFAULT, _QUOTA_MAX = 50, 500, 1000
"""Routes of a table: AWS's former default, its default and its maximum. Source: docs/mechanics.md, quota."""
_SLOW_HZ: Final = 2.0
"""CreateRoute calls per second that an API grants which others use as well; alone the controller makes 4 (250 ms per call)."""
_GIVEN_UP_S: Final = 4 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One Shoot."""

    nodes: int
    quota: int | None = _QUOTA_MAX
    calls_hz: float | None = None


_SHAPES: Final = (
    Shape(nodes=50, quota=_QUOTA_ONCE),
    Shape(nodes=51, quota=_QUOTA_ONCE),
    Shape(nodes=50, quota=_QUOTA_DEFAULT),
    Shape(nodes=50, quota=_QUOTA_DEFAULT, calls_hz=_SLOW_HZ),
    Shape(nodes=500, quota=_QUOTA_DEFAULT),
    Shape(nodes=500, quota=_QUOTA_DEFAULT, calls_hz=_SLOW_HZ),
    Shape(nodes=501, quota=_QUOTA_DEFAULT),
    Shape(nodes=1000),
    Shape(nodes=5000, quota=None),
    Shape(nodes=5000, quota=None, calls_hz=_SLOW_HZ),
)
_SHAPES_QUICK: Final = _SHAPES[:3]


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    rows = []
    for shape in _SHAPES_QUICK if is_quick else _SHAPES:
        print_progress(f"hold of the gate, {shape.nodes:,} nodes, quota {shape.quota}, calls per second {shape.calls_hz} ...")
        rows.append(measure_hold(shape))
    return {"zones": len(ZONES), "rows": rows}


def measure_hold(shape: Shape, give_up_s: float = _GIVEN_UP_S) -> JsonObject:
    """Switch a Shoot of this size from overlay to native; return what the gate did until it opened, or the time was over."""
    shoot = load_shoot(_SHOOT).with_mode(Mode.OVERLAY)
    clock = JumpingClock()
    kube, events = MemoryKube(admit=admit, clock=clock), ListRecorder(clock)
    for document in initial_objects(shoot, _make_nodes(shape.nodes)):
        kube.apply(document, actor="bench")
        if "status" in document:
            kube.replace_status(document, actor="bench")
    behaviour = CloudBehaviour(
        quota={} if shape.quota is None else dict.fromkeys(ZONES, shape.quota), calls_per_second=shape.calls_hz
    )
    spec = SwitchSpec(
        shoot=shoot,
        wanted=(shoot.with_mode(Mode.NATIVE),),
        feature_gates=FeatureGates(seamless_overlay_switch=True),
        timings=TIMINGS[Profile.GARDENER],
        gate=decide,
        route_controller=RouteControllerMode.FAITHFUL,
        behaviour=behaviour,
    )
    switch = make_switch(spec, kube=kube, routes=MemoryTables(ZONES), recorder=events, clock=clock)
    loop = Loop(switch.participants, kube, clock)
    loop.at(Nanoseconds(0), lambda: switch.request(0))

    def times_s(name: str) -> list[float]:
        return [event.t_ns / SECOND for event in events.named(name)]

    loop.run(lambda: bool(times_s("gate.opened")), Nanoseconds(round(give_up_s * SECOND)))
    opened, synced = times_s("gate.opened"), times_s("routes.synced")
    return {
        "nodes": shape.nodes,
        "quota": shape.quota,
        "calls_hz": shape.calls_hz,
        "routes": len(times_s("route.created")),
        "failed": len(times_s("route.failed")),
        "synced_s": synced[0] if synced else None,
        "opened_s": opened[0] if opened else None,
        "looks": len(times_s("gate.held")) + len(opened),
    }


def _make_nodes(count: int) -> tuple[NodeFacts, ...]:
    return tuple(
        NodeFacts(
            name=f"node-{index:04}",
            zone=ZONES[index % len(ZONES)],
            address=f"10.{index >> 8}.{index & 0xFF}.9",
            pod_cidr=f"100.{64 + (index >> 8)}.{index & 0xFF}.0/24",
            gateway="10.255.0.1",
        )
        for index in range(count)
    )


def _show(document: JsonObject) -> tuple[Table, ...]:
    return (
        Table(
            title=f"Hold of the gate, {document['zones']} zones, real timings, doubles with a simulated clock",
            columns=(
                "nodes",
                "quota per table",
                "calls granted/s",
                "routes created",
                "all routes after",
                "gate opened",
                "looks",
            ),
            rows=tuple(_make_cells(row) for row in document["rows"]),
            note=(
                "Times since the operator's request; looks: how often the extension evaluated the gate. CreateRoute takes "
                "250 ms, one call after the other. Without a rate, the API grants every call."
            ),
        ),
    )


def _make_cells(row: JsonObject) -> tuple[str, ...]:
    return (
        f"{row['nodes']:,}",
        "none" if row["quota"] is None else f"{row['quota']:,}",
        "all" if row["calls_hz"] is None else f"{row['calls_hz']:g}",
        f"{row['routes']:,}",
        "never" if row["synced_s"] is None else _say(row["synced_s"]),
        f"not within {_GIVEN_UP_S // 3600} h" if row["opened_s"] is None else _say(row["opened_s"]),
        f"{row['looks']:,}",
    )


def _say(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - ten minutes


HOLD: Final = Question(name="hold", text="how long the gate holds on large Shoots", ask=_ask, show=_show)

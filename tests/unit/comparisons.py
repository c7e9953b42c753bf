"""A realistic comparison, made by hand: both arms of the plain switch, 12 mesh and 4 control flows at 200 Hz."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.comparison import Comparison
from analysis.evidence import Evidence, JudgedRun
from checks.catalogue import run_checks
from hitless.events import Event
from hitless.history import History
from hitless.verdicts import judge
from hitless.words import MILLISECOND, Arm, FlowRole, JsonObject, Nanoseconds
from tests.clocks import ms
from tests.unit.histories import (
    INTERVAL_NS,
    START_NS,
    event,
    facts,
    header,
    history,
    mesh_flows,
    node_facts,
    records,
    repointed,
)

_REALISTIC_TICKS: Final = 500
_REQUESTED_MS: Final = 300


def _realistic_events(pool_ms: float, route_ms: float, arm: Arm) -> tuple[Event, ...]:
    """A fast-profile switch: eight routes of `route_ms` each; GATED holds until the last is there."""
    nodes = node_facts()
    at = [_REQUESTED_MS + 80 + route_ms * (index + 1) for index in range(8)]
    pairs = [(zone, node) for zone in "ab" for node in nodes]
    routes = [
        event(end, "route.created", zone=zone, cidr=node.pod_cidr, node=node.name, began_ns=ms(end - route_ms))
        for end, (zone, node) in zip(at, pairs, strict=True)
    ]
    written = [
        event(at[-1] + 5 * (i + 1), "condition.written", node=node.name, status="False", reason="RouteCreated", actor="crc")
        for i, node in enumerate(nodes)
    ]
    gate = [event(_REQUESTED_MS + 30, "gate.not_applicable", reason="feature gate SeamlessOverlaySwitch is off")]
    if arm is Arm.GATED:
        pool_ms = at[-1] + 60
        held_ms = [_REQUESTED_MS + 30 + 50 * index for index in range(int((pool_ms - _REQUESTED_MS - 40) // 50))]
        missing = [[node.name for node in nodes]] * (len(held_ms) - 1) + [["node-b2"]]
        gate = [
            event(at_ms, "gate.held", missing=names, error="waiting for routes", retry_ns=ms(50))
            for at_ms, names in zip(held_ms, missing, strict=True)
        ]
        gate.append(event(pool_ms - 35, "gate.opened", held_ns=ms(pool_ms - 35 - held_ms[0]), nodes=4))
    order = ("ConfigMap", "DaemonSet", "Deployment", "IPPool")
    applied = [
        event(pool_ms - 10 * (3 - i), "manifest.applied", kind=kind, name="calico", mode="NATIVE")
        for i, kind in enumerate(order)
    ]
    applied += repointed(pool_ms + 15, took_ms=15)
    roll = [event(pool_ms - 15, "roll.started", generation=2), event(pool_ms + 400, "roll.finished", generation=2)]
    roll += [event(pool_ms + 40 + 150 * (i // 2), "calico.cleanup_routes", node=n.name, removed=4) for i, n in enumerate(nodes)]
    settled_ms = max(pool_ms + 420, at[-1] + 40)
    frame = [
        event(0, "run.started"),
        event(60, "run.live"),
        event(_REQUESTED_MS, "switch.requested", mode="NATIVE"),
        event(settled_ms, "run.settled"),
        event(settled_ms + 500, "run.probing_stopped"),
    ]
    return tuple(sorted([*frame, *gate, *routes, *written, *applied, *roll], key=lambda one: one.t_ns))


def realistic(arm: Arm, trial: int, *, gate_leaks: int = 0) -> History:
    """One trial of a whole comparison: 12 mesh flows and 4 control flows at 200 Hz.

    UNGATED loses what goes to another zone from the IPPool's apply until both routes exist. `gate_leaks`: number of probes that
    one flow of the GATED arm loses.
    """
    cluster = facts()
    flows = mesh_flows(cluster)
    route_ms = 38 + 3 * trial
    pool_ms = _REQUESTED_MS + 75 + 7 * trial
    events = _realistic_events(pool_ms, route_ms, arm)
    came = {(one.facts["zone"], one.facts["node"]): one.t_ns / MILLISECOND for one in events if one.name == "route.created"}
    applied_ms = next(one.t_ns for one in events if one.facts.get("kind") == "IPPool") / MILLISECOND
    strings, paths, drops = {}, {}, 0
    for flow in flows:
        source, destination = flow.source.rsplit("-", 1)[0], flow.destination.rsplit("-", 1)[0]
        is_far = source[5] != destination[5]
        marks = np.full(_REALISTIC_TICKS, ".")
        tick_ms = START_NS / MILLISECOND + np.arange(_REALISTIC_TICKS) * INTERVAL_NS / MILLISECOND
        if is_far and arm is Arm.UNGATED:
            marks[(tick_ms > applied_ms) & (tick_ms < came[destination[5], source])] = "f"
            marks[(tick_ms > applied_ms) & (tick_ms < came[source[5], destination])] = "X"
        if arm is Arm.GATED and flow.id == 5:
            marks[200 : 200 + gate_leaks] = "X"
        strings[int(flow.id)] = "".join(marks)
        drops += int(np.count_nonzero(marks != "."))
        switched = flow.role is FlowRole.MESH and is_far
        paths[int(flow.id)] = "".join(np.where((tick_ms > applied_ms + 15) & switched, "r", "t"))
    checks: dict[str, JsonObject] = {
        "continuity": {"downtime_ms": 0},
        "convergence": {},
        "ordering": {},
        "books": {},
        "hygiene": {},
    }
    quiet = {"Ip.InReceives": 0, "Ip.InDelivers": 0, "Ip.ForwDatagrams": 0, "Ip.OutRequests": 0, "Ip.OutTransmits": 0}
    passed = {"Ip.InReceives": 9000, "Ip.InDelivers": 0, "Ip.ForwDatagrams": 9000 - drops, "Ip.OutRequests": 0}
    router = {**passed, "Ip.OutTransmits": 9000 - drops, "IpExt.InNoRoutes": drops}
    hosts = {"Ip.InReceives": 9000 - drops, "Ip.InDelivers": 9000 - drops, "Ip.ForwDatagrams": 0}
    return history(
        header=header(arm=arm, trial=trial, checks=checks, validation_ns=Nanoseconds(500 * MILLISECOND)),
        facts=cluster,
        flows=flows,
        events=events,
        records=records(strings, ttls=paths),
        counters_before={"vpc": quiet, "node-a1-mesh": quiet},
        counters_after={"vpc": router, "node-a1-mesh": {**hosts, "Ip.OutRequests": 9000, "Ip.OutTransmits": 9000}},
    )


def judged(run: History) -> JudgedRun:
    evidence = Evidence(run)
    results = run_checks(evidence)
    return JudgedRun(evidence=evidence, results=results, verdict=judge(results))


def comparison(trials: int = 2, *, gate_leaks: int = 0) -> Comparison:
    """Both arms interleaved, as `hitless compare` runs them."""
    runs = [realistic(arm, trial, gate_leaks=gate_leaks) for trial in range(1, trials + 1) for arm in Arm]
    return Comparison(runs=tuple(judged(run) for run in runs))

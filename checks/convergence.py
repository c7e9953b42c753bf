"""Convergence: was the arm's end mode reached everywhere, and held for the validation time?

Objects say what was ordered, routes what was done, and the flows whether packets follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from analysis.measure import Measures, measure
from checks.budgets import read_budgets
from checks.modes import is_tunnel_route, name_of, objects_of, pool_mode, template_mode
from hitless.facts import Flow
from hitless.history import History
from hitless.records import Rows
from hitless.verdicts import Finding
from hitless.words import MILLISECOND, FlowRole, JsonObject, Kind, Mode, Nanoseconds, Verdict

NAME: Final = "convergence"
IS_VALIDITY: Final = False
BUDGETS: Final[Mapping[str, float | None]] = {
    "convergence_ms": None,  # Full Convergence Time; null: any
    "rolls": None,  # exactly so many rolls of the DaemonSet; null: any
}
"""Budget name to its default."""

_PATH_PROBES: Final = 5
"""A flow's path is that of the last probes before the request, and of the last of all: RFC 6412 3.7.5 asks for 5."""


def check(history: History, budgets: JsonObject) -> Iterable[Finding]:
    """Compare objects, nodes and flows at the end with the arm's end mode."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    measures = measure(history)
    yield from _judge_objects(history)
    yield from _judge_rolls(history, limits["rolls"])
    yield from _judge_nodes(history)
    yield from _judge_paths(history)
    if history.header.end_mode is history.header.start_mode:
        text = f"not applicable to the flows' times: the arm stays in {history.header.end_mode}"
        yield Finding(verdict=Verdict.PASS, code="no-convergence-expected", text=text)
    else:
        yield from _judge_times(history, measures, limits["convergence_ms"])
    yield from _judge_held(history, measures)


def _judge_objects(history: History) -> Iterator[Finding]:
    """The IPPool and the DaemonSet's template say the end mode, and every node runs that template."""
    wanted = history.header.end_mode
    pools = [(pool, pool_mode(pool)) for pool in objects_of(history, Kind.IP_POOL)]
    sets = tuple(objects_of(history, Kind.DAEMON_SET))
    if not any(mode is not None for _, mode in pools) or not sets:
        text = "the IPPool or the DaemonSet at the end is not known"
        yield Finding(verdict=Verdict.INCONCLUSIVE, code="objects-not-read", text=text)
    for pool, mode in pools:
        if mode is not None and mode is not wanted:
            text = f"the IPPool {name_of(pool)} says {mode} at the end; expected: {wanted}"
            yield Finding(verdict=Verdict.FAIL, code="pool-not-switched", text=text)
    for daemon_set in sets:
        mode = template_mode(daemon_set)
        if mode is not wanted:
            text = f"the DaemonSet {name_of(daemon_set)} says {mode} at the end; expected: {wanted}"
            yield Finding(verdict=Verdict.FAIL, code="daemonset-not-switched", text=text)
        yield from _judge_roll(history, daemon_set)


def _judge_roll(history: History, daemon_set: JsonObject) -> Iterator[Finding]:
    """A roll that started must have finished. Status fields: Kubernetes API, DaemonSetStatus."""
    status = daemon_set.get("status", {})
    updated, desired = status.get("updatedNumberScheduled"), status.get("desiredNumberScheduled")
    started = [event.facts.get("generation") for event in history.events_named("roll.started")]
    finished = {event.facts.get("generation") for event in history.events_named("roll.finished")}
    is_behind = updated is not None and desired is not None and updated < desired
    # A second change supersedes a roll: only the last one has to come to its end.
    is_open = bool(started) and started[-1] not in finished
    if is_behind or is_open:
        where = f"{updated} of {desired} pods are updated" if is_behind else f"generation {started[-1]} did not finish"
        text = f"the roll of {name_of(daemon_set)} is not over: {where}"
        yield Finding(verdict=Verdict.FAIL, code="roll-unfinished", text=text)


def _judge_rolls(history: History, wanted: float | None) -> Iterator[Finding]:
    """A change that is no switch rolls once, no change rolls never."""
    started = sum(1 for _ in history.events_named("roll.started"))
    if wanted is not None and started != wanted:
        text = f"the DaemonSet rolled {started} times; expected: {wanted:g}"
        yield Finding(verdict=Verdict.FAIL, code="rolls-unexpected", text=text)


def _judge_nodes(history: History) -> Iterator[Finding]:
    """Every node's routes are of the end mode."""
    if not history.final_nodes:
        yield Finding(
            verdict=Verdict.INCONCLUSIVE, code="nodes-not-read", text="the state of the nodes at the end is not known"
        )
        return
    has_peers = len(history.facts.nodes) > 1
    strays = []
    for state in history.final_nodes:
        in_tunnel = sum(1 for route in state.routes if is_tunnel_route(route))
        mode = Mode.OVERLAY if in_tunnel else Mode.NATIVE
        if has_peers and mode is not history.header.end_mode:
            strays.append(state.node)
    if strays:
        some = ", ".join(strays[:5])
        text = f"{len(strays)} of {len(history.final_nodes)} nodes do not route in mode {history.header.end_mode}: {some}"
        yield Finding(verdict=Verdict.FAIL, code="node-not-switched", text=text)


def _judge_paths(history: History) -> Iterator[Finding]:
    """See from the TTL at the reflector whether packets follow.

    A path through the router is one hop longer than one by tunnel, where the router counts itself. Flows within a zone and
    between zones are asked apart: if the TTL of one flow of its kind changed, the router is seen to count, and that of every
    other must have changed as well.
    """
    requested = history.first_event("switch.requested")
    stopped = history.first_event("run.probing_stopped")
    if requested is None or stopped is None:
        yield Finding(verdict=Verdict.PASS, code="path-not-visible", text="not applicable: no switch was requested")
        return
    since_ns = stopped.t_ns - history.header.validation_ns
    zones = {endpoint.name: endpoint.zone for endpoint in history.facts.endpoints}
    moved: dict[bool, list[Flow]] = {False: [], True: []}
    stayed: dict[bool, list[Flow]] = {False: [], True: []}
    for flow in history.flows_of(FlowRole.MESH):
        rows = _answered(history, flow)
        first = _path_ttl(rows[rows["send_began_ns"] < requested.t_ns])
        last = _path_ttl(rows[rows["send_began_ns"] >= since_ns])
        if first is not None and last is not None:
            is_far = zones.get(flow.source) != zones.get(flow.destination)
            (stayed if first == last else moved)[is_far].append(flow)
    if history.header.end_mode is history.header.start_mode:
        for flow in (*moved[True], *moved[False]):
            text = f"{flow.label} took another path at the end than before the request, but the mode should not have changed"
            yield Finding(verdict=Verdict.FAIL, code="path-changed", text=text, flow=flow.id)
        return
    for is_far, name in ((True, "between zones"), (False, "within a zone")):
        if moved[is_far]:
            for flow in stayed[is_far]:
                text = f"{flow.label} still takes the path that it took before the request, others {name} do not"
                yield Finding(verdict=Verdict.FAIL, code="path-not-switched", text=text, flow=flow.id)
        elif stayed[is_far]:
            text = f"the TTL of {len(stayed[is_far])} flows {name} is the same before and after: it does not tell their path"
            yield Finding(verdict=Verdict.PASS, code="path-not-visible", text=text)


def _answered(history: History, flow: Flow) -> Rows:
    rows = history.records.sender
    start, end = np.searchsorted(rows["flow"], (flow.id, flow.id + 1))
    mine = rows[start:end]
    return mine[(mine["copies"] > 0) & (mine["forward_ttl"] > 0)]


def _path_ttl(rows: Rows) -> int | None:
    """Return the TTL that the last probes agree on, else None."""
    ttls = np.unique(rows["forward_ttl"][-_PATH_PROBES:])
    return int(ttls[0]) if ttls.size == 1 else None


def _judge_times(history: History, measures: Measures, limit_ms: float | None) -> Iterator[Finding]:
    """Every flow uses the new path unimpaired, for good."""
    times_ns = []
    for flow in history.flows_of(FlowRole.MESH):
        found = measures.get(flow.id)
        if found is None or found.convergence_ns is None:
            text = f"{flow.label} did not come to use the new path unimpaired before the probing ended"
            yield Finding(verdict=Verdict.FAIL, code="flow-not-converged", text=text, flow=flow.id)
        else:
            times_ns.append(found.convergence_ns)
    if not times_ns:
        return
    full_ms = max(times_ns) / MILLISECOND
    accuracy = f"+-{history.header.interval_ns / MILLISECOND:g} ms"
    if limit_ms is not None and full_ms > limit_ms:
        text = f"the slowest flow took {full_ms:.1f} ms ({accuracy}) to converge; {limit_ms:g} ms are allowed"
        yield Finding(verdict=Verdict.FAIL, code="convergence-over-budget", text=text)
    else:
        text = f"{len(times_ns)} flows converged, the slowest {full_ms:.1f} ms ({accuracy}) after the request"
        yield Finding(verdict=Verdict.PASS, code="converged", text=text)


def _judge_held(history: History, measures: Measures) -> Iterator[Finding]:
    """The end mode was held for the Sustained Convergence Validation Time without loss. Source: RFC 6412 3.7.5."""
    ended = next(history.events_named("run.settled", "run.timed_out"), None)
    stopped = history.first_event("run.probing_stopped")
    validation_ns = history.header.validation_ns
    if ended is None or stopped is None or stopped.t_ns - ended.t_ns < validation_ns:
        text = f"the probing did not go on for the validation time of {validation_ns / MILLISECOND:g} ms"
        yield Finding(verdict=Verdict.INCONCLUSIVE, code="validation-too-short", text=text)
        return
    since_ns = stopped.t_ns - validation_ns
    for flow in history.flows_of(FlowRole.MESH):
        found = measures.get(flow.id)
        if found is not None and found.outages and found.outages[-1].end_ns > since_ns:
            text = f"{flow.label} lost probes in the validation time of {validation_ns / MILLISECOND:g} ms"
            at_ns = Nanoseconds(found.outages[-1].onset_after_ns)
            yield Finding(verdict=Verdict.FAIL, code="not-sustained", text=text, flow=flow.id, t_ns=at_ns)

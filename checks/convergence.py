"""Convergence: was the arm's end mode reached everywhere, and held for the validation time?

Objects show what was requested, routes what was done, and flows which path the packets take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from analysis.evidence import Evidence
from analysis.instrument import of_flow
from analysis.measure import Measures
from analysis.paths import RouteEnds, TtlPaths, paths_of
from checks.check import Limits, make_check
from hitless.calico import is_calico_node, pool_mode, routes_mode, template_mode
from hitless.facts import Flow
from hitless.history import History
from hitless.objects import name_of
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure, note
from hitless.words import MILLISECOND, FlowRole, JsonObject, Kind, Verdict

_PATH_PROBES: Final = 5
"""Number of last probes that show a flow's path. Source: RFC 6412 3.7.5."""


@make_check(
    "convergence",
    budgets={
        "convergence_ms": None,  # Full Convergence Time; null: any
        "rolls": None,  # expected number of DaemonSet rolls; null: any
    },
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Compare objects, nodes and flows at the end with the arm's end mode."""
    history, measures = evidence.history, evidence.measures
    yield from _judge_objects(history)
    yield from _judge_rolls(history, limits["rolls"])
    yield from _judge_nodes(history)
    yield from _judge_paths(evidence)
    if history.header.end_mode is history.header.start_mode:
        yield note("no-convergence-expected", f"no convergence times: the arm stays in {history.header.end_mode}")
    else:
        yield from _judge_times(evidence, limits["convergence_ms"])
    yield from _judge_held(history, measures)


def _judge_objects(history: History) -> Iterator[Finding]:
    """The IPPool and the DaemonSet's template are of the end mode, and every node runs that template."""
    wanted = history.header.end_mode
    pools = [(pool, pool_mode(pool)) for pool in history.final_objects_of(Kind.IP_POOL)]
    sets = tuple(document for document in history.final_objects if is_calico_node(document))
    if not any(mode is not None for _, mode in pools) or not sets:
        yield doubt("objects-not-read", "the final state of the IPPool or of the DaemonSet calico-node is not known")
    for pool, mode in pools:
        if mode is not None and mode is not wanted:
            yield failure("pool-not-switched", f"the IPPool {name_of(pool)} says {mode} at the end; expected: {wanted}")
    for daemon_set in sets:
        mode = template_mode(daemon_set)
        if mode is not wanted:
            text = f"the DaemonSet {name_of(daemon_set)} says {mode} at the end; expected: {wanted}"
            yield failure("daemonset-not-switched", text)
        yield from _judge_roll(history, daemon_set)


def _judge_roll(history: History, daemon_set: JsonObject) -> Iterator[Finding]:
    """A roll that started must have finished. Status fields: Kubernetes API, DaemonSetStatus."""
    status = daemon_set.get("status", {})
    updated, desired = status.get("updatedNumberScheduled"), status.get("desiredNumberScheduled")
    started = [event.facts.get("generation") for event in history.events_named("roll.started")]
    finished = {event.facts.get("generation") for event in history.events_named("roll.finished")}
    is_behind = updated is not None and desired is not None and updated < desired
    # A second change supersedes a roll: only the last roll must finish.
    is_open = bool(started) and started[-1] not in finished
    if is_behind or is_open:
        where = f"{updated} of {desired} pods are updated" if is_behind else f"generation {started[-1]} did not finish"
        yield failure("roll-unfinished", f"the roll of {name_of(daemon_set)} is not over: {where}")


def _judge_rolls(history: History, wanted: float | None) -> Iterator[Finding]:
    """A change that is no switch rolls once, no change rolls never."""
    started = sum(1 for _ in history.events_named("roll.started"))
    if wanted is not None and started != wanted:
        yield failure("rolls-unexpected", f"the DaemonSet rolled {plural(started, 'time')}; expected: {wanted:g}")


def _judge_nodes(history: History) -> Iterator[Finding]:
    """Every node's routes are of the end mode."""
    if not history.final_nodes:
        yield doubt("nodes-not-read", "the final state of the nodes is not known")
        return
    nodes = history.remaining_nodes
    strays = [state.node for state in nodes if routes_mode(state.routes) is not history.header.end_mode]
    if strays and len(nodes) > 1:
        some = ", ".join(strays[:5])
        count = f"{len(strays)} of {plural(len(nodes), 'node')}"
        text = f"not in mode {history.header.end_mode} by its routes at the end: {count}, {some}"
        yield failure("node-not-switched", text)


def _judge_paths(evidence: Evidence) -> Iterator[Finding]:
    """Packets take the path of the end mode, by the TTL at the reflector; only if the router is seen to decrement it."""
    history = evidence.history
    stopped = history.first_event("run.probing_stopped")
    if not history.requests or stopped is None:
        yield note("path-not-visible", "not applicable: no switch was requested")
        return
    ttls, wanted = evidence.ttls, history.header.end_mode
    if not ttls.is_router_counted:
        text = "the TTL does not show the router, so the flows' path is not visible"
        if wanted is not history.header.start_mode:
            yield note("path-not-visible", text)
        return
    since_ns = stopped.t_ns - history.header.validation_ns
    for flow in history.flows_of(FlowRole.MESH):
        ends = ttls.ends(flow)
        if ends is None or not _contradicts(history, flow, ends, ttls, since_ns):
            continue
        if wanted is history.header.start_mode:
            text = f"{flow.label} did not take the path of {wanted} at the end, although the mode should not have changed"
            yield failure("path-changed", text, flow=flow.id)
        else:
            text = f"{flow.label} does not take the path of {wanted} at the end, as its TTL shows"
            yield failure("path-not-switched", text, flow=flow.id)


def _contradicts(history: History, flow: Flow, ends: RouteEnds, ttls: TtlPaths, since_ns: int) -> bool:
    """Return whether the last probes of a flow agree and cannot have taken a path of the end mode."""
    mine = of_flow(history.records.sender, flow)
    is_answered = (mine["copies"] > 0) & (mine["forward_ttl"] > 0) & (mine["send_began_ns"] >= since_ns)
    last = np.unique(mine["forward_ttl"][is_answered][-_PATH_PROBES:])
    wanted = np.uint8(paths_of(history.header.end_mode, ends))
    return last.size == 1 and not np.any(ttls.allowed(ends, last) & wanted)


def _judge_times(evidence: Evidence, limit_ms: float | None) -> Iterator[Finding]:
    """Every flow uses the new path permanently and unimpaired."""
    history, is_inferred, times_ns = evidence.history, evidence.routes.is_inferred, []
    for flow in history.flows_of(FlowRole.MESH):
        measure = evidence.measures[flow.id]
        if measure.convergence_ns is not None:
            times_ns.append(measure.convergence_ns)
        elif measure.convergence_earliest_ns is not None:
            text = f"{flow.label} may use the new path, but the times of its nodes' route changes are too uncertain"
            yield doubt("convergence-not-known", text, flow=flow.id)
        else:
            text = f"{flow.label} did not use the new path without impairment before probing ended"
            yield failure("flow-not-converged", text, flow=flow.id)
    if not times_ns:
        return
    full_ms = max(times_ns) / MILLISECOND
    accuracy = f"+-{history.header.interval_ns / MILLISECOND:g} ms"
    if is_inferred:
        accuracy += "; an upper bound, because the nodes' routes are inferred from objects and TTLs"
    if limit_ms is not None and full_ms > limit_ms:
        text = f"the slowest flow took {full_ms:.1f} ms ({accuracy}) to converge; allowed: {limit_ms:g} ms"
        verdict = Verdict.INCONCLUSIVE if is_inferred else Verdict.FAIL
        yield Finding(verdict=verdict, code="convergence-over-budget", text=text)
    else:
        text = f"{plural(len(times_ns), 'flow')} converged, the slowest {full_ms:.1f} ms ({accuracy}) after the request"
        yield note("converged", text)


def _judge_held(history: History, measures: Measures) -> Iterator[Finding]:
    """The end mode was held for the Sustained Convergence Validation Time without loss. Source: RFC 6412 3.7.5."""
    ended = next(history.events_named("run.settled", "run.timed_out"), None)
    stopped = history.first_event("run.probing_stopped")
    validation_ns = history.header.validation_ns
    if ended is None or stopped is None or stopped.t_ns - ended.t_ns < validation_ns:
        text = f"probing ended before the validation time of {validation_ns / MILLISECOND:g} ms was over"
        yield doubt("validation-too-short", text)
        return
    since_ns = stopped.t_ns - validation_ns
    for flow in history.flows_of(FlowRole.MESH):
        outages = measures[flow.id].outages
        if outages and outages[-1].end_ns > since_ns:
            text = f"{flow.label} lost probes in the validation time of {validation_ns / MILLISECOND:g} ms"
            yield failure("not-sustained", text, flow=flow.id, t_ns=outages[-1].onset_after_ns)

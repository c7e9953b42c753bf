"""Continuity: was every mesh flow served all the time?

With a budget of 0 a single lost probe is a failure: no downtime is short enough to be none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from checks.budgets import read_budgets
from hitless.history import History
from hitless.measure import FlowMeasure, measure
from hitless.ports import Flow
from hitless.verdicts import Finding
from hitless.words import FlowRole, JsonObject, Nanoseconds, Verdict

NAME: Final = "continuity"
IS_VALIDITY: Final = False
BUDGETS: Final[Mapping[str, float | None]] = {
    "downtime_ms": 0,  # per mesh flow; null: any
    "duplicated": None,  # probes over all mesh flows; null: any
    "reordered": None,
    "corrupted": None,
}
"""Budget name to its default."""


def check(history: History, budgets: JsonObject) -> Iterable[Finding]:
    """Judge the loss of each mesh flow, then what else happened to its probes."""
    limits = read_budgets(NAME, budgets, BUDGETS)
    measures = measure(history)
    mesh = [(flow, measures[flow.id]) for flow in history.flows_of(FlowRole.MESH) if flow.id in measures]
    limit_ms = limits["downtime_ms"]
    for flow, found in mesh:
        if found.is_hit and limit_ms is not None:
            yield _judge_hit(flow, found, limit_ms)
    yield from _say_blind_time([found for _, found in mesh])
    for impairment in ("duplicated", "reordered", "corrupted"):
        count = sum(getattr(found, impairment) for _, found in mesh)
        flows = sum(getattr(found, impairment) > 0 for _, found in mesh)
        if count:
            yield _judge_impairment(impairment, count, flows, limits[impairment])


def _judge_hit(flow: Flow, found: FlowMeasure, limit_ms: float) -> Finding:
    text = f"{flow.label} lost {found.lost} of {found.offered} probes ({_directions(found)}) in {_outages(found)}"
    first_ns = found.outages[0].onset_after_ns if found.outages else None
    limit_ns = limit_ms * 1e6
    if limit_ms == 0:
        return Finding(verdict=Verdict.FAIL, code="flow-lost-probes", text=text, flow=flow.id, t_ns=first_ns)
    text = f"{text}; {limit_ms:g} ms of downtime are allowed"
    if found.downtime_shortest_ns > limit_ns:
        return Finding(verdict=Verdict.FAIL, code="flow-downtime-over-budget", text=text, flow=flow.id, t_ns=first_ns)
    if found.downtime_longest_ns is None or found.downtime_longest_ns > limit_ns:
        # The truth lies somewhere between the bounds and the budget does too: a shorter interval would tell.
        return Finding(verdict=Verdict.INCONCLUSIVE, code="flow-downtime-unclear", text=text, flow=flow.id, t_ns=first_ns)
    return Finding(verdict=Verdict.PASS, code="flow-downtime-within-budget", text=text, flow=flow.id, t_ns=first_ns)


def _directions(found: FlowMeasure) -> str:
    parts = {
        "on the way out": found.lost_near_end,
        "on the way back": found.lost_far_end,
        "direction unknown": found.lost_unknown,
    }
    text = ", ".join(f"{count} {where}" for where, count in parts.items() if count)
    return f"{text}; {found.late} of them late" if found.late else text


def _outages(found: FlowMeasure) -> str:
    count = len(found.outages)
    what = "one outage" if count == 1 else f"{count} outages"
    shortest_ms = found.downtime_shortest_ns / 1e6
    if found.downtime_longest_ns is None:
        return f"{what}, at least {shortest_ms:.1f} ms (censored: open when the probing started or ended)"
    return f"{what}, {shortest_ms:.1f} to {found.downtime_longest_ns / 1e6:.1f} ms"


def _say_blind_time(mesh: list[FlowMeasure]) -> Iterator[Finding]:
    untouched = [found for found in mesh if not found.is_hit]
    if not untouched:
        return
    blind: list[Nanoseconds] = [found.blind_ns for found in untouched if found.blind_ns is not None]
    if len(blind) < len(untouched):
        flows = len(untouched) - len(blind)
        text = f"on {flows} flows too few probes were answered to say that there was no outage"
        yield Finding(verdict=Verdict.INCONCLUSIVE, code="blind-time-unbounded", text=text)
        return
    text = (
        f"{len(untouched)} of {len(mesh)} mesh flows lost no probe: no outage longer than {max(blind) / 1e6:.1f} ms "
        "could have been missed on them"
    )
    yield Finding(verdict=Verdict.PASS, code="blind-time", text=text)


def _judge_impairment(impairment: str, count: int, flows: int, limit: float | None) -> Finding:
    text = f"{count} probes were {impairment}, on {flows} mesh flows"
    if limit is not None and count > limit:
        return Finding(verdict=Verdict.FAIL, code=f"{impairment}-over-budget", text=f"{text}; {limit:g} are allowed")
    return Finding(verdict=Verdict.PASS, code=impairment, text=text)

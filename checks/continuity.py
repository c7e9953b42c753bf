"""Continuity: did every flow between pods, and between pods and nodes, work all the time?

With a budget of 0, one lost probe fails. If the links lose probes with or without a switch, losses that may be theirs are
judged by their number alone (analysis.measure). Flows through Services are judged in checks.connections, because a
masquerade breaks them for other reasons.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

import numpy as np

from analysis.evidence import Evidence
from analysis.instrument import is_network_refusal
from analysis.measure import Background, FlowMeasure, find_background, without_background
from checks.check import Limits, make_check
from hitless.facts import Flow
from hitless.history import History
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure, note
from hitless.words import FlowRole, Nanoseconds


@make_check(
    "continuity",
    budgets={
        "downtime_ms": 0,  # per flow; null: any
        "background_loss_ratio": 0,  # of probes that the links lose with or without a switch
        "duplicated": None,  # probes over all flows; null: any
        "reordered": None,
        "corrupted": None,
        "host_refused": 1,  # probes of a flow that a node's kernel refused as its output device changed; null: any
    },
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Judge the loss of each flow, then other impairments of its probes."""
    history, measures = evidence.history, evidence.measures
    judged = history.flows_of(FlowRole.MESH, FlowRole.POD, FlowRole.HOST)
    judged_flows = [(flow, measures[flow.id]) for flow in judged]
    limit_ms = limits["downtime_ms"]
    background = find_background((found for _, found in judged_flows), limits["background_loss_ratio"] or 0)
    for flow, measured in judged_flows:
        found = without_background(measured, background)
        if found.is_hit and limit_ms is not None:
            yield _judge_hit(flow, found, limit_ms)
    if background.length_max:
        yield _judge_background(background)
    for family in dict.fromkeys(flow.family for flow, _ in judged_flows):
        yield from _say_blind_time(family, [found for flow, found in judged_flows if flow.family == family])
    for impairment in ("duplicated", "reordered", "corrupted"):
        count = sum(getattr(found, impairment) for _, found in judged_flows)
        flows = sum(getattr(found, impairment) > 0 for _, found in judged_flows)
        if count:
            yield _judge_impairment(impairment, count, flows, limits[impairment])
    yield from _judge_refused(history, limits["host_refused"])


def _judge_hit(flow: Flow, found: FlowMeasure, limit_ms: float) -> Finding:
    text = f"{flow.label} lost {found.lost} of {plural(found.offered, 'probe')} ({_directions(found)}) in {_outages(found)}"
    first_ns = found.outages[0].onset_after_ns if found.outages else None
    limit_ns = limit_ms * 1e6
    if limit_ms == 0:
        return failure("flow-lost-probes", text, flow=flow.id, t_ns=first_ns)
    text = f"{text}; allowed: {limit_ms:g} ms of downtime"
    if found.downtime.shortest_ns > limit_ns:
        return failure("flow-downtime-over-budget", text, flow=flow.id, t_ns=first_ns)
    if found.downtime.longest_ns is None or found.downtime.longest_ns > limit_ns:
        # Both the truth and the budget are between the bounds: only a shorter interval could decide.
        return doubt("flow-downtime-unclear", f"{text}; use a higher rate to decide", flow=flow.id, t_ns=first_ns)
    return note("flow-downtime-within-budget", text, flow=flow.id, t_ns=first_ns)


def _judge_background(background: Background) -> Finding:
    text = (
        f"{background.lost} of {plural(background.offered, 'probe')} were lost in outages of at most "
        f"{plural(background.length_max, 'probe')}, which the links lose anyway; expected: at most {background.allowed}"
    )
    if background.lost > background.allowed:
        return failure("loss-above-background", text)
    return note("background-loss", text)


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
    what = plural(count, "outage")
    shortest_ms = found.downtime.shortest_ns / 1e6
    if found.downtime.longest_ns is None:
        return f"{what}, at least {shortest_ms:.1f} ms (censored: open when the probing started or ended)"
    return f"{what}, {shortest_ms:.1f} to {found.downtime.longest_ns / 1e6:.1f} ms"


def _say_blind_time(family: str, flows_found: list[FlowMeasure]) -> Iterator[Finding]:
    untouched = [found for found in flows_found if not found.is_hit]
    if not untouched:
        return
    blind: list[Nanoseconds] = [found.blind_ns for found in untouched if found.blind_ns is not None]
    if len(blind) < len(untouched):
        flows = len(untouched) - len(blind)
        text = f"on {plural(flows, f'{family} flow')} too few probes were answered to exclude an outage; probe longer"
        yield doubt("blind-time-unbounded", text)
        return
    text = (
        f"{len(untouched)} of {plural(len(flows_found), f'{family} flow')} lost no probe: "
        f"no outage longer than {max(blind) / 1e6:.1f} ms could have been missed on them"
    )
    yield note("blind-time", text)


def _judge_refused(history: History, limit: float | None) -> Iterator[Finding]:
    """Judge probes that a node's own network refused to send: its sender gets an error where a pod only sees loss.

    When the output device of a masqueraded flow changes, its conntrack entry and one packet are dropped: EPERM, once per flow.
    Any other error means that there was no route. Source: Linux net/netfilter/nf_nat_core.c nf_nat_oif_changed;
    docs/mechanics.md 4.5.
    """
    rows = history.records.sender[is_network_refusal(history)]
    for is_masquerade in (True, False):
        some = rows[(rows["send_errno"] == errno.EPERM) == is_masquerade]
        if not some.size:
            continue
        flows, counts = np.unique(some["flow"], return_counts=True)
        reasons = ", ".join(sorted({os.strerror(int(number)) for number in some["send_errno"]}))
        text = f"the kernel refused to send {plural(some.size, 'probe')} of {plural(flows.size, 'flow')} from nodes: {reasons}"
        first_ns = Nanoseconds(int(some["send_began_ns"].min()))
        if not is_masquerade:
            yield failure("host-unreachable", text, t_ns=first_ns)
        elif limit is not None and int(counts.max()) > limit:
            yield failure("host-refused-over-budget", f"{text}; allowed: {limit:g} per flow", t_ns=first_ns)
        else:
            yield note("host-refused", text, t_ns=first_ns)


def _judge_impairment(impairment: str, count: int, flows: int, limit: float | None) -> Finding:
    text = f"{impairment}: {plural(count, 'probe')}, on {plural(flows, 'flow')}"
    if limit is not None and count > limit:
        return failure(f"{impairment}-over-budget", f"{text}; allowed: {limit:g}")
    return note(impairment, text)

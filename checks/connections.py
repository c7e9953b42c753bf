"""Connections: did connections between pods and through Services survive, and could new ones be opened?

TCP retransmits lost packets: an application sees an outage as a stall, a slow connection, or finally a broken one. Continuity
counts messages that were not answered in time, for every class of flow; these two checks judge the connections.

The kernel forgets a masqueraded connection when its output device changes, even if the routes are perfect: an open connection
ends the moment the tunnel is left (docs/mechanics.md 4.5). So flows through Services have a check of their own: what is found
there is no matter of the routes, and no gate can prevent it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from analysis.connections import Complaint, ConnectionMeasure, StallEnd
from analysis.evidence import Evidence
from checks.check import Limits, make_check
from hitless.facts import Flow
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure, note
from hitless.words import FlowClass, FlowRole

_COMPLAINTS: Final[Mapping[Complaint, tuple[str, str, str]]] = {
    Complaint.RESET: ("resets", "connection", "reset"),
    Complaint.ENDED: ("ended", "connection", "ended by the other end, or by a time-out"),
    Complaint.REFUSED: ("refused", "connection", "refused"),
    Complaint.TIMED_OUT: ("timed_out", "connection", "not made or not answered in time"),
    Complaint.UNREACHABLE: ("unreachable", "connection", "not made: no route"),
    Complaint.SLOW: ("slow", "connection", "slow: a packet had to be sent again"),
    Complaint.STALLED: ("stalls", "stall", "seen: a connection fell silent while messages waited"),
    Complaint.LOST: ("lost", "message", "not answered in time, but the connection did not end"),
}
"""The budget for each, a number over all flows of the check (null: any); what is counted, and what became of it."""
_BUDGETS: Final = {budget: 0 for budget, _, _ in _COMPLAINTS.values()}

Measured = tuple[Flow, ConnectionMeasure]


@make_check(
    "connections",
    # Numbers over all TCP flows between pods; null: any.
    budgets={name: limit for name, limit in _BUDGETS.items() if name != "lost"},
)
def check(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Judge the connections of each set and class of TCP flows between pods of different nodes, and from pods to nodes."""
    what = "no connections were probed between pods"
    return _judge(
        evidence, limits, FlowRole.POD, FlowRole.HOST, what=what, unprobed="connections-not-probed", good="connections-held"
    )


@make_check(
    "services",
    # All of them: an application that uses a Service minds each. Numbers over all flows through Services; null: any.
    budgets=_BUDGETS,
)
def check_services(evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """Judge the connections of each set and class of flows through Services."""
    what = "nothing was probed through a Service"
    return _judge(evidence, limits, FlowRole.SERVICE, what=what, unprobed="service-not-probed", good="services-served")


def _judge(evidence: Evidence, limits: Limits, *roles: FlowRole, what: str, unprobed: str, good: str) -> Iterator[Finding]:
    """Judge the connections of every set and class of TCP flows of these roles; a complaint over its budget is a failure.

    Complaints without a budget are not judged. `what` is probed, in a sentence; `unprobed` is the code of the doubt that a flow
    offered no message, so that no complaint was possible, and `good` that of the note that there is nothing to complain of.
    """
    measures = evidence.connections
    flows = [(flow, measures[flow.id]) for flow in evidence.history.flows_of(*roles) if flow.id in measures]
    if not flows:
        yield note("not-applicable", f"not applicable: {what}")
        return
    silent = [flow for flow, measure in flows if not measure.offered]
    if silent:
        text = f"{plural(len(silent), 'flow')} offered no message, such as {silent[0].label}"
        yield doubt(unprobed, text, flow=silent[0].id)
    totals = {complaint: sum(measure.count(complaint) for _, measure in flows) for complaint in _COMPLAINTS}
    groups = [tuple(group) for _, group in groupby(sorted(flows, key=_kind), _kind)]
    judged = {complaint: limits[name] for complaint, (name, _, _) in _COMPLAINTS.items() if name in limits}
    for complaint, limit in judged.items():
        tell = failure if limit is not None and totals[complaint] > limit else note
        allowed = "any number" if limit is None else f"{limit:g} in all"
        for group in groups:
            met = sorted((at_ns, flow.id, flow) for flow, measure in group for at_ns in measure.complaints.get(complaint, ()))
            if met:
                at_ns, _, first = met[0]
                text = f"{_describe(group, complaint, [flow for _, _, flow in met])}; allowed: {allowed}"
                yield tell(_name_code(first, complaint), text, flow=first.id, t_ns=at_ns)
    if not any(totals[complaint] for complaint in judged):
        opened, answered = (sum(getattr(measure, name) for _, measure in flows) for name in ("opened", "answered"))
        text = f"{plural(len(flows), 'flow')} opened {plural(opened, 'connection')}; answered in time: "
        yield note(good, f"{text}{plural(answered, 'message')}; none was cut, refused, slow or stalled")


def _kind(one: Measured) -> tuple[str, str]:
    return one[0].flow_set.value, one[0].flow_class.value


def _name_code(flow: Flow, complaint: Complaint) -> str:
    if flow.role is not FlowRole.SERVICE:
        return f"connection-{complaint.value}"
    if complaint is Complaint.RESET and flow.flow_class is FlowClass.TCP_ESTABLISHED and flow.flow_set.is_masqueraded:
        return "masqueraded-reset"
    return f"service-{complaint.value}"


def _describe(group: Sequence[Measured], complaint: Complaint, met: Sequence[Flow]) -> str:
    hit = len({flow.id for flow in met})
    family = group[0][0].family
    _, noun, fate = _COMPLAINTS[complaint]
    count = f"{plural(len(met), noun)} {'was' if len(met) == 1 else 'were'} {fate}"
    text = f"{family}: {count}, on {hit} of {plural(len(group), 'flow')}"
    if complaint is Complaint.STALLED:
        text = f"{text}; {_describe_stalls(group)}"
    elif complaint in {Complaint.RESET, Complaint.ENDED}:
        longest_ns = max(measure.unconnected_ns for _, measure in group)
        text = f"{text}, without a connection for {longest_ns / 1e6:.1f} ms at most" if longest_ns else text
    return f"{text}, first on {met[0].label}"


def _describe_stalls(group: Sequence[Measured]) -> str:
    stalls = [stall for _, measure in group for stall in measure.stalls]
    ends = {end: sum(stall.end is end for stall in stalls) for end in StallEnd}
    counts = ", ".join(f"{count} {end.value}" for end, count in ends.items() if count)
    return f"the longest for {max(stall.shortest_ns for stall in stalls) / 1e6:.1f} ms ({counts})"

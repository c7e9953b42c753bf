"""Judges complaints about connections against their budgets, for all checks of TCP flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from analysis.connections import Complaint, ConnectionMeasure, StallEnd
from analysis.evidence import Evidence
from checks.check import Limits
from hitless.facts import Flow
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure, note
from hitless.words import FlowRole

BUDGET_OF: Final[Mapping[Complaint, str]] = {
    Complaint.RESET: "resets",
    Complaint.ENDED: "ended",
    Complaint.REFUSED: "refused",
    Complaint.TIMED_OUT: "timed_out",
    Complaint.UNREACHABLE: "unreachable",
    Complaint.SLOW: "slow",
    Complaint.STALLED: "stalls",
    Complaint.LOST: "lost",
}
"""Name of the budget for each, a number over all flows of the check; null: any."""

_WORDS: Final[Mapping[Complaint, tuple[str, str]]] = {
    Complaint.RESET: ("connection", "reset"),
    Complaint.ENDED: ("connection", "ended by the other end, or by a time-out"),
    Complaint.REFUSED: ("connection", "refused"),
    Complaint.TIMED_OUT: ("connection", "not made or not answered in time"),
    Complaint.UNREACHABLE: ("connection", "not made: no route"),
    Complaint.SLOW: ("connection", "slow: something had to be sent again"),
    Complaint.STALLED: ("stall", "seen: a connection fell silent while messages waited"),
    Complaint.LOST: ("message", "not answered in time, although the connection did not end"),
}
"""What is counted, and what became of it."""

Measured = tuple[Flow, ConnectionMeasure]


def judge_connections(
    evidence: Evidence,
    roles: Sequence[FlowRole],
    limits: Limits,
    name_code: Callable[[Flow, Complaint], str],
    *,
    what: str,
    code_unprobed: str,
    code_good: str,
) -> Iterator[Finding]:
    """Judge the connections of every set and class of TCP flows; a complaint over its budget is a failure.

    Args:
        evidence: of the run.
        roles: of the flows.
        limits: budget name to the number allowed over all these flows; None: any number. Complaints without one are not judged.
        name_code: returns the code of a finding for such a flow.
        what: what is probed, in a sentence.
        code_unprobed: of the doubt that a flow offered no message, so that no complaint was possible.
        code_good: of the note that there is nothing to complain of.
    """
    measures = evidence.connections
    flows = [(flow, measures[flow.id]) for flow in evidence.history.flows_of(*roles) if flow.id in measures]
    if not flows:
        yield note("not-applicable", f"not applicable: {what}")
        return
    unprobed = [flow for flow, measure in flows if not measure.offered]
    if unprobed:
        text = f"on {plural(len(unprobed), 'flow')} no message was offered, such as {unprobed[0].label}"
        yield doubt(code_unprobed, text, flow=unprobed[0].id)
    totals = {complaint: sum(measure.count(complaint) for _, measure in flows) for complaint in BUDGET_OF}
    groups = [tuple(group) for _, group in groupby(sorted(flows, key=_kind), _kind)]
    judged = {complaint: limits[name] for complaint, name in BUDGET_OF.items() if name in limits}
    for complaint, limit in judged.items():
        tell = failure if limit is not None and totals[complaint] > limit else note
        allowed = "any number" if limit is None else f"{limit:g} in all"
        for group in groups:
            met = sorted((at_ns, flow.id, flow) for flow, measure in group for at_ns in measure.complaints.get(complaint, ()))
            if met:
                at_ns, _, first = met[0]
                text = f"{_describe(group, complaint, [flow for _, _, flow in met])}; allowed: {allowed}"
                yield tell(name_code(first, complaint), text, flow=first.id, t_ns=at_ns)
    if not any(totals[complaint] for complaint in judged):
        opened, answered = (sum(getattr(measure, name) for _, measure in flows) for name in ("opened", "answered"))
        text = f"{plural(len(flows), 'flow')} opened {plural(opened, 'connection')}; answered in time: "
        yield note(code_good, f"{text}{plural(answered, 'message')}; none was cut, refused, slow or stalled")


def _kind(one: Measured) -> tuple[str, str]:
    return one[0].flow_set.value, one[0].flow_class.value


def _count(complaint: Complaint, count: int) -> str:
    noun, fate = _WORDS[complaint]
    return f"{plural(count, noun)} {'was' if count == 1 else 'were'} {fate}"


def _describe(group: Sequence[Measured], complaint: Complaint, met: Sequence[Flow]) -> str:
    hit = len({flow.id for flow in met})
    family = group[0][0].family
    text = f"{family}: {_count(complaint, len(met))}, on {hit} of {plural(len(group), 'flow')}"
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

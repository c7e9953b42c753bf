"""Judges complaints about connections against their budgets, for all checks of TCP flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from analysis.connections import Complaint, ConnectionMeasure
from analysis.stalls import StallEnd
from hitless.facts import Flow
from hitless.plural import plural
from hitless.verdicts import Finding
from hitless.words import FlowClass, FlowSet, Nanoseconds, Verdict

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Flows of one set and class, which share a finding."""

    flow_set: FlowSet
    flow_class: FlowClass
    flows: tuple[Measured, ...]

    def met(self, complaint: Complaint) -> list[tuple[Nanoseconds, Flow]]:
        """Return when and on which flow a complaint occurred, in order of time."""
        found = [(at_ns, flow) for flow, measure in self.flows for at_ns in measure.complaints.get(complaint, ())]
        return sorted(found, key=lambda one: one[0])


def judge_complaints(
    flows: Sequence[Measured],
    limits: Mapping[str, float | None],
    complaints: Sequence[Complaint],
    name_code: Callable[[FlowSet, FlowClass, Complaint], str],
) -> Iterator[Finding]:
    """Yield a finding for every complaint of every set and class of flows; over its budget it is a failure.

    Args:
        flows: with the results of their connections.
        limits: budget name to the number allowed over all these flows; None: any number.
        complaints: those to judge.
        name_code: returns the code of a finding.
    """
    groups = _group(flows)
    for complaint in complaints:
        limit, total = limits[BUDGET_OF[complaint]], sum(measure.count(complaint) for _, measure in flows)
        verdict = Verdict.FAIL if limit is not None and total > limit else Verdict.PASS
        allowed = "any number" if limit is None else f"{limit:g} in all"
        for group in groups:
            met = group.met(complaint)
            if met:
                code = name_code(group.flow_set, group.flow_class, complaint)
                text = f"{_describe(group, complaint, met)}; allowed: {allowed}"
                yield Finding(verdict=verdict, code=code, text=text, flow=met[0][1].id, t_ns=met[0][0])


def say_unprobed(flows: Sequence[Measured], code: str) -> Iterator[Finding]:
    """Yield a doubt if a flow offered no message: then no complaint was possible."""
    unprobed = [flow for flow, measure in flows if not measure.offered]
    if unprobed:
        text = f"on {plural(len(unprobed), 'flow')} no message was offered, such as {unprobed[0].label}"
        yield Finding(verdict=Verdict.INCONCLUSIVE, code=code, text=text, flow=unprobed[0].id)


def count_opened(flows: Sequence[Measured]) -> str:
    """Return how many connections were opened and messages answered, as a sentence's beginning."""
    opened, answered = (sum(getattr(measure, name) for _, measure in flows) for name in ("opened", "answered"))
    return (
        f"{plural(len(flows), 'flow')} opened {plural(opened, 'connection')}; answered in time: {plural(answered, 'message')}"
    )


def _group(flows: Sequence[Measured]) -> list[_Group]:
    def key(one: Measured) -> tuple[str, str]:
        return one[0].flow_set.value, one[0].flow_class.value

    return [
        _Group(flow_set=FlowSet(flow_set), flow_class=FlowClass(flow_class), flows=tuple(group))
        for (flow_set, flow_class), group in groupby(sorted(flows, key=key), key)
    ]


def _count(complaint: Complaint, count: int) -> str:
    noun, fate = _WORDS[complaint]
    return f"{plural(count, noun)} {'was' if count == 1 else 'were'} {fate}"


def _describe(group: _Group, complaint: Complaint, met: Sequence[tuple[Nanoseconds, Flow]]) -> str:
    hit = len({flow.id for _, flow in met})
    family = group.flows[0][0].family
    text = f"{family}: {_count(complaint, len(met))}, on {hit} of {plural(len(group.flows), 'flow')}"
    if complaint is Complaint.STALLED:
        text = f"{text}; {_describe_stalls(group)}"
    elif complaint in {Complaint.RESET, Complaint.ENDED}:
        longest_ns = max(measure.unconnected_ns for _, measure in group.flows)
        text = f"{text}, without a connection for {longest_ns / 1e6:.1f} ms at most" if longest_ns else text
    return f"{text}, first on {met[0][1].label}"


def _describe_stalls(group: _Group) -> str:
    stalls = [stall for _, measure in group.flows for stall in measure.stalls]
    ends = {end: sum(stall.end is end for stall in stalls) for end in StallEnd}
    counts = ", ".join(f"{count} {end.value}" for end, count in ends.items() if count)
    return f"the longest for {max(stall.shortest_ns for stall in stalls) / 1e6:.1f} ms ({counts})"

"""The causes of an arm's outages in numbers: part of the summary's schema. Pure.

Of all flows that are judged: between pods, hosts and Services, over all trials. An outage counts for its likeliest cause; its
downtime is shared out to all its causes by their scores.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analysis.causes.attribution import Attribution, Cause
from analysis.causes.candidates import CauseKind
from analysis.evidence import JudgedRun
from hitless.facts import Flow
from hitless.words import MILLISECOND, FlowRole

SUBJECTS_MAX: Final = 5
JUDGED: Final = (FlowRole.MESH, FlowRole.POD, FlowRole.HOST, FlowRole.SERVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseExample:
    """The outage that a cause accounts for most clearly."""

    trial: int
    flow: str
    """Label."""
    score: float
    """Share of its lost probes that the cause accounts for, 0 to 1."""
    evidence: tuple[str, ...]
    """What speaks for it, each in a sentence; first what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseSummary:
    """One cause in one arm."""

    cause: str
    """Such as `pool-before-routes`; `unexplained` is one."""
    outages: int
    """Outages of which it is the likeliest cause; 0: it has a part in some, and in all of them another one is likelier."""
    flows: int
    """Flows with such an outage, each counted once per trial."""
    families: dict[str, int]
    """Family of flows to its part of the outages."""
    downtime_ms: float
    """Its share of all outages' likely lengths; of a censored outage, of the shortest."""
    downtime_share: float
    """The same of the downtime of all judged flows, 0 to 1."""
    score_min: float | None
    """The least score with which it is the likeliest; None: it never is."""
    subjects: dict[str, int]
    """What was broken, most outages first, to their number; the first few."""
    subjects_more: int
    """How many others there are."""
    example: CauseExample


_Part = tuple[JudgedRun, Flow, Attribution, Cause]
"""The part of one cause in one outage."""


def summarise_causes(runs: Sequence[JudgedRun]) -> tuple[CauseSummary, ...]:
    """Return the causes of the outages of an arm, the one with most downtime first."""
    by_cause: defaultdict[CauseKind, list[_Part]] = defaultdict(list)
    total_ms = 0.0
    for run in runs:
        judged = {flow.id: flow for flow in run.history.flows_of(*JUDGED)}
        for said in run.evidence.causes:
            if said.flow in judged:
                total_ms += said.outage.best_ns / MILLISECOND
                for cause in said.causes:
                    by_cause[cause.kind].append((run, judged[said.flow], said, cause))
    found = [_summarise(kind, parts, total_ms) for kind, parts in by_cause.items()]
    return tuple(sorted(found, key=lambda one: (-one.downtime_ms, -one.outages, one.cause)))


def causes_of_flow(said: Sequence[Attribution], flow: Flow) -> tuple[tuple[str, float], ...]:
    """Return the causes of one flow's downtime with their shares of it, the largest first."""
    shares: defaultdict[str, float] = defaultdict(float)
    for one in said:
        if one.flow == flow.id:
            for cause in one.causes:
                # An outage of one probe can have a length of 0, and still counts.
                shares[cause.kind.value] += cause.score * max(one.outage.best_ns / MILLISECOND, 1e-6)
    total = sum(shares.values())
    return tuple(sorted(((name, share / total) for name, share in shares.items()), key=lambda item: (-item[1], item[0])))


def _summarise(kind: CauseKind, parts: Sequence[_Part], total_ms: float) -> CauseSummary:
    likeliest = [(run.history.header.trial, flow, cause) for run, flow, said, cause in parts if cause is said.cause]
    downtime_ms = sum(cause.score * said.outage.best_ns / MILLISECOND for _, _, said, cause in parts)
    subjects = Counter(name for *_, cause in parts for name in cause.subjects)
    run, flow, _, clearest = max(parts, key=lambda part: (part[-1].score, len(part[-1].evidence)))
    return CauseSummary(
        cause=kind.value,
        outages=len(likeliest),
        flows=len({(trial, flow.id) for trial, flow, _ in likeliest}),
        families=dict(Counter(flow.family for _, flow, _ in likeliest).most_common()),
        downtime_ms=round(downtime_ms, 3),
        downtime_share=round(downtime_ms / total_ms, 4) if total_ms else 0.0,
        score_min=round(min(cause.score for *_, cause in likeliest), 4) if likeliest else None,
        subjects=dict(subjects.most_common(SUBJECTS_MAX)),
        subjects_more=max(0, len(subjects) - SUBJECTS_MAX),
        example=CauseExample(
            trial=run.history.header.trial,
            flow=flow.label,
            score=round(clearest.score, 4),
            evidence=tuple(evidence.text for evidence in clearest.evidence),
        ),
    )

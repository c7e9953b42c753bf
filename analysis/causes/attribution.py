"""Why each outage happened: competing causes, ranked, each with its score and the evidence for it.

The candidates of an outage (`candidates`) compete with each other and with `unexplained`, which has odds of 1 and needs no
evidence: a candidate that is no more likely than an unknown cause at a random time is not believed.

A pure function of the history and its measures. Definitions: docs/measuring.md, Causes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.causes.candidates import CauseKind
from analysis.causes.explanations import Explanation, Indication, Likelihood, explain_outages
from analysis.causes.finder import CandidateFinder
from analysis.causes.joint import weigh_together
from analysis.classify import Probes
from analysis.cloud_routes import CloudRoutes
from analysis.measure import Measures, Outage
from analysis.paths import TtlPaths
from analysis.route_history import RouteHistory
from hitless.history import History
from hitless.words import FlowId, FlowRole

SCORE_MIN: Final = 0.01
"""Causes with a lower score are left out, unless there is no other."""
_CANNOT_DROP: Final = frozenset({"condition.written", "condition.removed", "condition.dropped", "gate.opened", "gate.held"})
_COINCIDENT_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause of an outage."""

    kind: CauseKind
    subjects: tuple[str, ...]
    """What was broken, the likeliest first; empty for `unexplained`."""
    score: float
    """Share of the outage's lost probes that it accounts for, 0 to 1."""
    evidence: tuple[Indication, ...]
    """What speaks for and against the first subject."""

    @property
    def text(self) -> str:
        """The evidence in one line."""
        return "; ".join(evidence.text for evidence in self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The causes of one outage."""

    flow: FlowId
    outage: Outage
    causes: tuple[Cause, ...]
    """The likeliest first; never empty."""

    @property
    def cause(self) -> Cause:
        """The likeliest."""
        return self.causes[0]


def attribute(
    history: History,
    measures: Measures,
    probes: Mapping[FlowId, Probes],
    routes: RouteHistory,
    cloud_routes: CloudRoutes,
    ttls: TtlPaths,
) -> tuple[Attribution, ...]:
    """Return the causes of every outage of a run, by flow, then in order of time.

    Outages of the calibration flow are left out: the run itself made them.
    """
    finder = CandidateFinder(history, measures, routes, cloud_routes, ttls)
    found: list[tuple[Outage, tuple[Explanation, ...]]] = []
    for flow in history.flows:
        outages = measures[flow.id].outages
        if outages and flow.role is not FlowRole.CALIBRATION:
            found += explain_outages(history, flow, outages, probes[flow.id], finder)
    weigh_together([explanation for _, explanations in found for explanation in explanations], finder, history)
    return tuple(
        Attribution(flow=outage.flow, outage=outage, causes=_rank(outage, explanations, history))
        for outage, explanations in found
    )


def _rank(outage: Outage, explanations: Sequence[Explanation], history: History) -> tuple[Cause, ...]:
    """Merge the explanations of all segments of one outage into its causes."""
    lost = sum(explanation.segment.lost for explanation in explanations)
    unexplained = 0.0
    shares: defaultdict[tuple[CauseKind, str], float] = defaultdict(float)
    best: dict[tuple[CauseKind, str], tuple[float, Likelihood]] = {}
    for explanation in explanations:
        part = explanation.segment.lost / lost / explanation.total
        unexplained += part * explanation.unexplained
        for likelihood in explanation.likelihoods:
            key, share = likelihood.key, part * likelihood.weight
            shares[key] += share
            if key not in best or share > best[key][0]:
                best[key] = (share, likelihood)
    causes = [
        Cause(kind=CauseKind.UNEXPLAINED, subjects=(), score=unexplained, evidence=_excuse(outage, explanations, history))
    ]
    for kind in {kind for kind, _ in shares}:
        keys = sorted((key for key in shares if key[0] is kind), key=lambda key: (-shares[key], key[1]))
        score = sum(shares[key] for key in keys)
        named = tuple(subject for _, subject in keys if shares[kind, subject] >= SCORE_MIN * score)
        causes.append(Cause(kind=kind, subjects=named, score=score, evidence=best[keys[0]][1].all_evidence))
    order = list(CauseKind)
    causes.sort(key=lambda cause: (-cause.score, order.index(cause.kind)))
    return tuple(cause for number, cause in enumerate(causes) if number == 0 or cause.score >= SCORE_MIN)


def _excuse(outage: Outage, explanations: Sequence[Explanation], history: History) -> tuple[Indication, ...]:
    """Return the evidence for `unexplained`: how many candidates there were, and what coincided with the outage."""
    candidates = {likelihood.key for explanation in explanations for likelihood in explanation.likelihoods}
    text = f"no candidate of {len(candidates)} fits better than chance" if candidates else "no candidate was found"
    found = [Indication(text=text, odds=1.0)]
    coincident = [
        event
        for event in history.events
        if event.name in _CANNOT_DROP and outage.onset_after_ns <= event.t_ns <= outage.onset_before_ns
    ]
    for event in coincident[:_COINCIDENT_MAX]:
        node = f" of {event.facts['node']}" if "node" in event.facts else ""
        text = f"{event.name}{node} coincides, but cannot drop a packet"
        found.append(Indication(text=text, odds=1.0))
    return tuple(found)

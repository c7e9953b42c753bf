"""Why each outage happened: competing causes, ranked, each with its score and the evidence for it.

The candidates of an outage (`candidates`) compete with each other and with `unexplained`, which has odds of 1 and needs no
evidence: a candidate that is no more likely than an unknown cause at a random time is not believed.

Evidence comes from the times of each segment (`explanations`), and from all losses of a run together:

**Flows.** Measured in the lab, two injections of every cause in a run: without them, 12 of 20 unexplained outages were taken
for a missing tunnel, with them 6 of 20.

**Counters.** If only some sets of groups of losses add up to the counter's total, a group is as likely as its share of those
sets. A sum may be off by a few packets, because packets may be on their way when the counters are read.

**Budgets.** A counter knows no flow, and one lost probe moves it by one. So the odds of all candidates that move a counter are
lowered by one factor until the losses that they claim fit its movement.

A pure function of the history and its measures. Definitions: docs/measuring.md, Causes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.causes.candidates import Candidate, CauseKind, KernelCounter
from analysis.causes.explanations import (
    CERTAIN,
    Explanation,
    Indication,
    Likelihood,
    explain_outages,
    weigh_breadth,
    weigh_counter,
)
from analysis.causes.finder import CandidateFinder
from analysis.classify import Probes, Way
from analysis.cloud_routes import CloudRoutes
from analysis.measure import Measures, Outage
from analysis.paths import TtlPaths
from analysis.route_history import RouteHistory
from hitless.facts import Flow
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


_Key = tuple[CauseKind, str]
_Exposed = dict[_Key, list[tuple[FlowId, Candidate]]]


def weigh_together(explanations: Sequence[Explanation], finder: CandidateFinder, history: History) -> None:
    """Add the evidence that only the explanations of a whole run give together."""
    if any(likelihood.candidate.is_begin_free for explanation in explanations for likelihood in explanation.likelihoods):
        exposed = _find_exposed(finder, history.flows)
        for group in _group(explanations):
            _weigh_breadth(group, exposed)
    _weigh_counters(explanations, history)
    keep_budgets(explanations, history)


def _find_exposed(finder: CandidateFinder, flows: Sequence[Flow]) -> _Exposed:
    """Return the flows that each candidate without known times could hit, with its times there."""
    exposed: _Exposed = {}
    for flow in flows:
        if flow.role is not FlowRole.CALIBRATION:
            for candidate in (candidate for way in (Way.OUT, Way.BACK) for candidate in finder.of(flow, way)):
                if candidate.is_begin_free:
                    exposed.setdefault((candidate.kind, candidate.subject), []).append((flow.id, candidate))
    return exposed


def _weigh_breadth(group: Sequence[Explanation], exposed: _Exposed) -> None:
    since_ns = min(explanation.segment.first.latest_ns for explanation in group)
    until_ns = max(explanation.segment.last.earliest_ns for explanation in group)
    lost = sum(explanation.segment.lost for explanation in group)
    claimed: defaultdict[_Key, list[Explanation]] = defaultdict(list)
    for explanation in group:
        for key in {likelihood.key for likelihood in explanation.likelihoods if likelihood.candidate.is_begin_free}:
            claimed[key].append(explanation)
    for key, own in claimed.items():
        could = {
            flow
            for flow, candidate in exposed.get(key, ())
            if candidate.began.latest_ns <= since_ns and (candidate.ended is None or candidate.ended.earliest_ns >= until_ns)
        }
        hit = {explanation.flow for explanation in own}
        evidence = weigh_breadth(len(hit), len(could | hit), sum(explanation.segment.lost for explanation in own), lost)
        for likelihood in (likelihood for explanation in own for likelihood in explanation.likelihoods):
            if likelihood.key == key:
                likelihood.evidence.append(evidence)


def _weigh_counters(explanations: Sequence[Explanation], history: History) -> None:
    eligible: defaultdict[KernelCounter, list[Explanation]] = defaultdict(list)
    for explanation in explanations:
        explained = explanation.explained
        likelihoods = explanation.likelihoods if explained is None else (explained,)
        for counter in {likelihood.candidate.counter for likelihood in likelihoods if likelihood.candidate.counter is not None}:
            eligible[counter].append(explanation)
    for counter, about in eligible.items():
        total = history.moved(counter.name, counter.places)
        if total is None:
            continue
        groups = _group(about)
        sizes = [max(1, sum(explanation.segment.lost - explanation.segment.late for explanation in group)) for group in groups]
        for group, share in zip(groups, apportion(total, sizes), strict=True):
            evidence = weigh_counter(counter, total, sum(sizes), share)
            for likelihood in (likelihood for explanation in group for likelihood in explanation.likelihoods):
                if likelihood.candidate.counter == counter:
                    likelihood.counted = evidence


def _group(explanations: Sequence[Explanation]) -> list[list[Explanation]]:
    """Group the explanations by time: each overlaps with another one of its group."""
    groups: list[list[Explanation]] = []
    until_ns = 0
    for explanation in sorted(explanations, key=lambda explanation: explanation.segment.first.earliest_ns):
        if not groups or explanation.segment.first.earliest_ns > until_ns:
            groups.append([])
        groups[-1].append(explanation)
        until_ns = max(until_ns, explanation.segment.last.latest_ns)
    return groups


GROUPS_MAX: Final = 40
TOTAL_MAX: Final = 100_000
"""Beyond either the choices are not counted."""
_FAR: Final = 5.0
"""Where the nearest choice is off by more packets than this, no choice means anything."""


def apportion(total: int, sizes: Sequence[int]) -> tuple[float, ...]:
    """Return for each group of losses, given its size, the probability that the counter counted them.

    It is the share of the sets of whole groups that add up to the total and contain the group. If no set comes near the total
    (there was other traffic, or a group is mixed) or there are too many groups: total / all losses. 1 if the total covers all
    losses, 0 if nothing was counted.
    """
    if total >= sum(sizes) or total <= 0:
        return (float(total > 0),) * len(sizes)
    if len(sizes) <= GROUPS_MAX and sum(sizes) <= TOTAL_MAX:
        # One packet more or less is e times less likely: the last ones may be on their way when the counters are read.
        likelihood = np.exp(-np.abs(np.arange(sum(sizes) + 1) - total))
        every = float(np.dot(_count_choices(sizes), likelihood))
        if every > math.exp(-_FAR):
            others = (_count_choices([*sizes[:index], *sizes[index + 1 :]]) for index in range(len(sizes)))
            return tuple(max(0.0, 1 - float(np.dot(choices, likelihood[: choices.size])) / every) for choices in others)
    return (total / sum(sizes),) * len(sizes)


def _count_choices(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return for each sum, from 0 to that of all groups, how many sets of groups add up to it."""
    ways = np.zeros(sum(sizes) + 1)
    ways[0] = 1
    for size in sizes:
        ways[size:] += ways[:-size].copy()
    return ways


_ROUNDS_MAX: Final = 20
_HALVINGS: Final = 50
_EXACT: Final = 1e-3
"""Packets. A budget may be exceeded by less than this."""
_IMPOSSIBLE: Final = 1e-15
"""A candidate with lower odds was ruled out, whatever room its counter has."""

_Claim = tuple[Explanation, list[Likelihood]]
"""A segment, and its candidates that move one counter."""
_Claims = Mapping[KernelCounter, Sequence[_Claim]]


def keep_budgets(explanations: Sequence[Explanation], history: History) -> None:
    """Lower the odds of candidates until no counter is exceeded, and give the remaining room to unexplained losses."""
    claims = _find_claims(explanations)
    budgets = {counter: budget for counter in claims if (budget := history.moved(counter.name, counter.places)) is not None}
    _cut(claims, budgets)
    _cover(explanations, {counter: budget - count_claimed(claims[counter]) for counter, budget in budgets.items()})
    _cut(claims, budgets)


def count_claimed(claims: Sequence[_Claim]) -> float:
    """Return how many losses these candidates claim: their share of each segment by their odds."""
    return sum(one.segment.lost * sum(likelihood.weight for likelihood in mine) / one.total for one, mine in claims)


def _find_claims(explanations: Sequence[Explanation]) -> _Claims:
    found: defaultdict[KernelCounter, list[_Claim]] = defaultdict(list)
    for explanation in explanations:
        mine: defaultdict[KernelCounter, list[Likelihood]] = defaultdict(list)
        for likelihood in explanation.likelihoods:
            if likelihood.candidate.counter is not None:
                mine[likelihood.candidate.counter].append(likelihood)
        for counter, likelihoods in mine.items():
            found[counter].append((explanation, likelihoods))
    return found


def _cut(claims: _Claims, budgets: Mapping[KernelCounter, int]) -> None:
    """Fit one counter after the other, until none has to be lowered: another candidate can claim the losses that one gives up.

    If two counters keep passing losses to each other, the excess becomes unexplained.
    """
    for _ in range(_ROUNDS_MAX):
        if not sum(_fit(claims[counter], budget) for counter, budget in budgets.items()):
            return
    for counter, budget in budgets.items():
        share = min(1.0, budget / max(budget, count_claimed(claims[counter]), 1))
        for explanation, likelihood in ((one, likelihood) for one, mine in claims[counter] for likelihood in mine):
            explanation.unexplained += (1 - share) * likelihood.weight
            likelihood.budget *= share


def _fit(claims: Sequence[_Claim], budget: int) -> bool:
    """Lower all odds of one counter by the largest factor that keeps its budget, and return whether that was needed."""
    lost = np.array([one.segment.lost for one, _ in claims], dtype=np.float64)
    own = np.array([sum(likelihood.weight for likelihood in mine) for _, mine in claims])
    rest = np.array([one.total for one, _ in claims]) - own
    if np.sum(lost * own / (rest + own)) <= budget + _EXACT:
        return False
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        factor = (low + high) / 2
        is_over = np.sum(lost * factor * own / (rest + factor * own)) > budget
        low, high = (low, factor) if is_over else (factor, high)
    for likelihood in (likelihood for _, mine in claims for likelihood in mine):
        likelihood.budget *= low
    return True


def _cover(explanations: Sequence[Explanation], room: dict[KernelCounter, float]) -> None:
    """Raise the likeliest candidate of each segment that is mostly unexplained, although a counter has room for all of it."""
    for explanation in explanations:
        lost, total = explanation.segment.lost, explanation.total
        able = [
            (one.weight, number, one.candidate.counter)
            for number, one in enumerate(explanation.likelihoods)
            if one.weight > _IMPOSSIBLE and one.candidate.counter is not None and room.get(one.candidate.counter, 0) >= lost
        ]
        if able and explanation.unexplained > (1 - CERTAIN) * total:
            weight, number, counter = max(able, key=lambda entry: entry[:2])
            best = explanation.likelihoods[number]
            room[counter] -= lost * (CERTAIN - weight / total)
            best.budget *= CERTAIN / (1 - CERTAIN) * (total - weight) / weight

"""A counter's movement is a budget in packets: what its candidates claim together never exceeds it.

A counter knows no flow, and one lost probe moves it by one. So the odds of all candidates that move a counter are lowered by
one factor until the losses that they claim fit its movement. What they give up goes to the other candidates of the same losses
and to `unexplained`. Losses stay unexplained only if no counter that could have counted them has room. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from analysis.causes.candidates import KernelCounter
from analysis.causes.explanations import CERTAIN, Explanation, Likelihood
from analysis.causes.moved_counters import MovedCounters

_ROUNDS_MAX: Final = 20
_HALVINGS: Final = 50
_EXACT: Final = 1e-3
"""Packets. A budget may be exceeded by less than this."""
_IMPOSSIBLE: Final = 1e-15
"""A candidate with lower odds was ruled out, whatever room its counter has."""

_Claim = tuple[Explanation, list[Likelihood]]
"""A segment, and its candidates that move one counter."""
_Claims = Mapping[KernelCounter, Sequence[_Claim]]


def keep_budgets(explanations: Sequence[Explanation], moved: MovedCounters) -> None:
    """Lower the odds of candidates until no counter is exceeded, and give the remaining room to unexplained losses.

    Args:
        explanations: all of the run, with all evidence.
        moved: by how much its counters moved.
    """
    claims = _find_claims(explanations)
    budgets = {counter: budget for counter in claims if (budget := moved.of(counter.name, counter.places)) is not None}
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
    """Fit one counter after the other, until none has to be lowered: what one gives up another may claim.

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

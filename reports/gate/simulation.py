"""The gate's own test: decisions between versions whose true difference is known, drawn from recorded values.

Both sides are drawn with replacement from the same recorded trials, so that whatever differs is chance (A/A). For the
operating curve a share of the mean is then added to every value of the candidate. Each decision is made by `choose` and
`decide`, as for a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hitless.errors import UsageError
from reports.gate.inference import EXACT_PAIRS_MAX, GO_ALPHA, STOP_ALPHA, Numbers, bound_probability, min_pairs
from reports.gate.relative import Plan, choose, decide, make_plan
from reports.gate.rules import Primary

DECISIONS: Final = 10_000
INJECTED_PERCENT: Final = (0, 10, 20, 30, 50)
_SEED: Final = 20_221


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What became of the decisions at one injected growth."""

    injected_percent: float
    go: int
    stop: int
    not_decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The operating curve of the primary rule."""

    source: str
    """Where the values come from."""
    values: int
    trials: int
    """Of each version, in every decision."""
    decisions: int
    """At each point."""
    plan: Plan
    points: tuple[CurvePoint, ...]
    """The first has no growth: A/A."""

    @property
    def stop_probability_max(self) -> float:
        """Largest probability of a false stop, 95 % confidence."""
        return bound_probability(self.points[0].stop, self.decisions)

    @property
    def is_good(self) -> bool:
        """Whether at most 1 % of the A/A decisions were a stop."""
        return self.points[0].stop <= STOP_ALPHA * self.decisions


def simulate_decisions(values: Numbers, interval: float, primary: Primary, trials: int, source: str) -> SelfTest:
    """Simulate decisions.

    Args:
        values: the recorded figure of trials of one version.
        interval: probe interval, unit of the values.
        primary: which growth matters.
        trials: of each version in every decision.
        source: where the values come from.

    Raises:
        UsageError: too few values, or a number of trials that cannot be simulated exactly.
    """
    least = min_pairs(STOP_ALPHA)
    if not least <= trials <= EXACT_PAIRS_MAX:
        raise UsageError(where="--trials", found=str(trials), expected=f"{least} to {EXACT_PAIRS_MAX}, where the test is exact")
    if len(values) < min_pairs(GO_ALPHA):
        raise UsageError(where=source, found=f"{len(values)} values", expected=f"at least {min_pairs(GO_ALPHA)} to draw from")
    random = np.random.default_rng(_SEED)
    shape = (DECISIONS, trials)
    points = []
    for percent in INJECTED_PERCENT:
        baseline, candidate = random.choice(values, shape), random.choice(values, shape) + percent / 100 * values.mean()
        _, p_worse, p_harmless = choose(baseline, candidate, primary, interval)
        is_go, is_stop = decide(p_worse, p_harmless)
        go, stop = int(np.count_nonzero(is_go)), int(np.count_nonzero(is_stop))
        points.append(CurvePoint(injected_percent=percent, go=go, stop=stop, not_decided=DECISIONS - go - stop))
    return SelfTest(
        source=source,
        values=len(values),
        trials=trials,
        decisions=DECISIONS,
        plan=make_plan(values, primary, interval),
        points=tuple(points),
    )

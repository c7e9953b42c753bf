"""The gate's own test: decisions between versions whose true difference is known, drawn from recorded values.

Both sides are drawn with replacement from the same recorded trials, so that every difference is chance (A/A). For the
operating curve a share of the mean is then added to every value of the candidate. Each decision is made by `choose` and
`decide`, as for a release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitless.errors import UsageError
from reports.gate.inference import GO_ALPHA, STOP_ALPHA, Look, Numbers, bound_probability, min_pairs
from reports.gate.relative import READINGS, Plan, choose, decide, make_plan
from reports.gate.rules import Primary

RECORDED_MS: Final = (76.308, 93.304, 97.342, 104.675, 63.906, 22.879, 82.602, 97.4, 95.931, 93.338)
"""How long the gate held after the last route, in 10 gated trials.

Source: measured; `hitless compare --scenario plain-switch --trials 10 --rate 50` in the lab (4 nodes in 2 zones, profile fast,
carrier vxlan-gpe, Linux 6.18) on 2 busy cores; `gate_hold_after_routes_ms` of each trial in its summary.json."""
RECORDED_INTERVAL_MS: Final = 20.0
"""Probe interval of that comparison."""
RECORDED_SOURCE: Final = "10 gated trials of plain-switch in the lab at 50 probes per second (reports/gate/simulation.py)"
DECISIONS: Final = 10_000
INJECTED_PERCENT: Final = (0, 10, 20, 30, 50)
PAIRS_MAX: Final = 30
"""Of a simulated decision: more take minutes."""
_SEED: Final = 20_221


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Decisions at one injected growth."""

    injected_percent: float
    go: int
    stop: int
    not_decided: int
    pairs_mean: float
    """Pairs until a decision ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The operating curve of the primary rule."""

    source: str
    """Where the values come from."""
    values: int
    looks: tuple[Look, ...]
    """Of every decision, the last with all its pairs."""
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


def simulate_decisions(values: Numbers, interval_ms: float, primary: Primary, looks: Sequence[Look], source: str) -> SelfTest:
    """Simulate decisions at some looks; with one look, all pairs are given.

    The values are the recorded figure of trials of one version, from `source`; the interval is that of their probes, ms.

    Raises:
        UsageError: too few values, or a number of trials that cannot be simulated exactly.
    """
    least, trials = min_pairs(STOP_ALPHA), looks[-1].pairs
    if not least <= trials <= PAIRS_MAX:
        raise UsageError(where="--trials", found=str(trials), expected=f"{least} to {PAIRS_MAX} with --self-test")
    if len(values) < min_pairs(GO_ALPHA):
        raise UsageError(where=source, found=f"{len(values)} values", expected=f"at least {min_pairs(GO_ALPHA)} to draw from")
    random = np.random.default_rng(_SEED)
    shape, interval = (DECISIONS, trials), READINGS[primary.figure].scale(interval_ms)
    points = []
    for percent in INJECTED_PERCENT:
        baseline, candidate = random.choice(values, shape), random.choice(values, shape) + percent / 100 * values.mean()
        points.append(_simulate(baseline, candidate, interval, primary, looks, percent))
    return SelfTest(
        source=source,
        values=len(values),
        looks=tuple(looks),
        decisions=DECISIONS,
        plan=make_plan(values, primary, interval_ms),
        points=tuple(points),
    )


def _simulate(
    baseline: Numbers, candidate: Numbers, interval: float, primary: Primary, looks: Sequence[Look], percent: float
) -> CurvePoint:
    go = stop = pairs = 0
    for look in looks:
        _, p_worse, p_harmless = choose(baseline[:, : look.pairs], candidate[:, : look.pairs], primary, interval)
        is_go, is_stop = decide(p_worse, p_harmless, look)
        go, stop = go + int(np.count_nonzero(is_go)), stop + int(np.count_nonzero(is_stop))
        is_open = ~is_go & ~is_stop
        pairs += look.pairs * (len(is_open) if look is looks[-1] else int(np.count_nonzero(~is_open)))
        baseline, candidate = baseline[is_open], candidate[is_open]
        if not len(baseline):
            break
    return CurvePoint(injected_percent=percent, go=go, stop=stop, not_decided=len(baseline), pairs_mean=pairs / DECISIONS)

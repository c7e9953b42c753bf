"""The statistics of the release gate, each chosen for few trials and figures that are mostly zero.

Only this module imports scipy.

A sequential decision looks at the growing data several times, and errs more often than one look would, because the first good
answer counts. So each look spends its own part of the whole error, in equal parts. By the union bound the parts add up to the
whole at most, however the looks depend on each other; the sign-flip test is exact at each look.

- Sign-flip permutation test of paired differences: exact at any number of pairs. It assumes that a difference is as likely to
  be x as -x, which holds under "no change" because the pairs are exchangeable.
  Source: Fisher, The Design of Experiments, 1935, section 21; Good, Permutation Tests, 2000, section 3.2.
- Bootstrap interval (BCa) of a mean: shown, decides nothing. Source: Efron, J. Am. Stat. Assoc. 82 (1987), 171.
- Clopper-Pearson bound of a probability, exact. Source: Clopper and Pearson, Biometrika 26 (1934), 404.
- Fisher's exact test of two counts. Source: Fisher, J. R. Stat. Soc. 85 (1922), 87.
- Trials for a power: the one-sided t test by the noncentral t distribution, which the sign-flip test comes close to.
  Source: Cohen, Statistical Power Analysis, 1988, chapter 2; Hoeffding, Ann. Math. Stat. 23 (1952), 169.
- Spending the error look by look. Source: Lan and DeMets, Biometrika 70 (1983), 659. Their boundary also uses how the looks
  correlate, which saves some trials and needs normal figures; holds of the gate are not normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from hitless.errors import UsageError

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CONFIDENCE: Final = 0.95
STOP_ALPHA: Final = 0.01
"""A stop by chance is at most this likely. Source: the requirement on the gate, 1 % of A/A decisions."""
GO_ALPHA: Final = 0.05
"""A go despite the effect that matters is at most this likely."""
POWER: Final = 0.9
TRIALS_MAX: Final = 1000
LOOKS: Final = 3
"""Ours: more looks end sooner without a difference, and need more pairs to find one."""
EXACT_PAIRS_MAX: Final = 13
"""Up to here all 2^n flips are tried; beyond, FLIPS random ones."""
FLIPS: Final = 8191
_RESAMPLES: Final = 9999
_SEED: Final = 1
_TIE: Final = 1e-9
"""Relative: sums that differ by rounding alone are ties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float


def min_pairs(alpha: float) -> int:
    """Return how many pairs a sign-flip test needs to reach a level: 2^-n is the least p-value."""
    return math.ceil(-math.log2(alpha))


def sign_flip_p(differences: Numbers) -> Numbers:
    """Return the one-sided p-value that the mean of each row is above 0.

    Args:
        differences: one row a decision, one column a pair.

    Returns:
        One p-value a row: the share of sign flips whose sum is at least the one seen.
    """
    pairs = differences.shape[1]
    is_exact = pairs <= EXACT_PAIRS_MAX
    if is_exact:
        signs = 1.0 - 2.0 * ((np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1)
    else:
        signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], size=(FLIPS, pairs))
    ties = _TIE * np.abs(differences).sum(axis=1, keepdims=True)
    reached = np.count_nonzero(differences @ signs.T >= differences.sum(axis=1, keepdims=True) - ties, axis=1)
    p_values: Numbers = reached / len(signs) if is_exact else (reached + 1) / (len(signs) + 1)
    return p_values


def estimate_mean(values: Numbers) -> Estimate:
    """Return the mean of some values with its 95 % interval; one value, or equal ones, have an interval of no width."""
    mean = float(values.mean())
    if np.ptp(values) <= _TIE * np.abs(values).max():
        return Estimate(mean=mean, low=mean, high=mean)
    scale = float(np.abs(values).max())  # the cubes of very small or very large values do not fit into a float
    found = stats.bootstrap(
        (values / scale,), np.mean, confidence_level=CONFIDENCE, n_resamples=_RESAMPLES, rng=_SEED, method="BCa"
    )
    interval = found.confidence_interval
    return Estimate(mean=mean, low=float(interval.low) * scale, high=float(interval.high) * scale)


def bound_probability(hits: int, trials: int) -> float:
    """Return the largest probability, with 95 % confidence, that hits in trials leave open; one-sided, exact."""
    found = stats.binomtest(hits, trials, alternative="less").proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return float(found.high)


def more_hits_p(baseline: tuple[int, int], candidate: tuple[int, int]) -> float:
    """Return the one-sided p-value that the candidate has more hits; each side is (hits, trials)."""
    (few, of_few), (many, of_many) = baseline, candidate
    return float(stats.fisher_exact([[many, of_many - many], [few, of_few - few]], alternative="greater").pvalue)


def trials_needed(deviation: float, effect: float, alpha: float) -> int | None:
    """Return the pairs with which a one-sided test finds an effect with 90 % power; None: more than TRIALS_MAX.

    Args:
        deviation: standard deviation of a paired difference.
        effect: mean difference that is to be found, above 0; unit of `deviation`.
        alpha: level of the test.
    """
    least = min_pairs(alpha)
    if deviation <= _TIE * effect:
        return least
    pairs = np.arange(least, TRIALS_MAX + 1)
    limits = stats.t.ppf(1 - alpha, pairs - 1)
    found = pairs[stats.nct.sf(limits, pairs - 1, effect * np.sqrt(pairs) / deviation) >= POWER]
    return int(found[0]) if len(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question to the primary rule."""

    pairs: int
    """After which it is asked."""
    go_alpha: float = GO_ALPHA
    """Largest p-value of "harmless" that is a go."""
    stop_alpha: float = STOP_ALPHA
    """Largest p-value of "worse" that is a stop."""
    number: int = 1
    of: int = 1
    """Looks in all; 1: the trials were given, and there is one decision."""

    @property
    def is_asked(self) -> bool:
        """Whether the primary rule can decide here."""
        return self.go_alpha > 0


def between_looks(pairs: int) -> Look:
    """Return the look that decides nothing: an absolute rule ended the trials before the primary rule was asked."""
    return Look(pairs=pairs, go_alpha=0.0, stop_alpha=0.0, number=0, of=LOOKS)


def plan_looks(budget: int) -> tuple[Look, ...]:
    """Return the looks of a sequential decision, given the pairs at the most.

    Raises:
        UsageError: so few pairs that no look could stop a release.
    """
    least = min_pairs(STOP_ALPHA / LOOKS)
    if budget < least:
        raise UsageError(
            where="--trials", found=str(budget), expected=f"at least {least} with --run, because fewer cannot stop a release"
        )
    return tuple(
        Look(
            pairs=math.ceil(budget * number / LOOKS),
            go_alpha=GO_ALPHA / LOOKS,
            stop_alpha=STOP_ALPHA / LOOKS,
            number=number,
            of=LOOKS,
        )
        for number in range(1, LOOKS + 1)
    )

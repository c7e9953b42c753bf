"""The statistics of the release gate against their definitions, and against scipy's own where it has one."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.gate.inference import (
    EXACT_PAIRS_MAX,
    GO_ALPHA,
    POWER,
    STOP_ALPHA,
    Numbers,
    bound_probability,
    estimate_mean,
    min_pairs,
    more_hits_p,
    sign_flip_p,
    trials_needed,
)

DIFFERENCES = st.lists(st.integers(-1000, 1000), min_size=2, max_size=8)


def rows(values: list[int]) -> Numbers:
    return np.array([values], dtype=float)


@given(DIFFERENCES)
@settings(max_examples=50, deadline=None)
def test_the_sign_flip_test_is_scipys_exact_permutation_test(values: list[int]) -> None:
    expected = stats.permutation_test(
        (np.array(values, dtype=float),), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert sign_flip_p(rows(values))[0] == pytest.approx(expected.pvalue)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8, unique=True))
def test_under_no_change_a_p_value_is_at_most_alpha_in_at_most_that_share_of_all_flips(sizes: list[int]) -> None:
    # The definition of an exact test: every sign pattern is equally likely then.
    signs = 1 - 2 * ((np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1)
    p_values = sign_flip_p((signs * np.array(sizes)).astype(float))
    for alpha in (STOP_ALPHA, GO_ALPHA, 0.25):
        assert np.mean(p_values <= alpha) <= alpha


@given(DIFFERENCES)
def test_the_two_directions_of_the_test_are_each_others_mirror(values: list[int]) -> None:
    up, down = sign_flip_p(rows(values))[0], sign_flip_p(-rows(values))[0]
    # Every flip is at least as large as the one seen, or at most, or both.
    assert up + down >= 1
    assert sign_flip_p(rows(values[::-1]))[0] == up, "the order of the pairs does not matter"
    assert sign_flip_p(rows([3 * value for value in values]))[0] == up, "nor does the unit"


def test_many_pairs_are_tested_by_random_flips_that_come_close_to_the_t_test() -> None:
    values = np.random.default_rng(3).normal(0.5, 1, EXACT_PAIRS_MAX + 7)
    assert sign_flip_p(values[None, :])[0] == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="greater").pvalue, abs=0.02
    )


def test_no_p_value_is_zero() -> None:
    assert sign_flip_p(np.ones((1, 20)))[0] == 1 / 8192
    assert sign_flip_p(np.ones((1, 10)))[0] == 1 / 1024
    assert sign_flip_p(np.zeros((1, 10)))[0] == 1


def test_the_least_numbers_of_pairs() -> None:
    assert (min_pairs(GO_ALPHA), min_pairs(STOP_ALPHA)) == (5, 7)
    for alpha in (GO_ALPHA, STOP_ALPHA):
        assert sign_flip_p(np.ones((1, min_pairs(alpha))))[0] <= alpha < sign_flip_p(np.ones((1, min_pairs(alpha) - 1)))[0]


@given(st.integers(1, 500), st.data())
@settings(deadline=None)
def test_the_bound_of_a_probability_is_exact(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    bound = bound_probability(hits, trials)
    if hits == trials:
        assert bound == 1
    else:
        # At the bound, so few hits have a probability of exactly 5 %.
        assert stats.binom.cdf(hits, trials, bound) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("trials", [1, 3, 10, 59, 300])
def test_what_lossless_trials_leave_open_has_a_closed_form(trials: int) -> None:
    assert bound_probability(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials), rel=1e-9)


def test_fishers_exact_test_of_two_counts() -> None:
    # All three of three against none of three: one table of C(6, 3).
    assert more_hits_p((0, 3), (3, 3)) == pytest.approx(1 / 20)
    assert more_hits_p((3, 3), (0, 3)) == 1
    assert more_hits_p((0, 10), (0, 10)) == 1


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_an_interval_is_finite_and_has_its_ends_in_order(values: list[float]) -> None:
    found = estimate_mean(np.array(values))
    assert math.isfinite(found.low)
    assert found.low <= found.high
    assert found.mean == pytest.approx(np.mean(values))


def test_equal_values_have_an_interval_of_no_width_and_others_are_covered() -> None:
    assert (estimate_mean(np.full(5, 3.0)).low, estimate_mean(np.full(5, 3.0)).high) == (3, 3)
    assert estimate_mean(np.array([0, 0, 1e-300])).high > 0
    found = estimate_mean(np.random.default_rng(1).normal(10, 2, 100))
    assert found.low < 10 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 10, rel=0.25)


def test_the_trials_that_are_needed_have_the_power() -> None:
    deviation, effect = 30.0, 40.0
    needed = trials_needed(deviation, effect, STOP_ALPHA)
    assert needed is not None
    assert needed <= EXACT_PAIRS_MAX
    draws = np.random.default_rng(5).normal(effect, deviation, (20_000, needed))
    assert np.mean(sign_flip_p(draws) <= STOP_ALPHA) == pytest.approx(POWER, abs=0.05)
    fewer = np.mean(sign_flip_p(draws[:, : needed - 2]) <= STOP_ALPHA)
    assert fewer < POWER


def test_a_smaller_effect_needs_more_trials_up_to_a_limit() -> None:
    needed = [trials_needed(30.0, effect, STOP_ALPHA) for effect in (60.0, 40.0, 20.0, 10.0)]
    known = [count for count in needed if count is not None]
    assert len(known) == 4
    assert all(few < many for few, many in pairwise(known))
    assert trials_needed(30.0, 1.0, STOP_ALPHA) is None
    assert trials_needed(0.0, 1.0, STOP_ALPHA) == 7

"""Which losses a counter's total is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.causes.attribution import apportion


def test_a_total_that_is_enough_for_all_is_about_all() -> None:
    assert apportion(12, [4, 8]) == (1.0, 1.0)
    assert apportion(100, [4, 8]) == (1.0, 1.0)


def test_a_counter_that_did_not_move_is_about_nothing() -> None:
    assert apportion(0, [4, 8]) == (0.0, 0.0)


def test_the_groups_that_add_up_are_meant() -> None:
    assert apportion(130, [80, 50, 200, 260]) == pytest.approx((1, 1, 0, 0), abs=1e-6)


def test_two_groups_of_one_size_are_meant_by_halves() -> None:
    assert apportion(80, [80, 80]) == pytest.approx((0.5, 0.5), abs=1e-6)


def test_a_total_that_misses_a_packet_is_still_about_the_group() -> None:
    assert apportion(107, [108, 240]) == pytest.approx((1, 0), abs=1e-3)


def test_a_total_that_no_choice_comes_near_is_shared() -> None:
    assert apportion(400, [500, 500]) == (0.4, 0.4)


@given(chosen=st.lists(st.integers(1, 300), min_size=1, max_size=8), others=st.lists(st.integers(1, 300), max_size=8))
def test_every_answer_is_a_likelihood_and_the_truth_is_never_excluded(chosen: list[int], others: list[int]) -> None:
    shares = apportion(sum(chosen), [*chosen, *others])
    assert len(shares) == len(chosen) + len(others)
    assert all(0 <= share <= 1 for share in shares)
    assert all(share > 0 for share in shares[: len(chosen)])

"""The double decides what the real extension was seen to decide, a row of gardener/observed/decisions.tsv a case."""

from __future__ import annotations

from itertools import product

import pytest

from gardener.observed.answers import ask_double, say
from gardener.observed.cases import CASES, RELEASES_OBSERVED, Observation, read_observations
from gardener.releases import LATEST, RELEASES

OBSERVATIONS = {seen.case: seen for seen in read_observations()}
REFUSED = {"Error", "Timeout"}
"""Errors and requests that never settle: hitless refuses such a Shoot by the name of the field."""


def test_every_observed_row_has_its_input_and_no_other_row_has() -> None:
    assert list(CASES) == list(OBSERVATIONS)
    assert len(OBSERVATIONS) == 94


@pytest.mark.parametrize(("name", "column"), list(product(CASES, RELEASES_OBSERVED)))
def test_the_double_decides_as_the_real_extension_did(name: str, column: str) -> None:
    case, seen = CASES[name], OBSERVATIONS[name].outcomes[column]
    expected = case.double or ("refused" if seen in REFUSED else seen)
    assert expected == say(ask_double(case, RELEASES[RELEASES_OBSERVED[column]]))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.double])
def test_a_deliberate_difference_is_one_and_gives_its_reason(name: str) -> None:
    case = CASES[name]
    assert case.because
    assert {case.double}.isdisjoint(OBSERVATIONS[name].outcomes.values())


def is_held_for_the_texts_sake(seen: Observation) -> bool:
    return seen.outcomes["v1.60-dev"].startswith("hold") and not CASES[seen.case].because


@pytest.mark.parametrize("name", [name for name, seen in OBSERVATIONS.items() if is_held_for_the_texts_sake(seen)])
def test_a_hold_says_what_the_real_one_said(name: str) -> None:
    decision = ask_double(CASES[name], LATEST)
    assert decision is not None
    assert OBSERVATIONS[name].last_error == f"Error reconciling Network: {decision.error}"

"""The double decides what the real extension was seen to decide, a row of gardener/observed/decisions.tsv a case."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from gardener.observed.cases import CASES, ask_double, say
from gardener.releases import LATEST, RELEASES

FILE: Final = Path(__file__).parents[2] / "gardener/observed/decisions.tsv"
RELEASES_OBSERVED: Final = {"v1.60-dev": "v1.60", "v1.57.0": "v1.57"}
"""Column of the table to the release of `gardener.releases` that it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One row of the table."""

    case: str
    outcomes: Mapping[str, str]
    """Column to what was decided, in the table's words."""
    last_error: str
    """The Network's lastError in the first column's release, cut; empty: none."""


def read_observations() -> tuple[Observation, ...]:
    """Return the rows of the table."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Observation(
            case=row["case"],
            outcomes={column: row[column] for column in RELEASES_OBSERVED},
            last_error=row["lastError (cut)"] or "",
        )
        for row in rows
    )


OBSERVATIONS: Final = {seen.case: seen for seen in read_observations()}
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

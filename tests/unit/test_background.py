"""Loss that the links have of themselves: told from the switch's by length, and from too much by number."""

from __future__ import annotations

import pytest

from analysis.evidence import Evidence
from analysis.measure import find_background
from checks.continuity import check
from hitless.history import History
from tests.unit.histories import QUIET, history, lost, records


def run_of(pattern: str) -> History:
    return history(records=records({1: pattern, 2: QUIET}))


def codes(pattern: str, ratio: float) -> list[str]:
    return [finding.code for finding in check(Evidence(run_of(pattern)), {"background_loss_ratio": ratio})]


@pytest.mark.parametrize(
    ("ratio", "length_max"),
    [
        (0.0, 0),
        # 58 probes: 58 * 0.02^3 is less than 0.001, 58 * 0.02^2 is not.
        (0.02, 2),
        (0.2, 6),
    ],
)
def test_the_longest_loss_period_that_may_be_chance(ratio: float, length_max: int) -> None:
    measures = Evidence(run_of(QUIET)).measures
    assert find_background([next(iter(measures.values()))], ratio).length_max == length_max


def test_short_outages_are_the_backgrounds_and_long_ones_are_not() -> None:
    assert codes(lost(20, 2), 0.02) == ["background-loss"]
    assert codes(lost(20, 3), 0.02) == ["flow-lost-probes", "background-loss"]
    assert codes(lost(20, 2), 0) == ["flow-lost-probes"]


def test_too_many_short_outages_are_not_the_backgrounds() -> None:
    often = "".join("X" if tick > 5 and tick % 5 == 0 else mark for tick, mark in enumerate(QUIET))
    assert codes(often, 0.02) == ["loss-above-background"]
    assert codes(often, 0.2) == ["background-loss"]

"""`--rate auto`: the highest rate that the machine sustains, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from commands.compare import choose_rate
from commands.options import read_rate
from hitless.errors import MissingCapabilityError, UsageError
from scenarios.plan import Case
from tests.cases import case_of


def make(rate_hz: float) -> Case:
    return case_of(rate_hz=rate_hz)


def answers(up_to_hz: float) -> Callable[[Case], str | None]:
    """A machine that answers rates up to this one."""
    return lambda case: None if case.scenario.rate_hz <= up_to_hz else f"late at {case.scenario.rate_hz:g}"


def test_the_scenarios_own_rate_is_kept_where_it_is_answered() -> None:
    case, text = choose_rate(make(200), answers(200))
    assert (case.scenario.rate_hz, text) == (200, "this machine sustains 200 probes per second per flow")


def test_a_rate_that_is_not_answered_is_lowered_and_the_line_says_why() -> None:
    case, text = choose_rate(make(200), answers(60))
    assert case.scenario.rate_hz == 50
    assert text == "this machine sustains 50 probes per second per flow; at 100: late at 100"


@pytest.mark.parametrize(("own_hz", "chosen_hz"), [(120, 100), (20, 20), (5, 5)])
def test_no_rate_is_higher_than_the_scenarios_own(own_hz: float, chosen_hz: float) -> None:
    assert choose_rate(make(own_hz), answers(1000))[0].scenario.rate_hz == chosen_hz


def test_a_machine_that_answers_none_is_refused() -> None:
    with pytest.raises(MissingCapabilityError, match="not even 20 probes per second per flow; at 20: late at 20"):
        choose_rate(make(200), answers(10))


def test_a_rate_is_a_number() -> None:
    assert read_rate("12.5") == 12.5
    with pytest.raises(UsageError) as caught:
        read_rate("fast")
    assert str(caught.value) == "--rate: found 'fast'; expected a number, or auto"

"""The one deadline loop, with a simulated clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hitless.clock import came_true, wait_until
from hitless.errors import ApiUnavailableError, WorldError
from hitless.words import SECOND
from tests.clocks import JumpingClock


def answering(*answers: str | Exception) -> Callable[[], bool]:
    left = list(answers)

    def ask() -> bool:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer == "yes"

    return ask


def test_it_returns_at_the_first_poll_that_is_met() -> None:
    clock = JumpingClock()
    wait_until(answering("no", "no", "yes"), timeout_s=10, poll_s=0.5, unmet="never", clock=clock)
    assert clock.now_ns() == SECOND


def test_a_condition_that_is_met_at_once_takes_no_time_even_without_any_to_wait() -> None:
    clock = JumpingClock()
    wait_until(answering("yes"), timeout_s=0, poll_s=0.5, unmet="never", clock=clock)
    assert clock.now_ns() == 0


def test_the_last_poll_is_at_the_deadline() -> None:
    clock = JumpingClock()
    wait_until(answering("no", "no", "yes"), timeout_s=0.7, poll_s=0.5, unmet="never", clock=clock)
    assert clock.now_ns() == 0.7 * SECOND


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        (None, "node-a1: no carrier after 3 s"),
        (lambda: "cali1", "node-a1: no carrier after 3 s: cali1"),
        (str, "node-a1: no carrier after 3 s"),
    ],
)
def test_the_error_says_what_where_and_for_how_long(describe: Callable[[], str] | None, message: str) -> None:
    with pytest.raises(WorldError) as raised:
        wait_until(
            answering("no"), timeout_s=3, poll_s=0.5, unmet="node-a1: no carrier", describe=describe, clock=JumpingClock()
        )
    assert str(raised.value) == message


def test_an_api_that_is_away_is_asked_again() -> None:
    clock = JumpingClock()
    wait_until(answering(ApiUnavailableError("away"), "yes"), timeout_s=10, poll_s=0.5, unmet="never", clock=clock)
    assert clock.now_ns() == SECOND // 2


def test_an_api_that_stays_unavailable_is_the_reason() -> None:
    with pytest.raises(ApiUnavailableError) as raised:
        wait_until(answering(ApiUnavailableError("away")), timeout_s=3, poll_s=0.5, unmet="not so", clock=JumpingClock())
    assert str(raised.value) == "not so after 3 s: away"


def test_any_other_error_ends_the_wait_at_once() -> None:
    clock = JumpingClock()
    with pytest.raises(WorldError, match="the agent died"):
        wait_until(answering(WorldError("the agent died")), timeout_s=3, poll_s=0.5, unmet="not so", clock=clock)
    assert clock.now_ns() == 0


def test_a_caller_that_can_do_without_it_gets_false() -> None:
    clock = JumpingClock()
    assert not came_true(answering("no"), timeout_s=2, poll_s=0.5, clock=clock)
    assert clock.now_ns() == 2 * SECOND
    assert came_true(answering("yes"), timeout_s=2, poll_s=0.5, clock=clock)

"""The clocks are held to the suite of the port."""

from __future__ import annotations

import time

import pytest

from clusters.lab.network import LabNetwork, _ReplaceableClock
from clusters.lab.spec import LabSpec
from hitless.clock import JumpingClock, RunClock
from hitless.ports import Clock
from hitless.words import Nanoseconds
from tests.lab.conformance.clock import ClockConformance


class TestRunClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return RunClock()

    def test_its_zero_is_its_epoch_on_the_monotonic_clock(self) -> None:
        clock = RunClock()
        before_ns = time.monotonic_ns()
        now_ns = clock.epoch_ns + clock.now_ns()
        assert before_ns <= now_ns <= time.monotonic_ns()


class TestJumpingClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return JumpingClock(start_ns=5)


class TestClockOfTheLab(ClockConformance):
    """The lab's planes read whichever clock the lab has; that clock may be replaced."""

    @pytest.fixture
    def clock(self) -> Clock:
        return _ReplaceableClock(LabNetwork(LabSpec(), RunClock()))

    def test_after_it_was_replaced_every_answer_is_the_new_ones(self) -> None:
        lab = LabNetwork(LabSpec(), RunClock())
        clock, new = _ReplaceableClock(lab), JumpingClock(start_ns=7)
        lab.clock = new
        assert (clock.epoch_ns, clock.now_ns()) == (0, 7)
        clock.wait_until(Nanoseconds(9))
        assert new.now_ns() == 9

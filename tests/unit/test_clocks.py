"""The clocks are held to the suite of the port."""

from __future__ import annotations

import time

import pytest

from hitless.clock import RunClock
from hitless.ports import Clock
from tests.clocks import JumpingClock
from tests.lab.conformance.clock import ClockConformance


class TestRunClock(ClockConformance):
    def test_its_zero_is_its_epoch_on_the_monotonic_clock(self) -> None:
        clock = RunClock()
        before_ns = time.monotonic_ns()
        now_ns = clock.epoch_ns + clock.now_ns()
        assert before_ns <= now_ns <= time.monotonic_ns()


class TestJumpingClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return JumpingClock(start_ns=5)

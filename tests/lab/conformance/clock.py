"""What every Clock must do: the conformance suite of the port.

A test module takes the suite in by subclassing `ClockConformance` and giving the fixture `clock`.
"""

from __future__ import annotations

from hitless.ports import Clock
from hitless.words import MILLISECOND, Nanoseconds


class ClockConformance:
    def test_waiting_ends_at_the_due_time_or_later(self, clock: Clock) -> None:
        due_ns = Nanoseconds(clock.now_ns() + MILLISECOND)
        clock.wait_until(due_ns)
        assert clock.now_ns() >= due_ns

    def test_waiting_for_what_has_passed_turns_no_time_back(self, clock: Clock) -> None:
        clock.wait_until(Nanoseconds(clock.now_ns() + MILLISECOND))
        before_ns = clock.now_ns()
        clock.wait_until(Nanoseconds(0))
        assert clock.now_ns() >= before_ns

    def test_time_never_runs_backwards(self, clock: Clock) -> None:
        readings = [clock.now_ns() for _ in range(1_000)]
        assert sorted(readings) == readings

    def test_the_epoch_does_not_change(self, clock: Clock) -> None:
        epoch_ns = clock.epoch_ns
        clock.wait_until(Nanoseconds(clock.now_ns() + MILLISECOND))
        assert clock.epoch_ns == epoch_ns

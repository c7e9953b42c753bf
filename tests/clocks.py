"""Time for tests: instants, a clock for those that wait for real processes, and one on which time passes only by waiting."""

from __future__ import annotations

from typing import Final

from hitless.clock import RunClock
from hitless.words import MILLISECOND, SECOND, Nanoseconds


def ms(value: float) -> Nanoseconds:
    return Nanoseconds(round(value * MILLISECOND))


def seconds(value: float) -> Nanoseconds:
    return Nanoseconds(round(value * SECOND))


class HastyClock(RunClock):
    """A real clock that does not sleep between two polls."""

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Return at once."""


class JumpingClock:
    """A clock on which time passes only by waiting.

    Args:
        start_ns: the first reading.
    """

    epoch_ns: Final = 0

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> Nanoseconds:
        """Return the present time, ns."""
        return Nanoseconds(self._now_ns)

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Jump to `due_ns`; time never runs backwards."""
        self._now_ns = max(self._now_ns, due_ns)

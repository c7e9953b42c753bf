"""Clocks for tests that wait for real processes."""

from __future__ import annotations

from hitless.clock import RunClock
from hitless.words import Nanoseconds


class HastyClock(RunClock):
    """A real clock that does not sleep between two polls."""

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Return at once."""

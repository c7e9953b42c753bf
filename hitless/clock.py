"""The run clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from hitless.words import Nanoseconds


def read_wall_time() -> str:
    """Return the wall clock as the Kubernetes API writes it: 2026-01-31T12:00:00Z."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class RunClock:
    """CLOCK_MONOTONIC since the run's start.

    Args:
        epoch_ns: the CLOCK_MONOTONIC reading that is 0 here; default: now.
    """

    def __init__(self, epoch_ns: int | None = None) -> None:
        self.epoch_ns: Final = time.monotonic_ns() if epoch_ns is None else epoch_ns

    def now_ns(self) -> Nanoseconds:
        """Return the time since the run's start, ns."""
        return Nanoseconds(time.monotonic_ns() - self.epoch_ns)

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Sleep until `due_ns`."""
        delay_ns = due_ns - self.now_ns()
        if delay_ns > 0:
            time.sleep(delay_ns / 1e9)

"""Injected outages: packets and times, as exactly as a user process can know them.

The truth is itself an interval: dropping and forwarding begin somewhere within a system call, whose times are read just before
and just after it. Who injects runs with the precedence that the agents have, so that these two readings stay close.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

LENGTH_MS: Final = (5.0, 500.0)
"""Outages are as long as this, log-uniformly: short ones are as often as long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One injected outage, on the run clock."""

    dropped_after_ns: int
    """Read before the call that made the router drop."""
    dropped_before_ns: int
    """Read after that call."""
    restored_after_ns: int
    """Read before the call that made it forward again."""
    restored_before_ns: int

    @property
    def shortest_ns(self) -> int:
        """It lasted at least this long."""
        return self.restored_after_ns - self.dropped_before_ns

    @property
    def longest_ns(self) -> int:
        """It lasted at most this long."""
        return self.restored_before_ns - self.dropped_after_ns

    @property
    def middle_ns(self) -> float:
        """The middle of both."""
        return (self.shortest_ns + self.longest_ns) / 2

    @property
    def blur_ns(self) -> float:
        """It lasted `middle_ns` plus and minus this."""
        return (self.longest_ns - self.shortest_ns) / 2


class Switch(Protocol):
    """What drops packets and says when: both calls return CLOCK_MONOTONIC just before and just after, ns."""

    def drop(self) -> tuple[int, int]:
        """Drop from now on."""
        ...

    def restore(self) -> tuple[int, int]:
        """Forward again."""
        ...


class Lengths:
    """Random lengths and pauses, real numbers that are independent of any interval.

    Args:
        seed: of both.
        pause_ms: least and largest pause between two outages.
        length_ms: least and largest length.
    """

    def __init__(self, seed: int, pause_ms: tuple[float, float], length_ms: tuple[float, float] = LENGTH_MS) -> None:
        self._choice = random.Random(seed)  # noqa: S311 - lengths, not secrets
        self._pause_ms, self._length_ms = pause_ms, length_ms

    def draw_s(self) -> float:
        """Return how long the next outage is to be, s."""
        least, most = self._length_ms
        return float(least * (most / least) ** self._choice.random() / 1000)

    def draw_pause_s(self) -> float:
        """Return how long to wait after it, s."""
        return self._choice.uniform(*self._pause_ms) / 1000


def inject(switch: Switch, length_s: float, epoch_ns: int) -> Truth:
    """Drop for about this long, and say how long it was."""
    dropped = switch.drop()
    time.sleep(length_s)
    restored = switch.restore()
    return Truth(
        dropped_after_ns=dropped[0] - epoch_ns,
        dropped_before_ns=dropped[1] - epoch_ns,
        restored_after_ns=restored[0] - epoch_ns,
        restored_before_ns=restored[1] - epoch_ns,
    )


@contextmanager
def precedence() -> Iterator[bool]:
    """Be the least of the real-time processes meanwhile, as the agents are; programs started meanwhile are so too.

    Yields:
        Whether that is allowed here.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, *before)

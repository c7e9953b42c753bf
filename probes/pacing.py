"""When the next tick is due, and which ticks are given up.

A periodic stream with a random start phase (RFC 3432 3). A tick that is late by more than one interval is skipped and
recorded, never caught up: catching up sends bursts, and a sender that bursts measures itself.

Pure: the caller reads the clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """What a look at the clock found."""

    is_due: bool
    """Whether a tick is to be sent now."""
    skipped_ns: tuple[int, int]
    """(first due time, number) of the ticks given up, one interval apart; the number is 0 as a rule."""


class Pacer:
    """Hands out ticks one interval apart.

    Args:
        interval_ns: time between two ticks.
        start_ns: no tick is due before.
        seed: seeds the phase; None: the system's randomness.
    """

    def __init__(self, interval_ns: int, start_ns: int, seed: int | None = None) -> None:
        source = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - a phase, not a secret
        self.interval_ns = interval_ns
        self.due_ns = start_ns + source.randrange(interval_ns)
        """When the next tick is due."""

    def look(self, now_ns: int) -> Wake:
        """Say what is due at `now_ns`, and move on to the next tick."""
        late_ns = now_ns - self.due_ns
        if late_ns < 0:
            return Wake(is_due=False, skipped_ns=(self.due_ns, 0))
        first_ns = self.due_ns
        # A tick is kept while it is late by one interval at most: -(-a // b) rounds up.
        given_up = max(0, -(-(late_ns - self.interval_ns) // self.interval_ns))
        self.due_ns += (given_up + 1) * self.interval_ns
        return Wake(is_due=True, skipped_ns=(first_ns, given_up))

"""Time of the next tick, and the ticks that are skipped.

A periodic stream with a random start phase (RFC 3432 3). A tick that is late by more than one interval is skipped and
recorded, never caught up: catching up sends bursts, and a sender that bursts measures itself.

Pure: the caller reads the clock.
"""

from __future__ import annotations

import random


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

    def look(self, now_ns: int) -> tuple[int, int] | None:
        """Say whether a tick is to be sent at `now_ns`, and move on to the next one.

        Returns:
            None: nothing is due. Else the due time of the first tick that is, and how many are given up from it on, one
            interval apart, before the one to send: 0 as a rule.
        """
        late_ns = now_ns - self.due_ns
        if late_ns < 0:
            return None
        first_ns = self.due_ns
        # A tick is kept while it is late by one interval at most: -(-a // b) rounds up.
        given_up = max(0, -(-(late_ns - self.interval_ns) // self.interval_ns))
        self.due_ns += (given_up + 1) * self.interval_ns
        return first_ns, given_up

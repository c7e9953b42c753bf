"""Time of the next tick, and the ticks that are skipped.

A periodic stream with a random start phase (RFC 3432 3). A tick that is late by more than one interval is skipped and
recorded, never caught up: catching up sends bursts, and a sender that sends bursts measures its own load.

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
        """Return whether a tick is to be sent at `now_ns`, and advance to the next one.

        Returns:
            None: nothing is due. Otherwise the time at which the first due tick was due, and the number of ticks, one interval
            apart, that are skipped before the one to send: normally 0.
        """
        late_ns = now_ns - self.due_ns
        if late_ns < 0:
            return None
        first_ns = self.due_ns
        # A tick is kept while it is late by one interval at most: -(-a // b) rounds up.
        given_up = max(0, -(-(late_ns - self.interval_ns) // self.interval_ns))
        self.due_ns += (given_up + 1) * self.interval_ns
        return first_ns, given_up

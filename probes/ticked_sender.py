"""The ticks of a sender of any protocol: when one is due, which are skipped, what the record counts."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hitless.records import SKIPPED_ROW
from probes.clocks import Bridge
from probes.recording import GrowingTable, SenderTable
from probes.settings import AgentSettings
from probes.sockets import Watched

_LIVE_WINDOW_NS: Final = 250_000_000
"""An answered streak that ended longer ago than this (and some ticks) says nothing about now."""


class Pacer:
    """Hands out ticks one interval apart: a periodic stream with a random start phase (RFC 3432 3).

    A tick that is late by more than one interval is skipped and recorded, never caught up: catching up sends bursts, and a
    sender that sends bursts measures its own load. Pure: the caller reads the clock.

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


class TickedSender(ABC):
    """The interface of a sender, and the part of it that does not depend on the protocol."""

    descriptor: int | None = None
    """Readable when there is something to collect; None: nothing to wait for."""
    watched: Sequence[Watched] = ()
    """Datagram sockets, for the count of their drops: a connection drops nothing."""

    def __init__(self, settings: AgentSettings, bridge: Bridge, skipped: GrowingTable, facts: Mapping[str, Any]) -> None:
        self._settings, self._bridge, self._skipped = settings, bridge, skipped
        self.now_ns = bridge.now_ns
        """Returns the present on the run clock."""
        self._ids = np.array([flow.id for flow in settings.sent_flows], dtype=np.uint32)
        self._table = SenderTable(settings.directory / f"{settings.agent}.sender", len(self._ids), settings.ticks_max, facts)
        self.counters: Counter[str] = Counter()
        self.ticks = 0
        """Ticks sent: the seq of the next one."""
        self.is_started = False
        """Whether it was told when to send."""
        self.longest_call_ns = 0
        """Longest time from a timestamp to the end of the call that sent it, since it was last set to 0."""
        self._lateness_ns_max = 0
        """How much later than due the latest tick was sent; skipped ones are another matter."""
        self._pacer: Pacer | None = None
        self._live_window = 4 * settings.live_answers + _LIVE_WINDOW_NS // settings.interval_ns

    @abstractmethod
    def step(self) -> None:
        """Send the tick that is due, if one is, and fetch answers if it is time."""

    @abstractmethod
    def collect(self) -> None:
        """Fetch the answers that have come, and fill their rows."""

    def hang_up(self) -> None:  # noqa: B027 - datagrams have no connections
        """Close the connections, if it has any."""

    def start(self, start_ns: int) -> int:
        """Draw the phase; no tick is due before `start_ns` (run clock). Returns when the first one is."""
        self._pacer = Pacer(self._settings.interval_ns, start_ns)
        self.is_started = True
        return self._pacer.due_ns

    @property
    def due_ns(self) -> int | None:
        """When the next tick is due, run clock; None: it does not send."""
        return None if self._pacer is None else self._pacer.due_ns

    def stop(self) -> None:
        """Send nothing more."""
        self._pacer = None

    @property
    def is_exhausted(self) -> bool:
        """Whether every tick that `duration_ns_max` allows was sent."""
        return self.ticks >= self._settings.ticks_max

    def is_live(self) -> bool:
        """Fetch answers; return whether every flow was answered `live_answers` times in a row lately."""
        self.collect()
        wanted = self._settings.live_answers
        if self.ticks < wanted:
            return False
        answered = self._table.ticks["copies"][max(0, self.ticks - self._live_window) : self.ticks] > 0
        streaks = np.lib.stride_tricks.sliding_window_view(answered, wanted, axis=0).all(axis=-1)
        return bool(streaks.any(axis=0).all())

    def has_outstanding(self) -> bool:
        """Return whether a probe of the last `drain_ns` still waits for its answer."""
        recent = self._settings.drain_ns // self._settings.interval_ns + 2
        rows = self._table.ticks[max(0, self.ticks - recent) : self.ticks]
        return bool(((rows["copies"] == 0) & (rows["send_errno"] == 0) & (rows["failure"] == 0)).any())

    def finish(self) -> None:
        """Close the records, and count what is in them."""
        rows = self._table.ticks[: self.ticks]
        self.counters["ticks"] = self.ticks
        self.counters["probes"] = rows.size
        self.counters["sent"] = int(np.count_nonzero(rows["send_errno"] == 0))
        self.counters["answered"] = int(np.count_nonzero(rows["copies"]))
        self.counters["lateness_ns_max"] = self._lateness_ns_max
        self._table.finish(self.ticks)
        self._skipped.close()

    def _is_tick_due(self, now_ns: int) -> bool:
        """Return whether a tick is to be sent now; record those that are given up."""
        due = None if self._pacer is None else self._pacer.look(now_ns)
        if due is None:
            return False
        first_ns, count = due
        if count:
            self.counters["ticks_skipped"] += count
            rows = np.zeros(count, dtype=SKIPPED_ROW)
            rows["due"] = first_ns + np.arange(count) * self._settings.interval_ns
            rows["woke"] = now_ns
            self._skipped.append(rows)
        if self.is_exhausted:
            return False
        self._lateness_ns_max = max(self._lateness_ns_max, now_ns - first_ns - count * self._settings.interval_ns)
        return True

    def _note_call(self, began_ns: int, ended_ns: int) -> None:
        self.longest_call_ns = max(self.longest_call_ns, ended_ns - began_ns)

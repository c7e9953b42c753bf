"""One thread, one loop over a heap of wake-ups.

Each participant returns the time of its next call. Between two calls the loop waits on the clock. With a simulated clock, a
unit test runs a whole switch in milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from hitless.ports import Clock, KubeApi, Participant
from hitless.words import MILLISECOND, Nanoseconds

_POLL_NS = Nanoseconds(20 * MILLISECOND)
"""Longest wait of the loop, so that it notices changes on a real API and the end of the run."""


class Loop:
    """Calls every participant when it is due, and at once when an object that it watches changed. Their names are unique."""

    def __init__(self, participants: Sequence[Participant], kube: KubeApi, clock: Clock) -> None:
        self._participants = tuple(participants)
        self._kube = kube
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], object] | None]] = []
        self._due: list[int | None] = [None] * len(self._participants)
        self._count = 0
        for index in range(len(self._participants)):
            self._plan(index, clock.now_ns())

    def at(self, due_ns: Nanoseconds, act: Callable[[], object]) -> None:
        """Call `act` once at `due_ns`, before the participants that are due then."""
        self._count += 1
        heapq.heappush(self._heap, (due_ns, -len(self._participants) - 1_000_000 + self._count, act))

    def run(self, until: Callable[[], bool], deadline_ns: Nanoseconds) -> bool:
        """Run until `until()` is true or the deadline passes. Everything that is due by the deadline is done first.

        Returns:
            Whether `until()` came true.
        """
        while True:
            self._notice_changes()
            if until():
                return True
            now = self._clock.now_ns()
            next_ns = self._heap[0][0] if self._heap else None
            if next_ns is not None and next_ns <= min(now, deadline_ns):
                self._do_next()
            elif now >= deadline_ns:
                return False
            else:
                wake_ns = deadline_ns if next_ns is None else min(next_ns, deadline_ns)
                self._clock.wait_until(Nanoseconds(min(wake_ns, now + _POLL_NS)))

    def _do_next(self) -> None:
        due_ns, order, act = heapq.heappop(self._heap)
        if act is not None:
            act()
        elif self._due[order] == due_ns:
            self._call(order)

    def _call(self, index: int) -> None:
        self._due[index] = None
        next_ns = self._participants[index].reconcile(self._clock.now_ns())
        if next_ns is not None:
            self._plan(index, next_ns)

    def _plan(self, index: int, due_ns: Nanoseconds) -> None:
        self._due[index] = due_ns
        heapq.heappush(self._heap, (due_ns, index, None))

    def _notice_changes(self) -> None:
        changed = self._kube.take_changes()
        if not changed:
            return
        now = self._clock.now_ns()
        for index, participant in enumerate(self._participants):
            due = self._due[index]
            if participant.watches & changed and (due is None or due > now):
                self._plan(index, now)

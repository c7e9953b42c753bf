"""The run clock, and waiting by it: the one deadline loop.

Everything that polls does it here, so that every wait ends and every error says what did not come true, where and for how long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hitless.errors import ApiUnavailableError, WorldError
from hitless.ports import Clock
from hitless.words import SECOND, Nanoseconds


def read_wall_time() -> str:
    """Return the wall clock as the Kubernetes API writes it: 2026-01-31T12:00:00Z."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class RunClock:
    """CLOCK_MONOTONIC since the run's start, when the clock is made."""

    def __init__(self) -> None:
        self.epoch_ns: Final = time.monotonic_ns()

    def now_ns(self) -> Nanoseconds:
        """Return the time since the run's start, ns."""
        return Nanoseconds(time.monotonic_ns() - self.epoch_ns)

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Sleep until `due_ns`."""
        delay_ns = due_ns - self.now_ns()
        if delay_ns > 0:
            time.sleep(delay_ns / 1e9)


def wait_until(
    is_so: Callable[[], bool],
    *,
    timeout_s: float,
    poll_s: float,
    unmet: str,
    describe: Callable[[], str] | None = None,
    clock: Clock | None = None,
) -> None:
    """Poll until `is_so()` is true; it is called at least once, and a last time after the timeout.

    Args:
        is_so: the condition. An ApiUnavailableError from it means "not yet"; any other error ends the wait.
        timeout_s: how long to wait at most, s.
        poll_s: time between two polls, s; 0 if the condition itself waits.
        unmet: names the condition that was not met and where, such as `node-a1: links have no carrier`.
        describe: gives the error's details; empty if there are none.
        clock: the clock to wait by; default: the machine's.

    Raises:
        ApiUnavailableError: the timeout is over, and the API did not answer the last poll.
        WorldError: the timeout is over.
    """
    unavailable: ApiUnavailableError | None = None

    def is_so_now() -> bool:
        nonlocal unavailable
        try:
            unavailable = None
            return is_so()
        except ApiUnavailableError as error:
            unavailable = error
            return False

    if came_true(is_so_now, timeout_s=timeout_s, poll_s=poll_s, clock=clock):
        return
    message = f"{unmet} after {timeout_s:g} s"
    if unavailable is not None:
        raise ApiUnavailableError(f"{message}: {unavailable}") from unavailable
    details = describe() if describe else ""
    raise WorldError(f"{message}: {details}" if details else message)


def came_true(is_so: Callable[[], bool], *, timeout_s: float, poll_s: float, clock: Clock | None = None) -> bool:
    """Poll as `wait_until` does and return whether the condition was met in time."""
    clock = clock or RunClock()
    deadline_ns = clock.now_ns() + round(timeout_s * SECOND)
    while True:
        asked_ns = clock.now_ns()
        if is_so():
            return True
        if asked_ns >= deadline_ns:
            return False
        clock.wait_until(Nanoseconds(min(asked_ns + round(poll_s * SECOND), deadline_ns)))

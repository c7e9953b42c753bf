"""The back-off after failures."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.words import Nanoseconds


@dataclass(slots=True, kw_only=True)
class DoublingBackoff:
    """controller-runtime's default: every failure doubles the wait up to a cap, a success forgets.

    Source: client-go util/workqueue ItemExponentialFailureRateLimiter, 5 ms to 1,000 s.
    """

    first_ns: Nanoseconds
    """Wait after the first failure."""
    max_ns: Nanoseconds
    """No wait is longer."""
    failures: int = 0
    """Failures in a row so far."""

    def fail(self) -> Nanoseconds:
        """Count a failure and return how long to wait."""
        delay_ns = min(self.first_ns << min(self.failures, 40), self.max_ns)
        self.failures += 1
        return Nanoseconds(delay_ns)

    def forget(self) -> None:
        """Count a success."""
        self.failures = 0

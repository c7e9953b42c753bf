"""Limits: the number of connections that a flow can need, and a token bucket for their rate. Pure."""

from __future__ import annotations

from typing import Final

from hitless.words import FlowClass

UNANSWERED: Final = 0xFFFF_FFFF
"""reflector_seq of a probe that was logged but not answered because of the rate limit."""
RECONNECTS_MAX: Final = 4
"""Connections of a `tcp-established` flow that the far end may hold: the present one, and those of which it has not heard that
they are gone."""
_MARGIN_NS: Final = 1_000_000_000


def connections_max(flow_class: FlowClass, interval_ns: int, patience_ns: int) -> int:
    """Return how many connections a flow can have at a time: a new one an interval, each for as long as it is waited for."""
    if flow_class is FlowClass.TCP_ESTABLISHED:
        return RECONNECTS_MAX
    return -(-(patience_ns + _MARGIN_NS) // interval_ns) + 1


class TokenBucket:
    """Lets through at most a rate on average, and at most a burst at once.

    Args:
        rate: tokens a nanosecond.
        burst: tokens that it holds; it begins full.
        now_ns: any clock.
    """

    def __init__(self, rate: float, burst: float, now_ns: int) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._filled_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Take a token; False: there is none."""
        self._tokens = min(self._burst, self._tokens + self._rate * (now_ns - self._filled_ns))
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

"""How a duration spreads over flows: minimum, median, mean, maximum.

A flow without an upper bound (censored, or never converged) is longer than every other: it is sorted last, not left out, and
a statistic that it reaches is None.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One duration over flows, ms; None: no bound, or there is no flow."""

    flows: int
    unbounded: int
    """Of them, those that have no upper bound."""
    min: float | None
    median: float | None
    mean: float | None
    max: float | None


def make_spread(values_ms: Sequence[float | None]) -> Spread:
    """Return the spread of some durations, None standing for one without bound. Source: RFC 6412 3.6 asks for these four."""
    values = sorted(math.inf if value is None else value for value in values_ms)
    if not values:
        return Spread(flows=0, unbounded=0, min=None, median=None, mean=None, max=None)
    return Spread(
        flows=len(values),
        unbounded=sum(math.isinf(value) for value in values),
        min=_finite(values[0]),
        median=_finite(statistics.median(values)),
        mean=_finite(sum(values) / len(values)),
        max=_finite(values[-1]),
    )


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 3)

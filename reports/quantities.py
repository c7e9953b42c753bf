"""Quantities in reports. A duration is always printed with its accuracy interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, overload

from analysis.bounds import Length
from hitless.words import MILLISECOND

NONE: Final = "-"
"""Does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A length of time as a summary has it: ms, to the microsecond."""

    shortest: float
    """It lasted at least this long."""
    likely: float | None
    """The best single number; None: censored, or none was worked out."""
    longest: float | None
    """It lasted at most this long; None: censored."""


def duration_of(length: Length) -> Duration:
    """Return a measured length as a summary has it."""
    return Duration(shortest=ms(length.shortest_ns), likely=ms(length.likely_ns), longest=ms(length.longest_ns))


@overload
def ms(time_ns: float) -> float: ...
@overload
def ms(time_ns: float | None) -> float | None: ...
def ms(time_ns: float | None) -> float | None:
    """Return nanoseconds as ms to the microsecond; None stays None."""
    return None if time_ns is None else round(time_ns / MILLISECOND, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a duration spreads over flows, ms; None: no bound, or there is no flow.

    A flow without an upper bound (censored, or never converged) is longer than every other: it is sorted last, not left out,
    and a statistic that it reaches is None.
    """

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


def say_count(count: int | None) -> str:
    """Return a count with thousands apart."""
    return NONE if count is None else f"{count:,}"


def say_share(part: int, whole: int) -> str:
    """Return a count, its total, and the share."""
    if not part or not whole:
        return f"{part:,} of {whole:,}"
    return f"{part:,} of {whole:,} ({part / whole:.2%})"


def say_ms(value_ms: float | None, accuracy_ms: float | None = None) -> str:
    """Return a length of time with its accuracy interval; None for the latter where it was not measured by probes."""
    if value_ms is None:
        return NONE
    return f"{value_ms:,.1f} ms" if accuracy_ms is None else f"{value_ms:,.1f} ms ±{accuracy_ms:g}"


def say_duration(found: Duration | None, accuracy_ms: float) -> str:
    """Return the likely length with both bounds, the bounds alone, or `>=` the shortest where it is censored."""
    if found is None:
        return NONE
    if found.longest is None:
        return f">= {found.shortest:,.1f} ms ±{accuracy_ms:g} (censored)"
    if found.likely is None:
        return f"{found.shortest:,.1f} to {found.longest:,.1f} ms ±{accuracy_ms:g}"
    return f"{found.likely:,.1f} ms ±{accuracy_ms:g} ({found.shortest:,.1f} to {found.longest:,.1f})"

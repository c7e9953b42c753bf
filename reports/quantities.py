"""How a report writes quantities. A duration never stands without its accuracy interval."""

from __future__ import annotations

Bounds = tuple[float, float | None]
"""Shortest and longest, ms; longest None: censored."""

NONE = "-"
"""Does not apply."""


def say_count(count: int | None) -> str:
    """Return a count with thousands apart."""
    return NONE if count is None else f"{count:,}"


def say_share(part: int, whole: int) -> str:
    """Return a count, what it is part of, and the share."""
    if not part or not whole:
        return f"{part:,} of {whole:,}"
    return f"{part:,} of {whole:,} ({part / whole:.2%})"


def say_ms(value_ms: float | None, accuracy_ms: float | None = None) -> str:
    """Return a length of time with its accuracy interval; None for the latter where it was not measured by probes."""
    if value_ms is None:
        return NONE
    return f"{value_ms:,.1f} ms" if accuracy_ms is None else f"{value_ms:,.1f} ms ±{accuracy_ms:g}"


def say_bounds(bounds: Bounds | None, accuracy_ms: float) -> str:
    """Return both bounds, or `>=` the shortest where there is no longest."""
    if bounds is None:
        return NONE
    shortest, longest = bounds
    if longest is None:
        return f">= {shortest:,.1f} ms ±{accuracy_ms:g}"
    return f"{shortest:,.1f} to {longest:,.1f} ms ±{accuracy_ms:g}"


def say_downtime(value_ms: float | None, bounds: Bounds | None, accuracy_ms: float) -> str:
    """Return a downtime: the middle and both bounds, or `>=` the shortest where it is censored."""
    if bounds is None:
        return NONE
    shortest, longest = bounds
    if value_ms is None or longest is None:
        return f">= {shortest:,.1f} ms ±{accuracy_ms:g} (censored)"
    return f"{value_ms:,.1f} ms ±{accuracy_ms:g} ({shortest:,.1f} to {longest:,.1f})"

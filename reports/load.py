"""The part of the report about application load, as rows of strings; the words are in templates/page-details.html.j2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from analysis.load_seconds import LoadSecond, LoadTotals
from hitless.words import Arm
from reports.load_summary import LoadSummary, LoadTrial
from reports.quantities import NONE, say_count

SECONDS_MAX: Final = 40
"""Seconds of a trial that are printed; all are in summary.json."""
SECONDS_BEFORE: Final = 3
"""Seconds before the operator's request that are always shown: what was usual."""
SECONDS_AFTER: Final = 6
"""Seconds after it."""


def load_rows(loads: Mapping[Arm, LoadSummary]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each arm and kind of users: arm, kind, requests, failed, missed, p50, p99, longest, kinds of failures."""
    for arm, load in loads.items():
        for use, found in load.uses.items():
            latencies_ms = (found.latency_ms_p50, found.latency_ms_p99, found.latency_ms_max)
            yield arm, use, *_say_counts(found), *map(_say_ms, latencies_ms), _say_failures(found)


def second_columns(load: LoadSummary) -> tuple[str, ...]:
    """Return the heading of each column of `second_rows`."""
    percentiles = (f"{use} {percentile}" for use in load.uses for percentile in ("p50", "p99"))
    return "second", "requests", "failed", "not asked", *percentiles, "failures"


def second_rows(load: LoadSummary, trial: LoadTrial) -> tuple[tuple[str, ...], ...]:
    """Return a row for each second of a trial that is worth showing."""
    return tuple(_second_row(one, tuple(load.uses)) for one in choose_seconds(trial.seconds))


def choose_seconds(seconds: Sequence[LoadSecond]) -> tuple[LoadSecond, ...]:
    """Return the seconds worth showing: around the request, and where something failed or could not be asked.

    At most SECONDS_MAX, those closest to the request.
    """
    worth = [
        one
        for one in seconds
        if -SECONDS_BEFORE <= one.second < SECONDS_AFTER or one.totals.failed or one.totals.missed or one.totals.aborted
    ]
    closest = sorted(worth, key=lambda one: abs(one.second))[:SECONDS_MAX]
    return tuple(sorted(closest, key=lambda one: one.second))


def _second_row(one: LoadSecond, uses: Sequence[str]) -> tuple[str, ...]:
    found = [one.uses.get(use) for use in uses]
    latencies_ms = (
        latency_ms
        for totals in found
        for latency_ms in ((None, None) if totals is None else (totals.latency_ms_p50, totals.latency_ms_p99))
    )
    return str(one.second), *_say_counts(one.totals), *map(_say_ms, latencies_ms), _say_failures(one.totals)


def _say_counts(found: LoadTotals) -> tuple[str, ...]:
    return tuple(map(say_count, (found.requests, found.failed, found.missed)))


def _say_failures(found: LoadTotals) -> str:
    kinds = found.failures | ({"under way at the end": found.aborted} if found.aborted else {})
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()) or NONE


def _say_ms(value_ms: float | None) -> str:
    """Return a time that was measured itself: it has no accuracy interval."""
    return NONE if value_ms is None else f"{value_ms:,.1f}"

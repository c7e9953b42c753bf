"""The part of the report about application load, as rows of strings; the words are in templates/page-details.html.j2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.load_seconds import LoadSecond, LoadTotals
from hitless.words import Arm
from reports.load_summary import LoadSummary, LoadTrial
from reports.quantities import NONE, say_count
from reports.summary import Summary

SECONDS_MAX: Final = 40
"""Seconds of a trial that are printed; all are in summary.json."""
SECONDS_BEFORE: Final = 3
"""Seconds before the operator's request that are always shown: what was usual."""
SECONDS_AFTER: Final = 6
"""Seconds after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """The seconds of one trial."""

    arm: Arm
    trial: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int
    """Seconds that are not shown."""
    is_whole: bool
    late_ms_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTables:
    """Everything that the report says of the load."""

    load: LoadSummary
    """What was asked for: the same in both arms."""
    totals: tuple[tuple[str, ...], ...]
    """A row for each arm and kind of users: arm, kind, requests, failed, missed, p50, p99, longest, kinds of failures."""
    trials: tuple[TrialTable, ...]


def make_load_tables(summary: Summary, shown: Mapping[Arm, int]) -> LoadTables | None:
    """Return the tables; None: no run had a load.

    Args:
        summary: of the comparison.
        shown: arm to the trial that the report shows.
    """
    loads = {arm: found.load for arm, found in summary.arms.items() if found.load is not None}
    if not loads:
        return None
    return LoadTables(
        load=next(iter(loads.values())),
        totals=tuple(
            (
                arm,
                use,
                *_say_counts(found),
                *map(_say_ms, (found.latency_ms_p50, found.latency_ms_p99, found.latency_ms_max)),
                _say_failures(found),
            )
            for arm, load in loads.items()
            for use, found in load.uses.items()
        ),
        trials=tuple(
            _trial_table(arm, load, trial)
            for arm, load in loads.items()
            for trial in load.per_trial
            if trial.trial == shown.get(arm)
        ),
    )


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


def _trial_table(arm: Arm, load: LoadSummary, trial: LoadTrial) -> TrialTable:
    shown = choose_seconds(trial.seconds)
    percentiles = (f"{use} {percentile}" for use in load.uses for percentile in ("p50", "p99"))
    return TrialTable(
        arm=arm,
        trial=trial.trial,
        columns=("second", "requests", "failed", "not asked", *percentiles, "failures"),
        rows=tuple(_second_row(one, tuple(load.uses)) for one in shown),
        left_out=len(trial.seconds) - len(shown),
        is_whole=trial.is_whole,
        late_ms_max=trial.late_ms_max,
    )


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

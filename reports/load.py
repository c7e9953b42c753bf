"""The part of the report about application load, as rows of strings; the words are in templates/load.md.j2."""

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
class TotalRow:
    """The users of one kind of one arm."""

    arm: Arm
    use: str
    """`reused`, `new`."""
    requests: str
    failed: str
    missed: str
    p50: str
    p99: str
    max: str
    failures: str
    """Kinds of failures and how many of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRow:
    """One second."""

    second: int
    requests: str
    failed: str
    missed: str
    latencies: tuple[str, ...]
    """p50 and p99 of each kind of users, one after the other."""
    failures: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """The seconds of one trial."""

    arm: Arm
    trial: int
    uses: tuple[str, ...]
    rows: tuple[SecondRow, ...]
    left_out: int
    """Seconds that are not shown."""
    is_whole: bool
    late_ms_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTables:
    """Everything that the report says of the load."""

    load: LoadSummary
    """What was asked for: the same in both arms."""
    totals: tuple[TotalRow, ...]
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
        totals=tuple(_total_row(arm, use, found) for arm, load in loads.items() for use, found in load.uses.items()),
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
    uses = tuple(load.uses)
    shown = choose_seconds(trial.seconds)
    return TrialTable(
        arm=arm,
        trial=trial.trial,
        uses=uses,
        rows=tuple(_second_row(one, uses) for one in shown),
        left_out=len(trial.seconds) - len(shown),
        is_whole=trial.is_whole,
        late_ms_max=trial.late_ms_max,
    )


def _total_row(arm: Arm, use: str, found: LoadTotals) -> TotalRow:
    return TotalRow(
        arm=arm,
        use=use,
        requests=say_count(found.requests),
        failed=say_count(found.failed),
        missed=say_count(found.missed),
        p50=_say_ms(found.latency_ms_p50),
        p99=_say_ms(found.latency_ms_p99),
        max=_say_ms(found.latency_ms_max),
        failures=_say_failures(found),
    )


def _second_row(one: LoadSecond, uses: Sequence[str]) -> SecondRow:
    found = [one.uses.get(use) for use in uses]
    return SecondRow(
        second=one.second,
        requests=say_count(one.totals.requests),
        failed=say_count(one.totals.failed),
        missed=say_count(one.totals.missed),
        latencies=tuple(
            _say_ms(latency_ms)
            for totals in found
            for latency_ms in ((None, None) if totals is None else (totals.latency_ms_p50, totals.latency_ms_p99))
        ),
        failures=_say_failures(one.totals),
    )


def _say_failures(found: LoadTotals) -> str:
    kinds = found.failures | ({"under way at the end": found.aborted} if found.aborted else {})
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()) or NONE


def _say_ms(value_ms: float | None) -> str:
    """Return a time that was measured itself: it has no accuracy interval."""
    return NONE if value_ms is None else f"{value_ms:,.1f}"

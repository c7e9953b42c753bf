"""The application load of an arm: requests and answers of its users in numbers. Pure.

The numbers are part of the summary's schema. Seconds count from the operator's request, as timelines do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.evidence import JudgedRun
from analysis.load_seconds import LoadSecond, LoadTotals, load_seconds, tally, tally_uses
from hitless.history import History
from hitless.load import LoadRecords
from hitless.words import MILLISECOND, SECOND

SECONDS_MAX: Final = 40
"""Seconds of a trial that are printed; all are in summary.json."""
SECONDS_BEFORE: Final = 3
"""Seconds before the operator's request that are always shown: what was usual."""
SECONDS_AFTER: Final = 6
"""Seconds after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTrial:
    """The load of one run."""

    trial: int
    totals: LoadTotals
    is_whole: bool
    """False: a process of the load was killed, so that requests may be missing."""
    late_ms_max: float
    """The longest that a user who was free asked late: how far the load itself may colour its times."""
    seconds: tuple[LoadSecond, ...]
    """Every one from the first request to the last; the first and the last are not whole seconds. Second 0 follows the
    operator's request, or the run's start where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """The load of one arm."""

    users: int
    rate_hz: float
    """Requests per second of each user."""
    body_octets: int
    timeout_ms: float
    clients: tuple[str, ...]
    """Pods with users."""
    totals: LoadTotals
    """Over all trials."""
    uses: dict[str, LoadTotals]
    per_trial: tuple[LoadTrial, ...]


def summarise_load(runs: Sequence[JudgedRun]) -> LoadSummary | None:
    """Summarise the load of the runs of one arm; None: they had none."""
    histories = [run.history for run in runs]
    loads = [history.load for history in histories if history.load is not None]
    if not loads:
        return None
    spec, rows = loads[0].spec, np.concatenate([load.rows for load in loads])
    return LoadSummary(
        users=spec.users,
        rate_hz=SECOND / spec.interval_ns,
        body_octets=spec.body_octets,
        timeout_ms=spec.timeout_ns / MILLISECOND,
        clients=spec.clients,
        totals=tally(rows),
        uses=tally_uses(rows),
        per_trial=tuple(_summarise_trial(history, history.load) for history in histories if history.load is not None),
    )


def _summarise_trial(history: History, load: LoadRecords) -> LoadTrial:
    return LoadTrial(
        trial=history.header.trial,
        totals=tally(load.rows),
        is_whole=all(report.finished for report in load.reports),
        late_ms_max=max((report.counters.get("late_ns_max", 0) for report in load.reports), default=0) / MILLISECOND,
        seconds=load_seconds(load, history.origin_ns),
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

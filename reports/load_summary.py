"""The application load of an arm in numbers: what its users asked and got, in all and second by second.

A pure function of judged runs; part of the summary's schema. Seconds count from the operator's request, as timelines do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.judged import JudgedRun
from analysis.load_seconds import Tally, load_seconds, tally, tally_uses
from hitless.history import History
from hitless.load import ConnectionUse, LoadRecords
from hitless.words import MILLISECOND, SECOND
from reports.origin import origin_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTotals:
    """Requests of a set of users: requests = answered + failed + aborted."""

    requests: int
    answered: int
    failed: int
    aborted: int
    """Under way when the load ended."""
    missed: int
    """Not made: due while their user still waited for an answer."""
    opened: int
    """Requests for which a connection had to be opened."""
    failures: dict[str, int]
    """Kind to the number of requests that failed so."""
    latency_ms_p50: float | None
    """Of answered requests, from asking to the whole answer; None: none was answered."""
    latency_ms_p90: float | None
    latency_ms_p99: float | None
    latency_ms_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSecondSummary:
    """One second of one trial."""

    second: int
    """From the operator's request (0: the second after it), or from the run's start where there is none."""
    totals: LoadTotals
    uses: dict[str, LoadTotals]
    """`reused` and `new`: users who keep their connection, and those who open a new one each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTrial:
    """The load of one run."""

    trial: int
    totals: LoadTotals
    is_whole: bool
    """False: a process of the load was killed, so that requests may be missing."""
    late_ms_max: float
    """The longest that a user who was free asked late: how far the load itself may colour its times."""
    seconds: tuple[LoadSecondSummary, ...]
    """Every one from the first request to the last; the first and the last are not whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """The load of one arm."""

    users: int
    rate_hz: float
    """Requests a second of each user."""
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
        totals=_totals(tally(rows)),
        uses=_uses(tally_uses(rows)),
        per_trial=tuple(_summarise_trial(history, history.load) for history in histories if history.load is not None),
    )


def _summarise_trial(history: History, load: LoadRecords) -> LoadTrial:
    return LoadTrial(
        trial=history.header.trial,
        totals=_totals(tally(load.rows)),
        is_whole=all(report.finished for report in load.reports),
        late_ms_max=max((report.counters.get("late_ns_max", 0) for report in load.reports), default=0) / MILLISECOND,
        seconds=tuple(
            LoadSecondSummary(second=one.second, totals=_totals(one.total), uses=_uses(one.uses))
            for one in load_seconds(load, origin_ns(history))
        ),
    )


def _uses(found: Mapping[ConnectionUse, Tally]) -> dict[str, LoadTotals]:
    return {use.label: _totals(one) for use, one in found.items()}


def _totals(found: Tally) -> LoadTotals:
    latency = found.latency
    return LoadTotals(
        requests=found.requests,
        answered=found.answered,
        failed=found.failed,
        aborted=found.aborted,
        missed=found.missed,
        opened=found.opened,
        failures=dict(found.failures),
        latency_ms_p50=None if latency is None else latency.p50_ns / MILLISECOND,
        latency_ms_p90=None if latency is None else latency.p90_ns / MILLISECOND,
        latency_ms_p99=None if latency is None else latency.p99_ns / MILLISECOND,
        latency_ms_max=None if latency is None else latency.max_ns / MILLISECOND,
    )

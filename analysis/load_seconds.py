"""The application load second by second, on the run clock. Pure.

A request belongs to the second in which it began. A request that was not made because its user still waited (`missed`) belongs
to the second in which it was due. Percentiles are of the time from `began` to `ended` of answered requests, by nearest rank, so
each was measured. Users wait for their answers: the slower the answers, the fewer slow requests there are (coordinated
omission). Read percentiles together with `missed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.load import ConnectionUse, LoadRecords, RequestOutcome
from hitless.records import Rows
from hitless.words import MILLISECOND, SECOND, Nanoseconds

_PERCENTS: Final = (50, 90, 99, 100)


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
    """Requests for which a connection had to be opened, whether it was or not."""
    failures: dict[str, int]
    """Label of a RequestOutcome to the number of requests that failed so; only those that did."""
    latency_ms_p50: float | None
    """Of answered requests, from asking to the whole answer; None: none was answered."""
    latency_ms_p90: float | None
    latency_ms_p99: float | None
    latency_ms_max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSecond:
    """One second of the load of one run."""

    second: int
    """From the origin; negative before it."""
    totals: LoadTotals
    uses: dict[str, LoadTotals]
    """Label of each ConnectionUse that has users to its requests."""


def tally(rows: Rows, missed: int | None = None) -> LoadTotals:
    """Count a set of requests; `missed`: how many more were due, None: as the rows say."""
    outcomes = rows["outcome"]
    counts = {outcome: int(np.count_nonzero(outcomes == outcome)) for outcome in RequestOutcome}
    failures = {outcome.label: count for outcome, count in counts.items() if outcome.is_failure and count}
    answered = rows[outcomes == RequestOutcome.ANSWERED]
    latencies_ms = _latencies_ms(answered["ended"] - answered["began"])
    return LoadTotals(
        requests=int(rows.size),
        answered=counts[RequestOutcome.ANSWERED],
        failed=sum(failures.values()),
        aborted=counts[RequestOutcome.ABORTED],
        missed=int(rows["missed"].sum()) if missed is None else missed,
        opened=int(np.count_nonzero(rows["nth"] == 0)),
        failures=failures,
        **dict(zip(("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "latency_ms_max"), latencies_ms, strict=True)),
    )


def tally_uses(rows: Rows) -> dict[str, LoadTotals]:
    """Count a set of requests by the way of connecting; ways without a request are left out."""
    return {use.label: tally(rows[rows["use"] == use]) for use in ConnectionUse if np.any(rows["use"] == use)}


def load_seconds(records: LoadRecords, origin_ns: int = 0) -> tuple[LoadSecond, ...]:
    """Return every second from the first request to the last, also those without requests; second 0 begins at `origin_ns`."""
    rows = records.rows
    if not rows.size:
        return ()
    began = (rows["began"] - origin_ns) // SECOND
    due, due_uses = _missed(records.spec.interval_ns, rows)
    missed = (due - origin_ns) // SECOND
    both = np.concatenate([began, missed])
    seconds = range(int(both.min()), int(both.max()) + 1)
    uses = [use for use in ConnectionUse if np.any(rows["use"] == use)]
    found = []
    for second in seconds:
        # Both are in order of time: a second is a slice.
        here = rows[slice(*np.searchsorted(began, (second, second + 1)))]
        missed_here = due_uses[slice(*np.searchsorted(missed, (second, second + 1)))]
        found.append(
            LoadSecond(
                second=second,
                totals=tally(here, int(missed_here.size)),
                uses={use.label: tally(here[here["use"] == use], int(np.count_nonzero(missed_here == use))) for use in uses},
            )
        )
    return tuple(found)


def _missed(interval_ns: Nanoseconds, rows: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return when the missed requests were due, in order, and how their users connect."""
    late = rows[rows["missed"] > 0]
    counts = late["missed"].astype(np.int64)
    # 1, 2, ..., count for each row: how many intervals before `due`.
    ends = np.cumsum(counts)
    back = np.arange(1, counts.sum() + 1) - np.repeat(ends - counts, counts)
    due = np.repeat(late["due"], counts) - back * interval_ns
    order = np.argsort(due, kind="stable")
    return due[order], np.repeat(late["use"], counts)[order]


def _latencies_ms(times_ns: npt.NDArray[np.int64]) -> list[float] | list[None]:
    if not times_ns.size:
        return [None] * len(_PERCENTS)
    return [time_ns / MILLISECOND for time_ns in np.percentile(times_ns, _PERCENTS, method="inverted_cdf").tolist()]

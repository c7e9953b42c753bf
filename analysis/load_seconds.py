"""The application load second by second, on the run clock. Pure.

A request belongs to the second in which it began, one that could not be made because its user still waited (`missed`) to the
second in which it was due. Percentiles are of the time from `began` to `ended` of answered requests, by nearest rank: each is
a time that was measured. Users wait for their answers, so the slower the answers, the fewer requests there are to be slow
(coordinated omission): read percentiles together with `missed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.load import ConnectionUse, LoadRecords, RequestOutcome
from hitless.records import Rows
from hitless.words import SECOND, Nanoseconds

_PERCENTS: Final = (50, 90, 99, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Times from asking to the whole answer, ns."""

    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a set of requests came to: requests = answered + failed + aborted."""

    requests: int
    answered: int
    failed: int
    aborted: int
    """Under way when the load ended."""
    missed: int
    """Not made: due while their user still waited for an answer."""
    opened: int
    """Requests for which a connection had to be opened, whether it was or not."""
    failures: Mapping[str, int]
    """Label of a RequestOutcome to the number of requests that failed so; only those that did."""
    latency: Latency | None
    """Of answered requests; None: none was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSecond:
    """One second of load."""

    second: int
    """From the origin; negative before it."""
    total: Tally
    uses: Mapping[ConnectionUse, Tally]
    """The same for each way of connecting that has users."""


def tally(rows: Rows, missed: int | None = None) -> Tally:
    """Count a set of requests.

    Args:
        rows: REQUEST_ROWs.
        missed: how many more were due; None: as the rows say.
    """
    outcomes = rows["outcome"]
    counts = {outcome: int(np.count_nonzero(outcomes == outcome)) for outcome in RequestOutcome}
    failures = {outcome.label: count for outcome, count in counts.items() if outcome.is_failure and count}
    answered = rows[outcomes == RequestOutcome.ANSWERED]
    return Tally(
        requests=int(rows.size),
        answered=counts[RequestOutcome.ANSWERED],
        failed=sum(failures.values()),
        aborted=counts[RequestOutcome.ABORTED],
        missed=int(rows["missed"].sum()) if missed is None else missed,
        opened=int(np.count_nonzero(rows["nth"] == 0)),
        failures=failures,
        latency=_latency(answered["ended"] - answered["began"]),
    )


def tally_uses(rows: Rows) -> dict[ConnectionUse, Tally]:
    """Count a set of requests by the way of connecting; ways without a request are left out."""
    return {use: tally(rows[rows["use"] == use]) for use in ConnectionUse if np.any(rows["use"] == use)}


def load_seconds(records: LoadRecords, origin_ns: int = 0) -> tuple[LoadSecond, ...]:
    """Return every second from the first request to the last, those without any, too.

    Args:
        records: of one run.
        origin_ns: where second 0 begins, on the run clock.
    """
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
                total=tally(here, int(missed_here.size)),
                uses={use: tally(here[here["use"] == use], int(np.count_nonzero(missed_here == use))) for use in uses},
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


def _latency(times_ns: npt.NDArray[np.int64]) -> Latency | None:
    if not times_ns.size:
        return None
    p50, p90, p99, most = np.percentile(times_ns, _PERCENTS, method="inverted_cdf").tolist()
    return Latency(p50_ns=int(p50), p90_ns=int(p90), p99_ns=int(p99), max_ns=int(most))

"""Estimates of an outage by other tools, from the probes that they lost, and their errors. Pure.

There are two estimates, if a tool's output allows them: by count (lost probes times the requested interval), and by the send
times of its own probes, half-way between the two neighbours at either end. A tool that lost nothing estimates 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.lab.injection import Truth
from hitless.words import JsonObject

MARGIN_NS: Final = 100_000_000
"""A loss so near an injected outage belongs to it; pauses between two are more than twice as long."""
MEAN_WANTED: Final = 1 / 3
"""Of the error in intervals, where only the phase is unknown: the difference of two uniform phases. Source: the triangular
distribution's mean absolute deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentProbes:
    """A tool's own probes, in order of sending; at least one."""

    sent_ns: npt.NDArray[np.int64]
    """On the clock of the truths it is compared with."""
    is_lost: npt.NDArray[np.bool_]

    @property
    def rate_hz(self) -> float:
        """Probes a second that it really sent."""
        span_ns = int(self.sent_ns[-1] - self.sent_ns[0])
        return (self.sent_ns.size - 1) * 1e9 / span_ns if span_ns else 0.0


def lost_beside(probes: SentProbes, truth: Truth) -> npt.NDArray[np.intp]:
    """Return the places of the lost probes that belong to an outage."""
    first = np.searchsorted(probes.sent_ns, truth.dropped_after_ns - MARGIN_NS)
    last = np.searchsorted(probes.sent_ns, truth.restored_before_ns + MARGIN_NS)
    return np.asarray(first + np.flatnonzero(probes.is_lost[first:last]), dtype=np.intp)


def by_count_ns(probes: SentProbes, truth: Truth, interval_ns: float) -> float:
    """Return lost probes times the interval that was asked for."""
    return lost_beside(probes, truth).size * interval_ns


def by_times_ns(probes: SentProbes, truth: Truth) -> float:
    """Return the time from half-way before the first lost probe to half-way behind the last."""
    lost, sent = lost_beside(probes, truth), probes.sent_ns
    if not lost.size:
        return 0.0
    first, last = int(lost[0]), int(lost[-1])
    before, after = max(0, first - 1), min(sent.size - 1, last + 1)
    return float(sent[after] + sent[last] - sent[first] - sent[before]) / 2


def describe_errors(errors_ns: Sequence[float], interval_ns: float) -> JsonObject:
    """Return mean, standard error, largest and bias in intervals; of an empty sequence only the count."""
    errors = [error / interval_ns for error in errors_ns]
    if not errors:
        return {"outages": 0}
    sizes = [abs(error) for error in errors]
    spread = statistics.stdev(sizes) / math.sqrt(len(sizes)) if len(sizes) > 1 else math.inf
    return {
        "outages": len(sizes),
        "mean": round(statistics.fmean(sizes), 4),
        "standard_error": round(spread, 4) if math.isfinite(spread) else None,
        "largest": round(max(sizes), 4),
        "above_one": sum(size > 1 for size in sizes),
        "bias": round(statistics.fmean(errors), 4),
    }


def is_mean_reached(found: JsonObject) -> bool:
    """Return whether the mean error is a third of an interval within two standard errors."""
    return found.get("standard_error") is not None and abs(found["mean"] - MEAN_WANTED) <= 2 * found["standard_error"]

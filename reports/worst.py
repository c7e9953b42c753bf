"""The flows that were down longest, as rows of strings. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.measure import FlowMeasure
from reports.causes import worst_causes
from reports.extracts import WorstFlow
from reports.quantities import duration_of, ms, say_count, say_duration, say_ms


def worst_rows(worst: Sequence[WorstFlow], accuracy_ms: float) -> list[tuple[str, ...]]:
    """Return a row a flow: run, flow, lost by direction, outages, downtime, the same by count, convergence time, cause."""
    return [
        (
            f"{one.run.history.header.arm} {one.run.history.header.trial}",
            one.flow.label,
            _say_lost(one.measure),
            say_count(len(one.measure.outages)),
            say_duration(duration_of(one.measure.downtime), accuracy_ms),
            say_ms(ms(one.measure.downtime_plbm_ns), accuracy_ms),
            say_ms(ms(one.measure.convergence_ns), accuracy_ms),
            cause,
        )
        for one, cause in zip(worst, worst_causes(worst), strict=True)
    ]


def _say_lost(found: FlowMeasure) -> str:
    return f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})"

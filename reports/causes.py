"""The causes of outages in words: a table by arm, and the flows that were down longest, each with its causes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reports.cause_summary import CauseSummary, causes_of_flow
from reports.extracts import WorstFlow
from reports.quantities import NONE, duration_of, ms, say_count, say_duration, say_ms

_SUBJECTS_SHOWN: Final = 2
_SHARE_SHOWN: Final = 0.05
"""Smaller parts of a flow's downtime are not spelled."""


def cause_rows(arm: str, found: Sequence[CauseSummary]) -> Iterator[tuple[str, ...]]:
    """Yield a row of strings a cause: arm, cause, outages, flows, share of the downtime, least score, what was broken."""
    for one in found:
        yield (
            arm,
            one.cause,
            say_count(one.outages),
            say_count(one.flows),
            f"{one.downtime_share:.1%}",
            NONE if one.score_min is None else f"{one.score_min:.2f}",
            _say_subjects(one.subjects, one.subjects_more),
        )


def example_rows(arm: str, found: Sequence[CauseSummary]) -> Iterator[tuple[str, ...]]:
    """Yield a row of strings a cause: arm, cause, the flow that shows it best, the evidence."""
    for one in found:
        yield arm, one.cause, f"trial {one.example.trial}: {one.example.flow}", "; ".join(one.example.evidence)


def worst_rows(worst: Sequence[WorstFlow], accuracy_ms: float) -> Iterator[tuple[str, ...]]:
    """Yield one row per flow: run, flow, lost by direction, outages, downtime, the same by count, convergence time, cause."""
    for one in worst:
        header, found = one.run.history.header, one.measure
        yield (
            f"{header.arm} {header.trial}",
            one.flow.label,
            f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})",
            say_count(len(found.outages)),
            say_duration(duration_of(found.downtime), accuracy_ms),
            say_ms(ms(found.downtime_plbm_ns), accuracy_ms),
            say_ms(ms(found.convergence_ns), accuracy_ms),
            _say_causes(one),
        )


def _say_causes(one: WorstFlow) -> str:
    """Return the causes of a flow's downtime with their shares."""
    causes = causes_of_flow(one.run.evidence.causes, one.flow)
    shown = [(name, share) for name, share in causes if share >= _SHARE_SHOWN] or causes[:1]
    return ", ".join(name if len(shown) == 1 else f"{name} {share:.0%}" for name, share in shown) or NONE


def _say_subjects(subjects: Mapping[str, int], others: int) -> str:
    if not subjects:
        return NONE
    shown = [f"{subject} ({count})" for subject, count in list(subjects.items())[:_SUBJECTS_SHOWN]]
    more = len(subjects) - len(shown) + others
    return ", ".join(shown) + (f", {more} more" if more > 0 else "")

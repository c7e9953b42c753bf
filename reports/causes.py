"""The causes of outages in words: a table by arm, and the causes of single flows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reports.cause_summary import CauseSummary, causes_of_flow
from reports.extracts import WorstFlow
from reports.quantities import NONE, say_count

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


def worst_causes(worst: Sequence[WorstFlow]) -> list[str]:
    """Return the causes of each flow's downtime with their shares."""
    texts = []
    for one in worst:
        causes = causes_of_flow(one.run.evidence.causes, one.flow)
        shown = [(name, share) for name, share in causes if share >= _SHARE_SHOWN] or causes[:1]
        texts.append(", ".join(name if len(shown) == 1 else f"{name} {share:.0%}" for name, share in shown) or NONE)
    return texts


def _say_subjects(subjects: Mapping[str, int], others: int) -> str:
    if not subjects:
        return NONE
    shown = [f"{subject} ({count})" for subject, count in list(subjects.items())[:_SUBJECTS_SHOWN]]
    more = len(subjects) - len(shown) + others
    return ", ".join(shown) + (f", {more} more" if more > 0 else "")

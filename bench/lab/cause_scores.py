"""Precision and recall of the attribution, from experiments whose truth is known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.causes.candidates import CauseKind
from bench.lab.cause_experiment import Answer, CauseExperiment


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseScore:
    """How well one cause is told; counts are of outages, and those of one injection are not independent."""

    kind: CauseKind | None
    """None: all together."""
    injections: int
    outages: int
    """Outages of this cause."""
    said: int
    """Outages that it was said to be the likeliest cause of."""
    right: int
    """Of both."""
    named: int
    """Of the right ones, those where what was broken was named, and nothing else."""

    @property
    def precision(self) -> float | None:
        """Share of what is said that is true; None: it was never said."""
        return self.right / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        """Share of what is true that is said; None: there was none."""
        return self.right / self.outages if self.outages else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Outages of one true cause that were said to have another, or the same."""

    truth: CauseKind | None
    """None: nothing was broken at the time."""
    said: CauseKind
    outages: int


def score_causes(experiments: Sequence[CauseExperiment]) -> tuple[CauseScore, ...]:
    """Return the scores of every cause that was injected or said, in the order of a report, and last of all together."""
    answers = [answer for experiment in experiments for answer in experiment.answers]
    injected = Counter(injection.kind for experiment in experiments for injection in experiment.injections)
    kinds = [kind for kind in CauseKind if kind in injected or any(answer.said.cause.kind is kind for answer in answers)]
    return (*(_score(kind, answers, injected[kind]) for kind in kinds), _score(None, answers, injected.total()))


def count_confusions(experiments: Iterable[CauseExperiment]) -> tuple[Confusion, ...]:
    """Return the confusions of causes, most frequent first."""
    pairs = Counter(
        (None if answer.truth is None else answer.truth.kind, answer.said.cause.kind)
        for experiment in experiments
        for answer in experiment.answers
    )
    return tuple(Confusion(truth=truth, said=said, outages=count) for (truth, said), count in pairs.most_common())


def _score(kind: CauseKind | None, answers: Sequence[Answer], injections: int) -> CauseScore:
    true = [answer for answer in answers if answer.truth is not None and kind in (None, answer.truth.kind)]
    said = [answer for answer in answers if kind in (None, answer.said.cause.kind)]
    return CauseScore(
        kind=kind,
        injections=injections,
        outages=len(true),
        said=len(said),
        right=sum(answer.is_right for answer in true),
        named=sum(answer.is_subject_right for answer in true),
    )

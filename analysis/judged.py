"""A run with its judgement: what the commands hand to the reports."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.evidence import Evidence
from analysis.measure import Measures
from hitless.history import History
from hitless.verdicts import CheckResult
from hitless.words import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """One run, measured and judged. All of it follows from the history."""

    evidence: Evidence
    """The run, and what the checks had measured of it: reports go on with it."""
    results: tuple[CheckResult, ...]
    """Of every check that ran, in the order in which they ran."""
    verdict: Verdict
    """What `hitless.verdicts.judge` makes of the results."""

    @property
    def history(self) -> History:
        """The run's history."""
        return self.evidence.history

    @property
    def measures(self) -> Measures:
        """All numbers of every flow, control flows included."""
        return self.evidence.measures

    @property
    def is_valid(self) -> bool:
        """Whether every validity check passed: only then do the other results mean anything."""
        validity = tuple(result for result in self.results if result.is_validity)
        return bool(validity) and all(result.verdict is Verdict.PASS for result in validity)

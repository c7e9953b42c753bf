"""A judged run: the commands pass it to the reports."""

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
    """The run and everything that the checks measured of it."""
    results: tuple[CheckResult, ...]
    """Of every check that ran, in the order in which they ran."""
    verdict: Verdict
    """By `hitless.verdicts.judge` over the results."""

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
        """Whether every validity check passed; otherwise the other results mean nothing."""
        validity = tuple(result for result in self.results if result.is_validity)
        return bool(validity) and all(result.verdict is Verdict.PASS for result in validity)

"""Findings, and how verdicts merge.

Validity comes first: where a validity check does not pass, the run is INCONCLUSIVE whatever else was found. Then
FAIL > INCONCLUSIVE > PASS; an empty merge is INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from hitless.words import FlowId, Nanoseconds, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One piece of evidence of a check."""

    verdict: Verdict
    """PASS for information that fails nothing."""
    code: str
    """Short and stable, kebab-case, such as `flow-lost-probes`: what a script may look for."""
    text: str
    """One sentence for a person, with the numbers and their units."""
    flow: FlowId | None = None
    """The flow that it is about, if one."""
    t_ns: Nanoseconds | None = None
    """When, on the run clock, if at one time."""


def _find(verdict: Verdict, code: str, text: str, *, flow: FlowId | None = None, t_ns: int | None = None) -> Finding:
    return Finding(verdict=verdict, code=code, text=text, flow=flow, t_ns=None if t_ns is None else Nanoseconds(t_ns))


note = partial(_find, Verdict.PASS)
"""Return a finding that fails nothing."""
doubt = partial(_find, Verdict.INCONCLUSIVE)
"""Return a finding that leaves the verdict open."""
failure = partial(_find, Verdict.FAIL)
"""Return a finding that fails the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The answer of one check to one history."""

    check: str
    """Name of the check."""
    is_validity: bool
    """Whether the check asks about the instrument rather than about the product."""
    verdict: Verdict
    findings: tuple[Finding, ...]


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Merge: FAIL > INCONCLUSIVE > PASS; nothing merges to INCONCLUSIVE."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in found:
            return verdict
    return Verdict.INCONCLUSIVE


def judge(results: Iterable[CheckResult]) -> Verdict:
    """Return the verdict of a run from the results of its checks, validity first."""
    answers = tuple(results)
    if any(answer.is_validity and answer.verdict is not Verdict.PASS for answer in answers):
        return Verdict.INCONCLUSIVE
    return merge(answer.verdict for answer in answers)

"""The catalogue of checks, and running those that a scenario names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from analysis.evidence import Evidence
from checks import books, connections, continuity, convergence, coverage, hygiene, instrument, ordering, sources
from checks.check import Check
from hitless.errors import UsageError
from hitless.verdicts import CheckResult, doubt, merge
from hitless.words import JsonObject, Verdict

CATALOGUE: Final[Mapping[str, Check]] = {
    check.name: check
    for check in (
        *(module.check for module in (coverage, instrument, continuity, connections)),
        connections.check_services,
        *(module.check for module in (ordering, convergence, books, sources, hygiene)),
    )
}
"""Name to check; a new one is added here and nowhere else. Validity comes first."""


def read_checks(named: Mapping[str, JsonObject], where: str, place: str = "checks") -> None:
    """Refuse unknown checks and budgets before anything runs; `where` and `place` are their file and their place in it.

    Raises UsageError: an unknown check, an unknown budget, or a budget that is no number.
    """
    for name, budgets in named.items():
        if name not in CATALOGUE:
            raise UsageError(where=where, place=place, found=name, expected=", ".join(CATALOGUE))
        try:
            CATALOGUE[name].read_budgets(budgets)
        except UsageError as error:
            at = ".".join((place, name, *((error.place,) if error.place else ())))
            raise error.at(where, at) from error


def run_checks(evidence: Evidence) -> tuple[CheckResult, ...]:
    """Run the checks that the history's header names, and always those of validity.

    Raises UsageError: the header names an unknown check or budget.
    """
    header = evidence.history.header
    read_checks(header.checks, f"scenario {header.scenario}")
    return tuple(
        _run_check(check, evidence, header.checks.get(name, {}))
        for name, check in CATALOGUE.items()
        if check.is_validity or name in header.checks
    )


def _run_check(check: Check, evidence: Evidence, budgets: JsonObject) -> CheckResult:
    try:
        findings = tuple(check(evidence, budgets))
    except Exception as error:  # noqa: BLE001 - no error in a check may become a verdict about the product
        text = f"the check {check.name} crashed: {type(error).__name__}: {error}"
        findings = (doubt("check-crashed", text),)
    verdict = merge(finding.verdict for finding in findings) if findings else Verdict.PASS
    return CheckResult(check=check.name, is_validity=check.is_validity, verdict=verdict, findings=findings)

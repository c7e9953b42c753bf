"""The catalogue of checks, and running those that a scenario names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from analysis.evidence import Evidence
from checks import books, connections, continuity, convergence, coverage, hygiene, instrument, ordering, services, sources
from checks.budgets import read_budgets
from hitless.errors import UsageError
from hitless.verdicts import CheckResult, Finding, merge
from hitless.words import JsonObject, Verdict


class CheckModule(Protocol):
    """A check: every module of one has these attributes."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """Name of the check, as scenarios spell it."""
        ...

    @property
    def IS_VALIDITY(self) -> bool:  # noqa: N802 - a constant of the module
        """Whether it asks about the instrument."""
        ...

    @property
    def BUDGETS(self) -> Mapping[str, float | None]:  # noqa: N802 - a constant of the module
        """Every budget that it knows, with its default; None: no limit."""
        ...

    def check(self, evidence: Evidence, budgets: JsonObject) -> Iterable[Finding]:
        """Judge a run."""
        ...


CATALOGUE: Final[Mapping[str, CheckModule]] = {
    module.NAME: module
    for module in (coverage, instrument, continuity, connections, services, ordering, convergence, books, sources, hygiene)
}
"""Name to module; a new check is added here and nowhere else. Validity comes first."""


def read_checks(named: Mapping[str, JsonObject], where: str, place: str = "checks") -> None:
    """Refuse unknown checks and budgets before anything runs.

    Args:
        named: check name to its budgets, as in a scenario.
        where: their file, for messages.
        place: their place in it, for messages.

    Raises:
        UsageError: an unknown check, an unknown budget, or a budget that is no number.
    """
    for name, budgets in named.items():
        if name not in CATALOGUE:
            raise UsageError(where=where, place=place, found=name, expected=", ".join(CATALOGUE))
        try:
            read_budgets(name, budgets, CATALOGUE[name].BUDGETS)
        except UsageError as error:
            at = ".".join((place, name, *((error.place,) if error.place else ())))
            raise error.at(where, at) from error


def run_checks(evidence: Evidence) -> tuple[CheckResult, ...]:
    """Run the checks that the history's header names, and always those of validity.

    Raises:
        UsageError: the header names an unknown check or budget.
    """
    header = evidence.history.header
    read_checks(header.checks, f"scenario {header.scenario}")
    return tuple(
        _run_check(module, evidence, header.checks.get(name, {}))
        for name, module in CATALOGUE.items()
        if module.IS_VALIDITY or name in header.checks
    )


def _run_check(module: CheckModule, evidence: Evidence, budgets: JsonObject) -> CheckResult:
    try:
        findings = tuple(module.check(evidence, budgets))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a judge must not become a verdict about the product
        text = f"the check {module.NAME} crashed: {type(error).__name__}: {error}"
        findings = (Finding(verdict=Verdict.INCONCLUSIVE, code="check-crashed", text=text),)
    verdict = merge(finding.verdict for finding in findings) if findings else Verdict.PASS
    return CheckResult(check=module.NAME, is_validity=module.IS_VALIDITY, verdict=verdict, findings=findings)

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import checks
from analysis.evidence import Evidence
from checks import catalogue
from checks.catalogue import CATALOGUE, read_checks, run_checks
from checks.check import Limits, make_check
from hitless.errors import UsageError
from hitless.verdicts import Finding, failure, judge
from hitless.words import JsonObject, Verdict
from tests.unit.histories import header, history

_ALL = {
    "continuity": {"downtime_ms": 0},
    "connections": {},
    "services": {},
    "ordering": {},
    "convergence": {"rolls": 1},
    "books": {},
    "hygiene": {},
}


@make_check("books")
def crashing(evidence: Evidence, limits: Limits) -> Iterator[Finding]:
    yield failure("half-done", "")
    raise ZeroDivisionError(f"{evidence.history.header.trial} {dict(limits)}")


def test_a_good_run_passes_every_check() -> None:
    results = run_checks(Evidence(history(header=header(checks=_ALL))))
    assert [(result.check, result.verdict) for result in results] == [
        ("coverage", Verdict.PASS),
        ("instrument", Verdict.PASS),
        ("continuity", Verdict.PASS),
        ("connections", Verdict.PASS),
        ("services", Verdict.PASS),
        ("ordering", Verdict.PASS),
        ("convergence", Verdict.PASS),
        ("books", Verdict.PASS),
        ("hygiene", Verdict.PASS),
    ]
    assert judge(results) is Verdict.PASS


def test_validity_is_asked_whether_it_is_named_or_not() -> None:
    results = run_checks(Evidence(history(header=header(checks={}))))
    assert [(result.check, result.is_validity) for result in results] == [("coverage", True), ("instrument", True)]


def test_budgets_reach_the_check() -> None:
    run = history(header=header(checks={"convergence": {"convergence_ms": 1}}))
    assert [result.verdict for result in run_checks(Evidence(run))] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]


def test_a_check_that_raises_is_inconclusive_despite_its_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, "books": crashing})
    result = run_checks(Evidence(history(header=header(checks={"books": {}}))))[-1]
    assert (result.verdict, [finding.code for finding in result.findings]) == (Verdict.INCONCLUSIVE, ["check-crashed"])
    assert result.findings[0].text == "the check books crashed: ZeroDivisionError: 1 {}"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"continuty": {}}, "my.yaml: checks: found continuty; expected coverage, instrument"),
        ({"ordering": {"downtime_ms": 0}}, "my.yaml: checks.ordering: found downtime_ms; expected no budget"),
        ({"books": {"lost_unexplained": "all"}}, "my.yaml: checks.books.lost_unexplained: found 'all'; expected a number"),
    ],
)
def test_what_a_scenario_may_not_name(named: dict[str, JsonObject], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_checks(named, "my.yaml")
    assert str(caught.value).startswith(message)


def test_an_unknown_check_in_a_header_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="scenario plain-switch: checks: found magic"):
        run_checks(Evidence(history(header=header(checks={"magic": {}}))))


def test_every_check_is_in_the_catalogue() -> None:
    texts = (path.read_text("utf-8") for path in Path(checks.__path__[0]).glob("*.py"))
    assert {name for text in texts for name in re.findall(r'\n@make_check\(\s*"([a-z]+)"', text)} == set(CATALOGUE)

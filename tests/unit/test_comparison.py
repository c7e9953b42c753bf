"""The truth table of the comparison's own rule."""

from dataclasses import replace

import pytest

from analysis.comparison import compare_verdict
from analysis.evidence import Evidence, JudgedRun
from hitless.history import History
from hitless.verdicts import CheckResult, Finding, judge
from hitless.words import Arm, FlowId, FlowRole, FlowSet, Verdict
from tests.unit.histories import QUIET, header, history, lost, records

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
UNGATED, GATED = Arm.UNGATED, Arm.GATED


def _result(check: str, verdict: Verdict, code: str) -> CheckResult:
    findings = (Finding(verdict=verdict, code=code, text="hand-written"),)
    return CheckResult(check=check, is_validity=check == "coverage", verdict=verdict, findings=findings)


def _run(arm: Arm, pattern: str = QUIET, *, valid: Verdict = PASS, product: Verdict | None = None, trial: int = 1) -> JudgedRun:
    run: History = history(header=header(arm=arm, trial=trial), records=records({1: pattern, 2: QUIET}))
    said = product if product is not None else (FAIL if "X" in pattern else PASS)
    results = (_result("coverage", valid, "probing-gap"), _result("continuity", said, "flow-lost-probes"))
    return JudgedRun(evidence=Evidence(run), results=results, verdict=judge(results))


HIT = lost(20, 10)
"""45 to 55 ms: more than three intervals of 5 ms."""


@pytest.mark.parametrize(
    ("runs", "verdict", "codes"),
    [
        ([_run(UNGATED, HIT), _run(GATED)], PASS, ["hitless"]),
        ([_run(UNGATED, HIT), _run(GATED, lost(30, 1))], FAIL, ["gated-lost"]),
        # Validity comes first, in either arm, whatever else was found.
        ([_run(UNGATED, HIT, valid=INCONCLUSIVE), _run(GATED, lost(30, 1))], INCONCLUSIVE, ["run-invalid"]),
        ([_run(UNGATED, HIT), _run(GATED, lost(30, 1), valid=INCONCLUSIVE)], INCONCLUSIVE, ["run-invalid"]),
        # A gated run may fail without losing: a late route that no probe fell into.
        ([_run(UNGATED, HIT), _run(GATED, product=FAIL)], FAIL, ["gated-failed"]),
        ([_run(UNGATED, HIT), _run(GATED, product=INCONCLUSIVE)], INCONCLUSIVE, ["gated-inconclusive"]),
        # The negative control.
        ([_run(UNGATED), _run(GATED)], INCONCLUSIVE, ["ungated-lost-nothing"]),
        ([_run(UNGATED, lost(20, 3)), _run(GATED)], INCONCLUSIVE, ["ungated-outage-short"]),
        ([_run(UNGATED, lost(20, 4)), _run(GATED)], INCONCLUSIVE, ["ungated-outage-short"]),
        ([_run(UNGATED, lost(20, 5)), _run(GATED)], PASS, ["hitless"]),
        ([_run(UNGATED, lost(40, 18)), _run(GATED)], PASS, ["hitless"]),  # censored: at least 84.9 ms
        # In every trial.
        (
            [_run(UNGATED, HIT), _run(GATED), _run(UNGATED, trial=2), _run(GATED, trial=2)],
            INCONCLUSIVE,
            ["ungated-lost-nothing"],
        ),
        # A loss of the gated arm needs no proof that it could have been seen.
        ([_run(UNGATED), _run(GATED, lost(30, 1))], FAIL, ["gated-lost"]),
        ([_run(GATED, lost(30, 1))], FAIL, ["gated-lost"]),
        # Missing arms.
        ([_run(GATED)], INCONCLUSIVE, ["arm-missing"]),
        ([_run(UNGATED, HIT)], INCONCLUSIVE, ["arm-missing"]),
        ([], INCONCLUSIVE, ["arm-missing", "arm-missing"]),
    ],
)
def test_truth_table(runs: list[JudgedRun], verdict: Verdict, codes: list[str]) -> None:
    decision = compare_verdict(runs)
    assert (decision.verdict, [finding.code for finding in decision.findings]) == (verdict, codes)


def test_the_findings_name_the_trial_and_the_numbers() -> None:
    (lost_by_gate,) = compare_verdict([_run(UNGATED, HIT), _run(GATED, lost(30, 1), trial=2)]).findings
    assert lost_by_gate.text == "GATED trial 2 lost 1 probe"
    (invalid,) = compare_verdict([_run(UNGATED, HIT, valid=INCONCLUSIVE)]).findings
    assert invalid.text == "UNGATED trial 1 is not valid (probing-gap): the measurement cannot be trusted"
    (short,) = compare_verdict([_run(UNGATED, lost(20, 2)), _run(GATED)]).findings
    assert short.text.startswith("UNGATED trial 1 showed no outage of at least 15 ms for certain, the longest 4.9 ms")
    (good,) = compare_verdict([_run(UNGATED, HIT), _run(GATED)]).findings
    assert good.text == "GATED lost nothing in 1 trial; UNGATED lost 10 probes per trial, so loss would have been seen"


def test_a_run_without_any_validity_check_is_not_valid() -> None:
    run = _run(GATED)
    naked = JudgedRun(evidence=run.evidence, results=run.results[1:], verdict=PASS)
    decision = compare_verdict([naked])
    verdict, (finding,) = decision.verdict, decision.findings
    assert (verdict, finding.text) == (
        INCONCLUSIVE,
        "GATED trial 1 is not valid (no validity check ran): the measurement cannot be trusted",
    )


def test_an_outage_before_the_request_proves_nothing() -> None:
    # The request is made at 50 ms; the outage is over by 45 ms, and a single probe is lost later.
    early = _run(UNGATED, "." * 2 + "X" * 4 + "." * 20 + "X" + "." * 31)
    decision = compare_verdict([early, _run(GATED)])
    verdict, (finding,) = decision.verdict, decision.findings
    assert (verdict, finding.code) == (INCONCLUSIVE, "ungated-outage-short")


def test_an_unexplained_loss_proves_nothing() -> None:
    run = _run(UNGATED, HIT)
    doubtful = replace(run, results=(*run.results, _result("books", INCONCLUSIVE, "loss-unexplained")))
    decision = compare_verdict([doubtful, _run(GATED)])
    verdict, (finding,) = decision.verdict, decision.findings
    assert (verdict, finding.code) == (INCONCLUSIVE, "ungated-unexplained")


def test_a_class_of_flows_that_lost_nothing_ungated_either_is_named() -> None:
    def with_icmp(arm: Arm, pattern: str) -> JudgedRun:
        run = _run(arm, pattern)
        icmp = replace(run.history.flows[0], id=FlowId(3), role=FlowRole.POD, flow_set=FlowSet.ICMP)
        rows = records({1: pattern, 2: QUIET, 3: QUIET})
        grown = replace(run.history, flows=(*run.history.flows, icmp), records=rows)
        return replace(run, evidence=Evidence(grown))

    decision = compare_verdict([with_icmp(UNGATED, HIT), with_icmp(GATED, QUIET)])
    verdict, (good, unproven) = decision.verdict, decision.findings
    assert (verdict, good.code, unproven.code) == (PASS, "hitless", "family-not-proven")
    assert unproven.text == "icmp lost nothing in UNGATED either: a clean GATED proves nothing for them"


def _lossy(arm: Arm, pattern: str, product: Verdict = PASS) -> JudgedRun:
    """A run whose links lose 2 % of the probes of themselves: an outage of up to 2 probes may be theirs."""
    checks = {"continuity": {"background_loss_ratio": 0.02}}
    run: History = history(header=header(arm=arm, checks=checks), records=records({1: pattern, 2: QUIET}))
    results = (_result("coverage", PASS, "probing-gap"), _result("continuity", product, "background-loss"))
    return JudgedRun(evidence=Evidence(run), results=results, verdict=judge(results))


@pytest.mark.parametrize(
    ("runs", "code"),
    [
        ([_lossy(UNGATED, HIT, FAIL), _lossy(GATED, lost(30, 2))], "hitless"),
        ([_lossy(UNGATED, HIT, FAIL), _lossy(GATED, lost(30, 3))], "gated-lost"),
        ([_lossy(UNGATED, lost(30, 2)), _lossy(GATED, lost(30, 2))], "ungated-lost-nothing"),
    ],
)
def test_what_the_links_may_have_lost_decides_nothing(runs: list[JudgedRun], code: str) -> None:
    (finding,) = compare_verdict(runs).findings
    assert finding.code == code
    assert code != "hitless" or finding.text.startswith("GATED lost nothing beyond the links' own loss in 1 trial; UNGATED")

"""Verdicts have no truth value, and merge by rank with validity first."""

import pytest

from hitless.verdicts import CheckResult, judge, merge
from hitless.words import Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), INCONCLUSIVE),
        ((PASS,), PASS),
        ((PASS, INCONCLUSIVE), INCONCLUSIVE),
        ((PASS, INCONCLUSIVE, FAIL), FAIL),
        ((FAIL, PASS), FAIL),
    ],
)
def test_merge(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    assert merge(verdicts) is expected


def make_result(verdict: Verdict, *, is_validity: bool = False) -> CheckResult:
    return CheckResult(check="x", is_validity=is_validity, verdict=verdict, findings=())


@pytest.mark.parametrize(
    ("validity", "others", "expected"),
    [
        (PASS, (PASS, PASS), PASS),
        (PASS, (PASS, FAIL), FAIL),
        (INCONCLUSIVE, (FAIL,), INCONCLUSIVE),
        (INCONCLUSIVE, (PASS,), INCONCLUSIVE),
        (FAIL, (FAIL,), INCONCLUSIVE),
        (PASS, (INCONCLUSIVE, PASS), INCONCLUSIVE),
    ],
)
def test_validity_comes_first(validity: Verdict, others: tuple[Verdict, ...], expected: Verdict) -> None:
    results = [make_result(validity, is_validity=True), *map(make_result, others)]
    assert judge(results) is expected


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_has_no_truth_value(verdict: Verdict) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(verdict)

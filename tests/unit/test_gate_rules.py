"""The rules of the release gate: the file, and every absolute rule, asked of summaries written by hand."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hitless.documents import parse_document
from hitless.errors import UsageError
from hitless.words import Arm
from reports.gate.absolute import find_absolute
from reports.gate.rules import Allowance, Figure, Primary, RuleName, Rules, State, read_rules
from reports.gate.sides import Side
from scenarios.loading import find_scenario, load_scenario
from scenarios.parts import ArmPlan
from tests.unit.summaries import arm, changed, finding, gated, side, summary, trial, ungated

TODAY = date(2026, 12, 1)
DOCUMENT = Path(__file__).parents[2] / "docs" / "gate.md"
ALLOWANCE = {
    "rule": "gated-downtime",
    "scenario": "plain-switch",
    "owner": "network team",
    "reason": "known kernel bug",
    "expires": "2027-01-31",
}


def plans(*names: str) -> dict[str, dict[Arm, ArmPlan]]:
    return {name: load_scenario(find_scenario(name)).arm_plans for name in names}


def states(candidate: Side, rules: Rules | None = None, *names: str) -> dict[tuple[str, str], State]:
    """The worst state of each rule and scenario."""
    found: dict[tuple[str, str], State] = {}
    for one in find_absolute(candidate, side(summary(), name="BASELINE"), plans("plain-switch", *names), rules or Rules()):
        key = (one.rule.value, one.scenario)
        if found.get(key, State.HOLDS) is State.HOLDS:
            found[key] = one.state
        assert one.evidence, "every finding names its evidence"
        assert (one.next_step == "") == (one.state is State.HOLDS), "a rule that does not hold says what to do"
    return found


def state(rule: RuleName, document: dict[str, Any], scenario: str = "plain-switch") -> State:
    return states(side(document), Rules(required=(scenario,)), scenario)[rule, scenario]


def text_of(rule: RuleName, document: dict[str, Any]) -> str:
    """What the candidate's findings of a rule say, against a good baseline of three trials."""
    baseline = side(summary(UNGATED=ungated(3), GATED=gated((80.0, 82.0, 84.0))), name="BASELINE")
    found = find_absolute(side(document), baseline, plans("plain-switch"), Rules())
    return "; ".join(one.text for one in found if one.rule is rule)


def test_a_good_version_holds_every_rule() -> None:
    assert states(side(summary())) == {
        (rule, "plain-switch"): State.HOLDS
        for rule in (
            "scenario-present",
            "expected-verdict",
            "gated-downtime",
            "ungated-sensitivity",
            "controls-silent",
            "books-balanced",
        )
    }


def test_one_probe_that_gated_lost_breaks_the_rule() -> None:
    lossy = arm([trial(1, "PASS", hold_ms=80), trial(2, "PASS", lost=1, hold_ms=80)])
    assert state(RuleName.GATED_DOWNTIME, summary(UNGATED=ungated(2), GATED=lossy)) is State.BROKEN


def test_a_loss_of_another_class_of_flows_than_the_mesh_breaks_the_rule() -> None:
    document = changed(summary(), "arms.GATED.classes.udp.lost", 1)
    assert state(RuleName.GATED_DOWNTIME, document) is State.BROKEN


@pytest.mark.parametrize("path", ["arms.GATED.totals.blind_ms_max", "arms.GATED.totals.offered"])
def test_silence_of_flows_that_were_not_answered_is_not_known(path: str) -> None:
    value = 0 if path.endswith("offered") else None
    assert state(RuleName.GATED_DOWNTIME, changed(summary(), path, value)) is State.NOT_KNOWN


def test_a_zero_is_printed_with_its_upper_bound() -> None:
    text = text_of(RuleName.GATED_DOWNTIME, summary())
    assert "0 of 10,000 probes in 10 trials" in text
    assert "at most 25.9%" in text


def test_no_downtime_is_asked_of_a_gated_arm_that_is_expected_to_fail() -> None:
    lossy = arm([trial(1, "FAIL", lost=5)])
    found = states(side(summary("strict-filter", UNGATED=ungated(1), GATED=lossy)), Rules(required=()), "strict-filter")
    assert ("gated-downtime", "strict-filter") not in found
    assert found["expected-verdict", "strict-filter"] is State.HOLDS


@pytest.mark.parametrize(("verdict", "expected"), [("PASS", State.HOLDS), ("FAIL", State.BROKEN)])
def test_what_lossy_links_lose_of_themselves_is_no_downtime_as_long_as_the_verdicts_are_pass(
    verdict: str, expected: State
) -> None:
    lossy = arm([trial(1, "PASS", lost=5, hold_ms=80), trial(2, verdict, lost=5, hold_ms=80)])
    assert state(RuleName.GATED_DOWNTIME, summary("lossy-links", UNGATED=ungated(2), GATED=lossy), "lossy-links") is expected


@pytest.mark.parametrize(("verdict", "expected"), [("FAIL", State.BROKEN), ("INCONCLUSIVE", State.NOT_KNOWN)])
def test_another_verdict_than_the_expected_one(verdict: str, expected: State) -> None:
    document = changed(summary(), "arms.GATED.per_trial.3.verdict", verdict)
    assert state(RuleName.EXPECTED_VERDICT, document) is expected


def test_the_expected_verdict_for_another_reason_breaks_the_rule() -> None:
    document = summary()
    document["findings"] = [one for one in document["findings"] if (one["check"], one["trial"]) != ("ordering", 7)]
    document["findings"].append(finding("GATED", 7, "ordering"))
    assert state(RuleName.EXPECTED_VERDICT, document) is State.BROKEN
    assert "UNGATED: expected FAIL, but not because of ordering, as the scenario expects" in text_of(
        RuleName.EXPECTED_VERDICT, document
    )


@pytest.mark.parametrize(
    ("rule", "path", "value", "expected"),
    [
        (
            RuleName.EXPECTED_VERDICT,
            "arms.GATED.per_trial.3.verdict",
            "FAIL",
            "9 PASS, 1 FAIL of 10 trials; BASELINE: 3 PASS of 3",
        ),
        (RuleName.CONTROLS_SILENT, "arms.GATED.control.lost", 1, "lost 1 of 500 probes; BASELINE: lost 0 of 500 probes"),
        (RuleName.BOOKS_BALANCED, "arms.GATED.lost_unexplained", 1, "of GATED: 1 probe; BASELINE: 0 probes"),
        (
            RuleName.UNGATED_SENSITIVITY,
            "arms.UNGATED.per_trial.4.totals.outage_ms_max.shortest",
            20.0,
            "at least 60 ms for certain in 9 of 10 trials (the others for less: trial 5 for 20 ms); BASELINE: 3 of 3 trials",
        ),
    ],
)
def test_a_rule_that_does_not_hold_names_both_figures(rule: RuleName, path: str, value: object, expected: str) -> None:
    assert expected in text_of(rule, changed(summary(), path, value))


def test_a_loss_has_its_bounds_on_both_sides() -> None:
    lossy = arm([trial(1, "PASS", hold_ms=80), trial(2, "PASS", lost=1, hold_ms=80)])
    assert text_of(RuleName.GATED_DOWNTIME, summary(UNGATED=ungated(2), GATED=lossy)) == (
        "no loss is allowed; GATED lost 1 probe of udp in trial 2 of 2, longest downtime 120.0 ms ±20 (100.0 to 140.0); "
        "probability of a trial with loss: at most 97.5% (95%, Clopper-Pearson); BASELINE: lost 0 of 3,000 probes in 3 trials; "
        "probability of a trial with loss: at most 63.2% (95%, Clopper-Pearson)"
    )


def test_an_ungated_trial_without_a_certain_outage_proves_nothing() -> None:
    assert state(RuleName.UNGATED_SENSITIVITY, changed(summary(), "arms.UNGATED.per_trial.0.totals.lost", 0)) is State.NOT_KNOWN
    short = changed(summary(), "arms.UNGATED.per_trial.0.totals.outage_ms_max.shortest", 59.9)
    assert state(RuleName.UNGATED_SENSITIVITY, short) is State.NOT_KNOWN
    enough = changed(summary(), "arms.UNGATED.per_trial.0.totals.outage_ms_max.shortest", 60.0)
    assert state(RuleName.UNGATED_SENSITIVITY, enough) is State.HOLDS


@pytest.mark.parametrize("name", list(Arm))
def test_control_flows_of_both_arms_are_silent(name: Arm) -> None:
    assert state(RuleName.CONTROLS_SILENT, changed(summary(), f"arms.{name}.control.lost", 1)) is State.BROKEN
    assert state(RuleName.CONTROLS_SILENT, changed(summary(), f"arms.{name}.control.offered", 0)) is State.NOT_KNOWN


@pytest.mark.parametrize("name", list(Arm))
def test_books_that_do_not_balance_and_books_that_are_not_there(name: Arm) -> None:
    assert state(RuleName.BOOKS_BALANCED, changed(summary(), f"arms.{name}.lost_unexplained", 1)) is State.BROKEN
    assert state(RuleName.BOOKS_BALANCED, changed(summary(), f"arms.{name}.lost_unexplained", None)) is State.NOT_KNOWN


@pytest.mark.parametrize(
    ("verdict", "expected"), [("FAIL", State.HOLDS), ("PASS", State.BROKEN), ("INCONCLUSIVE", State.NOT_KNOWN)]
)
def test_a_broken_gate_must_not_pass(verdict: str, expected: State) -> None:
    mutant = summary("mutant-first-node", GATED=arm([trial(1, verdict)]))
    assert state(RuleName.MUTANT_CAUGHT, mutant, "mutant-first-node") is expected


def test_a_required_scenario_that_was_skipped_breaks_the_rule() -> None:
    found = states(side(summary()), Rules(required=("plain-switch", "slow-routes")), "slow-routes")
    assert found["scenario-present", "slow-routes"] is State.BROKEN


def test_a_required_scenario_needs_both_arms_and_another_one_is_then_not_known() -> None:
    half = side(summary(GATED=gated()))
    assert states(half)["scenario-present", "plain-switch"] is State.BROKEN
    assert states(half, Rules(required=()))["scenario-present", "plain-switch"] is State.NOT_KNOWN


def test_the_expectations_of_a_scenario_that_is_not_shipped_are_not_known() -> None:
    assert states(side(summary("my-switch")), Rules(required=()))["expected-verdict", "my-switch"] is State.NOT_KNOWN


def test_the_built_in_rules() -> None:
    assert read_rules({}, "rules.yaml", TODAY) == Rules()
    assert Rules().required == ("plain-switch",)
    expected = Primary(scenario="plain-switch", figure=Figure.GATE_HOLD_AFTER_ROUTES, effect_percent=20, effect_intervals=2)
    assert Rules().primary == expected


def test_a_rules_file_is_read() -> None:
    rules = read_rules({"primary": {"figure": "convergence", "effect_percent": 5}, "allowances": [ALLOWANCE]}, "r", TODAY)
    assert rules.primary == Primary(figure=Figure.CONVERGENCE, effect_percent=5)
    assert rules.allowances == (Allowance.model_validate(ALLOWANCE),)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"requird": []}, "requird"),
        ({"primary": {"percent": 3}}, "primary.percent"),
        ({"primary": {"effect_percent": 0}}, "primary.effect_percent"),
        ({"primary": {"figure": "speed"}}, "primary.figure"),
        ({"required": ["a", "a"]}, "a twice"),
        ({"allowances": [{**ALLOWANCE, "owner": " "}]}, "allowances.0.owner"),
        ({"allowances": [{key: ALLOWANCE[key] for key in ALLOWANCE if key != "reason"}]}, "allowances.0.reason: found nothing"),
        ({"allowances": [ALLOWANCE, ALLOWANCE]}, "gated-downtime of plain-switch twice"),
        ({"allowances": [{**ALLOWANCE, "expires": "2026-11-30"}]}, "2026-11-30, which has passed"),
    ],
)
def test_a_rules_file_with_a_mistake_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read_rules(document, "rules.yaml", TODAY)


def test_an_allowance_holds_on_its_last_day() -> None:
    assert read_rules({"allowances": [{**ALLOWANCE, "expires": "2026-12-01"}]}, "rules.yaml", TODAY).allowances


def test_the_rules_in_the_documentation_are_rules() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert read_rules(parse_document(example, "docs/gate.md"), "docs/gate.md", TODAY) != Rules()

"""The release decision, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from commands.gate import GateOptions, check_gate, gate_release
from commands.options import GateFormat
from hitless.errors import UsageError
from reports.gate.decision import Outcome, Question, Release, decide_release
from reports.gate.inference import Look
from reports.gate.rules import Allowance, Figure, Primary, RuleName, Rules, State, Trait
from reports.gate.simulation import DECISIONS, RECORDED_INTERVAL_MS, RECORDED_MS, SelfTest, simulate_decisions
from reports.gate.writing import render_annotations, render_junit, render_markdown, render_text
from tests.unit.summaries import HOLDS_MS, arm, changed, gated, side, summary, trial, ungated, write
from tests.unit.test_gate_rules import plans

TEN = [Look(pairs=10)]


def decide(
    candidate: dict[str, Any], baseline: dict[str, Any] | None = None, rules: Rules | None = None, allow: Sequence[Trait] = ()
) -> Release:
    first, second = side(baseline or summary(), name="BASELINE"), side(candidate)
    question = Question(rules=rules or Rules(), plans=plans("plain-switch"), allow_different=tuple(allow))
    return decide_release(first, second, question)


def of_holds(*holds_ms: float | None) -> dict[str, Any]:
    return summary(UNGATED=ungated(len(holds_ms)), GATED=gated(holds_ms))


def slower(growth_ms: float, jitter_ms: float = 0) -> dict[str, Any]:
    jitter = [jitter_ms * (-1) ** number for number in range(len(HOLDS_MS))]
    return of_holds(*(hold + growth_ms + by for hold, by in zip(HOLDS_MS, jitter, strict=True)))


def primary_of(release: Release) -> tuple[State, str]:
    (found,) = [one for one in release.findings if one.rule is RuleName.PRIMARY]
    return found.state, found.text


def test_the_same_figures_are_a_go() -> None:
    assert decide(summary()).outcome is Outcome.GO


def test_a_growth_by_the_effect_is_a_stop_that_names_both_figures_the_test_and_the_evidence() -> None:
    release = decide(slower(45))
    assert (release.outcome, primary_of(release)[0]) == (Outcome.STOP, State.BROKEN)
    text = render_text(release)
    assert "gate-hold-after-routes 89 [" in text
    assert "134 [" in text
    assert "difference 45 [45, 45] ms, effect that matters 40 ms; sign-flip test of 10 pairs: p = 0.0010 for worse" in text
    assert "evidence: 0/summary.json, 0/summary.json" in text
    assert "next: find the cause" in text
    assert text.splitlines()[-1] == "STOP: 1 rule broken"


def test_a_growth_that_does_not_matter_is_a_go() -> None:
    assert decide(slower(10)).outcome is Outcome.GO, "it is certain, and below two intervals"


def test_the_effect_is_the_larger_of_share_and_intervals() -> None:
    def effect(primary: Primary) -> float:
        found = decide(summary(), rules=Rules(primary=primary)).primary
        assert found is not None
        return found.effect

    assert effect(Primary(effect_percent=20, effect_intervals=2)) == 40
    assert effect(Primary(effect_percent=100, effect_intervals=2)) == pytest.approx(89)
    looks = Primary(figure=Figure.GATE_LOOKS, effect_percent=20, effect_intervals=1000)
    assert effect(looks) == pytest.approx(1.8), "of 9 looks; an interval is no look"


def test_a_noisy_figure_is_not_decided_and_the_trials_that_would_decide_are_named() -> None:
    release = decide(slower(20, jitter_ms=80))
    assert (release.outcome, primary_of(release)[0]) == (Outcome.NOT_DECIDED, State.NOT_KNOWN)
    assert release.trials_more is not None
    assert release.trials_more > 10
    text = render_text(release)
    assert f"{release.trials_more} more trials of each version would probably decide" in text.splitlines()[-1]


@pytest.mark.parametrize(("pairs", "expected"), [(4, State.NOT_KNOWN), (5, State.HOLDS)])
def test_too_few_trials_are_no_go(pairs: int, expected: State) -> None:
    few = of_holds(*HOLDS_MS[:pairs])
    assert primary_of(decide(few, few))[0] is expected


def test_too_few_trials_are_no_stop_either() -> None:
    def state(pairs: int) -> State:
        return primary_of(decide(of_holds(*(hold + 90 for hold in HOLDS_MS[:pairs])), of_holds(*HOLDS_MS[:pairs])))[0]

    assert (state(6), state(7)) == (State.NOT_KNOWN, State.BROKEN)


def test_a_figure_that_a_trial_lacks_is_not_known() -> None:
    state, text = primary_of(decide(of_holds(*HOLDS_MS[:9], None)))
    assert state is State.NOT_KNOWN
    assert "trial CANDIDATE 10" in text


def test_an_inconclusive_trial_of_the_baseline_has_no_figure() -> None:
    state, text = primary_of(decide(summary(), changed(summary(), "arms.GATED.per_trial.2.verdict", "INCONCLUSIVE")))
    assert state is State.NOT_KNOWN
    assert "trial BASELINE 3" in text


def test_a_trial_without_a_pair_is_left_out_and_named() -> None:
    release = decide(of_holds(*HOLDS_MS[:8]))
    assert release.primary is not None
    assert release.primary.pairs == 8
    assert any("BASELINE trial 9, BASELINE trial 10" in note for note in release.notes)


def test_the_primary_scenario_that_is_not_there_is_not_known() -> None:
    assert primary_of(decide(summary(), rules=Rules(primary=Primary(scenario="slow-routes"))))[0] is State.NOT_KNOWN


def test_other_figures_are_shown_and_stop_nothing() -> None:
    candidate = summary()
    for number in range(10):
        candidate = changed(candidate, f"arms.GATED.per_trial.{number}.totals.convergence_ms_max", 5000.0)
    release = decide(candidate)
    assert release.outcome is Outcome.GO
    found = {one.figure: one.difference.mean for one in release.advisory}
    assert found == {Figure.GATE_HOLD: 0, Figure.CONVERGENCE: 4500, Figure.UNGATED_DOWNTIME: 0, Figure.GATE_LOOKS: 0}
    primary = Rules(primary=Primary(figure=Figure.CONVERGENCE))
    assert decide(candidate, rules=primary).outcome is Outcome.STOP, "another figure can be primary"


def test_losses_are_compared_as_counts() -> None:
    lossy = arm([trial(number, "PASS", lost=int(number < 6), hold_ms=hold) for number, hold in enumerate(HOLDS_MS, 1)])
    release = decide(summary(UNGATED=ungated(), GATED=lossy))
    (found,) = [one for one in release.losses if one.arm == "GATED"]
    assert (found.baseline, found.candidate) == ((0, 10), (5, 10))
    assert found.p_more == pytest.approx(0.0163, abs=1e-4)
    assert release.outcome is Outcome.STOP


def test_reset_connections_are_compared_as_counts() -> None:
    connections = {
        **dict.fromkeys(("flows", "offered", "answered", "ended", "refused", "timed_out", "unreachable", "slow", "stalled"), 0),
        "opened": 10,
        "reset": 0,
        "recovered": 0,
        "stall_ms_max": None,
        "unconnected_ms_max": 0.0,
    }
    baseline = changed(summary(), "arms.GATED.connections", {"tcp-established": connections})
    candidate = changed(baseline, "arms.GATED.connections.tcp-established.reset", 10)
    (found,) = decide(candidate, baseline).resets
    assert (found.baseline, found.candidate) == ((0, 10), (10, 10))
    assert found.p_more == pytest.approx(1 / 184_756)
    assert "connections reset 0 of 10 in BASELINE, 10 of 10 in CANDIDATE" in render_text(decide(candidate, baseline))


def allowance(rule: RuleName) -> Allowance:
    expires = datetime(2027, 1, 31, tzinfo=UTC).date()
    return Allowance(rule=rule, scenario="plain-switch", owner="network team", reason="kernel bug", expires=expires)


def test_an_allowance_that_is_used_is_in_the_result() -> None:
    broken = changed(summary(), "arms.GATED.control.lost", 1)
    assert decide(broken).outcome is Outcome.STOP
    release = decide(broken, rules=Rules(allowances=(allowance(RuleName.CONTROLS_SILENT),)))
    assert release.outcome is Outcome.GO
    assert release.allowed == (allowance(RuleName.CONTROLS_SILENT),)
    for text in (render_text(release), render_markdown(release), render_junit(release)):
        assert "allowed until 2027-01-31 by network team: kernel bug" in text
    assert "1 allowance used" in render_text(release).splitlines()[-1]


def test_an_allowance_of_another_rule_changes_nothing_and_is_named() -> None:
    broken = changed(summary(), "arms.GATED.control.lost", 1)
    release = decide(broken, rules=Rules(allowances=(allowance(RuleName.BOOKS_BALANCED),)))
    assert release.outcome is Outcome.STOP
    assert "the allowance for books-balanced of plain-switch was not needed; network team can remove it" in release.notes


def test_what_is_broken_outweighs_what_is_not_known() -> None:
    both = changed(changed(summary(), "arms.GATED.control.lost", 1), "arms.GATED.lost_unexplained", None)
    assert decide(both).outcome is Outcome.STOP
    assert decide(changed(summary(), "arms.GATED.lost_unexplained", None)).outcome is Outcome.NOT_DECIDED


def test_a_difference_that_was_allowed_is_in_the_result_and_one_that_is_none_is_named() -> None:
    release = decide(changed(summary(), "carrier", "vxlan"), allow=(Trait.CARRIER, Trait.KERNEL))
    assert "allowed to differ: carrier of plain-switch: ipip and vxlan" in render_text(release)
    assert "kernel was allowed to differ and does not" in release.notes


def test_the_needed_trials_come_from_the_baseline_alone() -> None:
    assert decide(summary()).plan == decide(slower(45, jitter_ms=30)).plan
    one = of_holds(80.0)
    assert decide(one, one).plan is None


def test_json_says_all_of_it() -> None:
    document = decide(slower(45)).as_json()
    assert document["schema"] == "hitless.gate/1"
    assert document["outcome"] == "stop"
    assert document["primary"]["difference"] == {"mean": 45.0, "low": 45.0, "high": 45.0}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_junit_tells_what_is_broken_from_what_is_not_known() -> None:
    both = changed(changed(summary(), "arms.GATED.control.lost", 1), "arms.GATED.lost_unexplained", None)
    suite = ET.fromstring(render_junit(decide(both)))  # noqa: S314 - written a line above
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("10", "1", "1")
    named = {case.get("name"): child.tag for case in suite.iter("testcase") for child in case}
    assert named == {"controls-silent": "failure", "books-balanced": "error"}


def test_annotations_give_each_rule_that_does_not_hold_a_line_with_its_level() -> None:
    both = changed(changed(summary(), "arms.GATED.control.lost", 1), "arms.GATED.lost_unexplained", None)
    lines = render_annotations(decide(both)).splitlines()
    assert [line.partition("::")[2].partition("::")[0] for line in lines] == [
        "error title=hitless release gate%3A stop",
        "error title=hitless controls-silent of plain-switch",
        "warning title=hitless books-balanced of plain-switch",
    ]
    assert lines[1].endswith(
        "%0Aevidence: 0/summary.json%0Anext: the instrument is not reliable; run again on a quiet machine or at a lower --rate"
    )
    allowed = decide(
        changed(summary(), "arms.GATED.control.lost", 1), rules=Rules(allowances=(allowance(RuleName.CONTROLS_SILENT),))
    )
    assert [line.split()[0] for line in render_annotations(allowed).splitlines()] == ["::notice", "::notice"]


def test_a_percent_sign_in_an_annotation_is_escaped() -> None:
    lossy = arm([trial(1, "PASS", lost=1, hold_ms=80.0)])
    assert "at most 100.0%25 (95%25" in render_annotations(decide(summary(UNGATED=ungated(1), GATED=lossy)))


def test_markdown_shows_what_does_not_hold_and_folds_the_rest() -> None:
    text = render_markdown(decide(changed(summary(), "arms.GATED.control.lost", 1)))
    shown = text.partition("<details>")[0]
    assert text.startswith("# Release gate: stop\n")
    assert "| controls-silent | plain-switch | broken |" in shown
    assert "gated-downtime" not in shown


@pytest.mark.parametrize(
    ("candidate", "code"),
    [(summary(), 0), (slower(45), 1), (changed(summary(), "arms.GATED.lost_unexplained", None), 20)],
)
def test_the_exit_code_is_the_outcome(
    candidate: dict[str, Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write(tmp_path / "a", summary()), write(tmp_path / "b", candidate)]
    for output_format in GateFormat:
        assert gate_release(paths, GateOptions(), output_format) == code
        assert capsys.readouterr().out


def test_bad_input_prints_no_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(tmp_path / "a", summary()), write(tmp_path / "b", summary())]
    rules = tmp_path / "rules.yaml"
    rules.write_text("requird: [plain-switch]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="requird"):
        gate_release(paths, GateOptions(rules_file=rules), GateFormat.TEXT)
    with pytest.raises(UsageError, match="give two folders, BASELINE and CANDIDATE; found 1"):
        gate_release(paths[:1], GateOptions(), GateFormat.TEXT)
    with pytest.raises(UsageError, match="--scenario: found slow-routes"):
        gate_release(paths, GateOptions(scenario_files=(Path("scenarios/catalogue/slow-routes.yaml"),)), GateFormat.TEXT)
    assert capsys.readouterr().out == ""


def simulated(values: Sequence[float] = RECORDED_MS, trials: int = 10) -> SelfTest:
    return simulate_decisions(np.array(values), RECORDED_INTERVAL_MS, Primary(), [Look(pairs=trials)], "values")


def test_at_most_one_percent_of_the_decisions_without_a_difference_are_a_stop() -> None:
    found = simulated()
    assert found.decisions == DECISIONS == 10_000
    assert found.is_good
    assert found.points[0].stop <= 100
    assert found.stop_probability_max < 0.01


def test_larger_regressions_are_found_more_often() -> None:
    points = simulated().points
    assert [point.injected_percent for point in points] == [0, 10, 20, 30, 50]
    assert [point.stop for point in points] == sorted(point.stop for point in points)
    assert [point.go for point in points] == sorted((point.go for point in points), reverse=True)
    assert all(point.go + point.stop + point.not_decided == DECISIONS for point in points)


def test_the_simulation_is_repeatable() -> None:
    assert simulated() == simulated()


def test_a_gate_that_stops_too_often_is_named() -> None:
    good = simulated()
    worst = SelfTest(
        source="",
        values=10,
        looks=(Look(pairs=10),),
        decisions=100,
        plan=good.plan,
        points=(type(good.points[0])(injected_percent=0, go=0, stop=2, not_decided=98, pairs_mean=10),),
    )
    assert not worst.is_good


@pytest.mark.parametrize(("values", "trials"), [(RECORDED_MS, 6), (RECORDED_MS, 31), (RECORDED_MS[:4], 10)])
def test_a_simulation_that_would_mean_nothing_is_refused(values: Sequence[float], trials: int) -> None:
    with pytest.raises(UsageError):
        simulated(values, trials)


def test_the_self_test_draws_from_a_version_or_from_the_recorded_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "a", summary())
    assert check_gate([folder], None, TEN, GateFormat.TEXT) == 0
    assert f"10 recorded values: {folder}" in capsys.readouterr().out
    assert check_gate([], None, TEN, GateFormat.JSON) == 0
    assert json.loads(capsys.readouterr().out)["is_good"] is True
    with pytest.raises(UsageError, match="give one folder"):
        check_gate([folder, folder], None, TEN, GateFormat.TEXT)
    with pytest.raises(UsageError, match="text or json"):
        check_gate([], None, TEN, GateFormat.JUNIT)
    rules = tmp_path / "rules.yaml"
    rules.write_text("primary: {figure: convergence}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no recorded values of convergence"):
        check_gate([], rules, TEN, GateFormat.TEXT)

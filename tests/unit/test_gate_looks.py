"""Sequential decisions: the looks, what they may spend, and when the trials of `hitless gate --run` end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.gate_run import Version, run_versions, say_looks
from hitless.errors import UsageError
from reports.gate.decision import Outcome, Question, Release
from reports.gate.inference import Look, between_looks, plan_looks
from reports.gate.rules import Primary, RuleName, Rules
from reports.gate.sides import Side
from reports.gate.simulation import DECISIONS, RECORDED_INTERVAL_MS, RECORDED_MS, simulate_decisions
from reports.gate.writing import render_text
from tests.unit.summaries import HOLDS_MS, changed, gated, side, summary, ungated
from tests.unit.test_gate_rules import plans


def test_the_looks_are_apart_alike_and_spend_the_whole_error_together() -> None:
    looks = plan_looks(20)
    assert [look.pairs for look in looks] == [7, 14, 20]
    assert sum(look.stop_alpha for look in looks) == pytest.approx(0.01)
    assert sum(look.go_alpha for look in looks) == pytest.approx(0.05)
    assert say_looks(20) == "the primary rule is tested after 7, 14 and 20 pairs"


def test_a_budget_that_cannot_stop_a_release_is_refused() -> None:
    assert 2 ** -plan_looks(9)[-1].pairs <= plan_looks(9)[-1].stop_alpha
    with pytest.raises(UsageError, match="at least 9 with --run"):
        plan_looks(8)


def test_at_most_one_percent_of_the_sequential_decisions_without_a_difference_are_a_stop() -> None:
    found = simulate_decisions(np.array(RECORDED_MS), RECORDED_INTERVAL_MS, Primary(), plan_looks(20), "values")
    assert found.is_good
    assert found.points[0].pairs_mean < 10, "most end at the first look"
    assert found.points[-1].stop > 0.9 * DECISIONS
    assert all(point.go + point.stop + point.not_decided == DECISIONS for point in found.points)


class FakeVersion(Version):
    """A version whose trials are written by hand: each hold is a trial."""

    def __init__(self, name: str, holds_ms: Sequence[float], changes: dict[str, object] | None = None) -> None:
        super().__init__(name, ())
        self._holds_ms, self._changes = holds_ms, changes or {}
        self._count: dict[str, int] = {}
        self.order: list[str] = []

    def run_trial(self, scenario: str, source: str, trial: int, scratch: Path) -> str:
        assert (source, scratch.is_dir()) == (scenario, True)
        self._count[scenario] = trial
        self.order.append(f"{scenario} {trial}")
        return "PASS"

    def make_side(self, directory: Path) -> Side:
        assert directory.is_dir()
        documents: list[dict[str, Any]] = []
        for scenario, count in self._count.items():
            document = summary(scenario, UNGATED=ungated(count), GATED=gated(self._holds_ms[:count]))
            for path, value in self._changes.items():
                document = changed(document, path, value)
            documents.append(document)
        return side(*documents, name=self.name)

    def report(self, directory: Path) -> None:
        assert directory.is_dir()


def run(
    tmp_path: Path, holds_ms: Sequence[float], changes: dict[str, object] | None = None, *others: str
) -> tuple[Release, FakeVersion]:
    """Run 20 pairs at the most against a good baseline."""
    names = ("plain-switch", *others)
    question, sources = Question(rules=Rules(required=names), plans=plans(*names)), {name: name for name in names}
    candidate = FakeVersion("CANDIDATE", holds_ms, changes)
    release, folder = run_versions(
        question, sources, 20, FakeVersion("BASELINE", [*HOLDS_MS, *HOLDS_MS]), candidate, tmp_path / "runs"
    )
    assert (folder / "gate.json").is_file()
    return release, candidate


def test_a_version_that_is_no_slower_is_a_go_at_the_first_look(tmp_path: Path) -> None:
    release, candidate = run(tmp_path, [*HOLDS_MS, *HOLDS_MS])
    assert (release.outcome, release.look, len(candidate.order)) == (Outcome.GO, plan_looks(20)[0], 7)
    text = render_text(release)
    assert "the versions alternated; the trials ended at look 1 of 3, after 7 pairs" in text
    assert "(limits 0.0033 and 0.0167)" in text
    assert "whether the versions alternated is not recorded" not in text


def test_a_version_that_is_slower_needs_a_second_look_to_be_stopped(tmp_path: Path) -> None:
    release, candidate = run(tmp_path, [hold + 90 for hold in (*HOLDS_MS, *HOLDS_MS)])
    assert (release.outcome, len(candidate.order)) == (Outcome.STOP, 14)


def test_a_spent_budget_is_not_decided_and_says_what_to_run_anew(tmp_path: Path) -> None:
    noisy = [hold + 20 + 80 * (-1) ** number for number, hold in enumerate((*HOLDS_MS, *HOLDS_MS))]
    release, candidate = run(tmp_path, noisy)
    assert (release.outcome, len(candidate.order)) == (Outcome.NOT_DECIDED, 20)
    assert f"start a new run with --trials {20 + (release.trials_more or 0)}" in render_text(release)


@pytest.mark.parametrize(
    ("path", "value", "outcome"),
    [("arms.GATED.control.lost", 1, Outcome.STOP), ("arms.GATED.lost_unexplained", None, Outcome.NOT_DECIDED)],
)
def test_an_absolute_rule_that_does_not_hold_ends_the_trials(
    tmp_path: Path, path: str, value: object, outcome: Outcome
) -> None:
    release, candidate = run(tmp_path, HOLDS_MS, {path: value})
    assert (release.outcome, candidate.order) == (outcome, ["plain-switch 1"])
    (primary,) = [one for one in release.findings if one.rule is RuleName.PRIMARY]
    assert "1 trial in common" in primary.text


def test_both_versions_take_turns_and_every_required_scenario_is_run_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, candidate = run(tmp_path, [*HOLDS_MS, *HOLDS_MS], None, "slow-routes")
    assert candidate.order == ["plain-switch 1", "slow-routes 1", *(f"plain-switch {number}" for number in range(2, 8))]
    told = capsys.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in told[:6]] == [
        f"{name}: PASS" for name in ("BASELINE", "CANDIDATE", "BASELINE", "CANDIDATE", "CANDIDATE", "BASELINE")
    ]


def test_between_two_looks_nothing_is_decided() -> None:
    look = between_looks(10)
    assert not look.is_asked
    assert Look(pairs=10).is_asked


def test_versions_do_not_say_what_a_trial_is() -> None:
    with pytest.raises(UsageError, match="--candidate-args: leave out --format, --trials; `hitless gate --run` sets them"):
        Version("CANDIDATE", ["--rate", "50", "--trials", "3", "--format=json"])

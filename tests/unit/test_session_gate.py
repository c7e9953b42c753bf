"""A session of suites with a baseline: it ends with the release gate's answer, and never hides a failed test."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands.gate import GateOptions, read_question, read_side
from commands.session_gate import SessionGate
from hitless.errors import UsageError
from hitless.words import Arm
from tests.unit.summaries import changed, gated, summary, ungated

EXPIRES = "2099-12-31"


def write_session(folder: Path, document: dict[str, Any]) -> Path:
    """One folder an arm, as suites write them."""
    for name in Arm:
        arms = {key: value for key, value in document["arms"].items() if key == name}
        path = folder / f"plain-switch-{name.lower()}"
        path.mkdir(parents=True)
        (path / "summary.json").write_text(json.dumps({**document, "arms": arms}), encoding="utf-8")
    return folder


def end_session(
    tmp_path: Path, candidate: dict[str, Any], status: int = 0, rules: str | None = None, *, is_run: bool = True
) -> tuple[int, str]:
    """End a session whose tests ended with `status`; return the exit code and the last line that is printed."""
    base, new = (write_session(tmp_path / name, one) for name, one in (("base", summary()), ("new", candidate)))
    file = None
    if rules is not None:
        file = tmp_path / "rules.yaml"
        file.write_text(rules, encoding="utf-8")
    side = read_side("BASELINE", base)
    question = read_question(GateOptions(rules_file=file), side)
    gate = SessionGate(baseline=side, question=question, find_records=lambda: new if is_run else None)
    session = SimpleNamespace(exitstatus=status)
    gate.pytest_sessionfinish(cast("pytest.Session", session))
    lines: list[str] = []
    terminal = SimpleNamespace(section=lines.append, write_line=lines.append)
    gate.pytest_terminal_summary(cast("pytest.TerminalReporter", terminal))
    return session.exitstatus, lines[-1].splitlines()[-1]


def test_a_session_ends_with_the_gates_answer_and_the_decision_is_stored(tmp_path: Path) -> None:
    assert end_session(tmp_path, summary()) == (0, "GO: 10 rules evaluated, none broken")
    assert json.loads((tmp_path / "new" / "gate.json").read_text())["outcome"] == "go"


def test_a_broken_rule_stops_although_every_test_passed(tmp_path: Path) -> None:
    slow = [180.0] * 10
    assert end_session(tmp_path, summary(UNGATED=ungated(), GATED=gated(slow))) == (1, "STOP: 1 rule broken")


def test_what_is_not_known_ends_with_20_although_a_test_failed(tmp_path: Path) -> None:
    code, text = end_session(tmp_path, changed(summary(), "arms.GATED.lost_unexplained", None), status=1)
    assert (code, text) == (20, "NOT DECIDED: 1 rule not known")


def test_a_failed_test_that_no_rule_saw_fails_the_session(tmp_path: Path) -> None:
    assert end_session(tmp_path, summary(), status=1) == (1, "a test failed, so the session fails")


def test_an_allowance_covers_the_test_that_failed_for_it(tmp_path: Path) -> None:
    one = f"rule: controls-silent, scenario: plain-switch, owner: me, reason: loopback, expires: {EXPIRES}"
    code, text = end_session(
        tmp_path, changed(summary(), "arms.GATED.control.lost", 1), status=1, rules=f"allowances: [{{{one}}}]"
    )
    assert (code, text) == (0, "GO: 10 rules evaluated, none broken; 1 allowance used")


@pytest.mark.parametrize("status", [pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR])
def test_a_session_that_ended_early_is_not_decided_and_keeps_its_exit_code(tmp_path: Path, status: pytest.ExitCode) -> None:
    assert end_session(tmp_path, summary(), status) == (
        status,
        "no decision, because the session ended early or ran no scenario",
    )
    assert not (tmp_path / "new" / "gate.json").exists()


def test_a_session_that_ran_nothing_is_not_decided(tmp_path: Path) -> None:
    assert end_session(tmp_path, summary(), 1, is_run=False)[0] == 1


def test_sides_that_cannot_be_compared_end_with_2(tmp_path: Path) -> None:
    code, text = end_session(tmp_path, changed(summary(), "carrier", "vxlan"))
    assert code == UsageError.exit_code
    assert "carrier of plain-switch: ipip and vxlan" in text


def test_the_trials_that_are_needed_are_printed_beforehand(tmp_path: Path) -> None:
    side = read_side("BASELINE", write_session(tmp_path / "base", summary()))
    gate = SessionGate(baseline=side, question=read_question(GateOptions(), side), find_records=lambda: None)
    assert (
        "needed trials, from the baseline alone: 7 trials of each version find a growth of 40 ms" in gate.pytest_report_header()
    )

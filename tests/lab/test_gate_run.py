"""`hitless gate --run`: real trials of both versions, stored as comparisons, with the decision beside them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.test_command_line import run
from tests.lab.test_suite_options import arm, write_scenario


def gate(folder: Path, baseline: str, candidate: str, expect: str) -> tuple[int, str, str, Path]:
    """Run both versions through a scenario in which nothing happens; return exit code, both outputs, the records' folder."""
    path = write_scenario(folder, "quiet", arms={"GATED": arm(expect)})
    rules = folder / "rules.yaml"
    rules.write_text("{required: [quiet], primary: {scenario: quiet}}")
    versions = ("--baseline-args", baseline, "--candidate-args", candidate)
    output = folder / "runs"
    done = run("gate", "--run", *versions, "--rules", str(rules), "--scenario", str(path), "--output", str(output))
    return done.returncode, done.stdout, done.stderr, output


def test_a_rule_that_is_broken_ends_the_trials_and_what_was_run_can_be_judged_again(tmp_path: Path) -> None:
    code, told, progress, output = gate(tmp_path, "--rate 10", "--rate 10", expect="FAIL")
    assert code == 1, progress
    assert "STOP: 1 rule broken; 1 rule not known" in told
    assert "expected FAIL: 1 PASS of 1 trial; BASELINE: 1 PASS of 1 trial" in told
    assert [line for line in progress.splitlines() if "CANDIDATE" in line] == ["hitless: quiet trial 1, CANDIDATE: GATED PASS"]
    folder = output / "latest"
    assert json.loads((folder / "gate.json").read_text())["outcome"] == "stop"
    kept = folder / "candidate" / "quiet"
    assert {"gated-1", "summary.json", "verdict.json", "report.md"} <= {path.name for path in kept.iterdir()}
    assert run("judge", str(kept)).stdout


def test_versions_that_cannot_be_compared_are_refused_by_name(tmp_path: Path) -> None:
    code, told, progress, _ = gate(tmp_path, "--rate 10", "--rate 20", expect="PASS")
    assert (code, told) == (2, ""), progress
    assert "rate of quiet: a probe every 100 ms and a probe every 50 ms" in progress


def test_arguments_that_compare_refuses_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    code, told, progress, output = gate(tmp_path, "--rate 0", "--rate 10", expect="PASS")
    assert (code, told, output.exists()) == (2, "", False), progress
    assert "trial 1 of quiet, BASELINE" in progress
    assert "--rate" in progress


def test_an_extension_without_its_decision_table_is_refused_before_any_trial(tmp_path: Path) -> None:
    for candidate in ("--extension=/bin/true", "--extension double --extension /bin/true"):
        code, told, progress, output = gate(tmp_path, "--rate 10", candidate, expect="PASS")
        assert (code, told, output.exists()) == (2, "", False), progress
        assert "--decisions: the CANDIDATE's extension is a program" in progress
        assert "hitless conform --extension CANDIDATE --against BASELINE" in progress

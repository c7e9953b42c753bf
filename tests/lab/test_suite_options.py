"""`pytest suites/`: its options, its skips, and the outcome of a session without a result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands.history_files import read_rows
from hitless.documents import read_document
from scenarios.loading import CATALOGUE
from tests.kind.scripted_api import write_kubeconfig
from tests.lab.test_sandbox import outside_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""The plug-in of Hypothesis takes a second of CPU in every process of a session, and the suites do not need it."""


def run_suites(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(ROOT / "suites"), "-v", *PLUGINS, *options]
    return subprocess.run(  # noqa: S603 - our own suites
        command,
        env=outside_environment() | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(autouse=True)
def _output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every session's records go to a folder of the test's own, never to the user's."""
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--output={tmp_path / 'runs'}")


def latest(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "latest"


def write_scenario(folder: Path, name: str, **changes: object) -> Path:
    """Write a changed copy of nothing-happens; it is over within two seconds."""
    document = read_document(CATALOGUE / "nothing-happens.yaml")
    shoot = str(CATALOGUE.parent / "shoots" / "aws-1.36.yaml")
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({**document, "name": name, "shoot": shoot, "duration_s": 0.3, **changes}))
    return path


def arm(expect: str, **budgets: object) -> dict[str, object]:
    return {"end": "OVERLAY", "expect": expect, "checks": {"continuity": {"downtime_ms": 0}, **budgets}}


def test_options_reach_the_runs_and_the_records_are_kept_when_asked(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, "quiet", arms={"GATED": arm("PASS")})
    options = ("--zones", "3", "--nodes-per-zone", "1", "--rate", "20", "--trials", "2", "--keep")
    records = tmp_path / "junit.xml"
    done = run_suites("--scenario", str(path), *options, f"--junitxml={records}")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout
    properties = {"scenario": "quiet", "arm": "GATED", "expected": "PASS", "verdict": "PASS,PASS", "lost": "0"}
    for name, value in properties.items():
        assert f'<property name="{name}" value="{value}"' in records.read_text()
    folder = latest(tmp_path) / "quiet-gated"
    kept = [json.loads((folder / trial / "cluster.json").read_text()) for trial in ("1", "2")]
    assert [(len(one["facts"]["nodes"]), len(one["flows"])) for one in kept] == [(3, 13), (3, 13)]
    header = json.loads((folder / "2" / "run.json").read_text())["header"]
    assert (header["trial"], header["interval_ns"]) == (2, 50_000_000)


def test_expectations_that_do_not_hold_for_the_overlay_are_skipped_and_all_skipped_is_a_failure() -> None:
    done = run_suites("--scenario", "plain-switch", "--overlay", "vxlan")
    assert done.returncode == 1, done.stdout
    assert "not expected: plain-switch has expectations for ipip only, not for vxlan" in done.stdout
    assert "hitless: every scenario was skipped, so nothing was tested; this is a failure" in done.stdout
    assert "2 skipped" in done.stdout


def test_inconclusive_fails_with_that_word_and_its_reason(tmp_path: Path) -> None:
    # A gap of 0 intervals is always exceeded: coverage must report it.
    path = write_scenario(tmp_path, "doubtful", arms={"GATED": arm("PASS", coverage={"gap_intervals": 0})})
    done = run_suites("--scenario", str(path), "--rate", "20")
    assert done.returncode == 1, done.stdout
    assert "INCONCLUSIVE; records in" in done.stdout
    assert "coverage INCONCLUSIVE probing-gap" in done.stdout


def test_the_expected_verdict_for_another_reason_is_no_success(tmp_path: Path) -> None:
    failing = {**arm("FAIL", convergence={"rolls": 1}), "because": ["continuity"]}
    path = write_scenario(tmp_path, "wrong-reason", arms={"UNGATED": failing})
    done = run_suites("--scenario", str(path), "--rate", "20")
    assert done.returncode == 1, done.stdout
    assert "convergence FAIL" in done.stdout
    assert "FAIL; records in" in done.stdout


def test_two_workers_execute_the_arms_side_by_side_into_one_folder(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, "quiet", arms={"GATED": arm("PASS"), "UNGATED": arm("PASS")})
    done = run_suites("-n", "2", "--scenario", str(path), "--rate", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"[gw0]", "[gw1]"} == {line.split()[0] for line in done.stdout.splitlines() if " PASSED " in line}, done.stdout
    assert {"quiet-gated", "quiet-ungated", "quiet.html", "index.html"} == {path.name for path in latest(tmp_path).iterdir()}


def test_two_workers_that_skip_everything_fail_too() -> None:
    done = run_suites("-n", "2", "--scenario", "plain-switch", "--overlay", "vxlan")
    assert done.returncode == 1, done.stdout
    assert "hitless: every scenario was skipped, so nothing was tested; this is a failure" in done.stdout
    assert "2 skipped" in done.stdout


def test_a_session_with_a_baseline_ends_with_the_release_gates_answer_across_workers(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, "quiet", arms={"GATED": arm("PASS"), "UNGATED": arm("PASS")})
    rules = tmp_path / "rules.yaml"
    rules.write_text("{required: [quiet], primary: {scenario: quiet}}")
    options = ("-n", "2", "--scenario", str(path), "--rate", "10")
    assert run_suites(*options).returncode == 0
    baseline = latest(tmp_path).resolve()
    history = ("--history", str(tmp_path / "history"), "--release", "v2")
    done = run_suites(*options, "--baseline", str(baseline), "--rules", str(rules), *history)
    assert done.returncode == 20, done.stdout + done.stderr
    assert "NOT DECIDED: 1 rule not known" in done.stdout, "nothing switches, so that no gate holds"
    assert "controls-silent of quiet" in done.stdout
    decided = json.loads((latest(tmp_path) / "gate.json").read_text())
    assert (decided["outcome"], decided["baseline"]["path"]) == ("not decided", str(baseline))
    assert "history: 2 summaries added" in done.stdout
    assert {(row.release, row.arm) for row in read_rows(tmp_path / "history")} == {("v2", "GATED"), ("v2", "UNGATED")}


def test_a_baseline_that_cannot_be_read_ends_the_session_before_anything_runs(tmp_path: Path) -> None:
    done = run_suites("--scenario", "plain-switch", "--baseline", str(tmp_path / "nowhere"))
    assert done.returncode == 2, done.stdout
    assert f"hitless: {tmp_path / 'nowhere'}: does not exist" in done.stdout + done.stderr
    alone = run_suites("--scenario", "plain-switch", "--rules", "rules.yaml")
    assert alone.returncode == 2, alone.stdout
    assert not (tmp_path / "runs").exists()


def test_a_rerun_has_a_folder_of_its_own_and_the_scenarios_reason_is_shown(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, "doubtful", arms={"GATED": arm("PASS", coverage={"gap_intervals": 0})})
    done = run_suites("--scenario", str(path), "--rate", "10", "--reruns", "1", "-rR")
    assert "1 failed, 1 rerun" in done.stdout, done.stdout
    assert "File exists" not in done.stdout
    assert "coverage INCONCLUSIVE probing-gap" in done.stdout
    assert {"doubtful-gated", "doubtful-gated-2", "index.html"} == {path.name for path in latest(tmp_path).iterdir()}


def test_repeated_arms_that_are_kept_have_a_folder_each(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, "quiet", arms={"GATED": arm("PASS")})
    done = run_suites("--scenario", str(path), "--rate", "10", "--count", "2", "--keep")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout
    kept = [path.name for name in ("quiet-gated", "quiet-gated-2") for path in (latest(tmp_path) / name).glob("[0-9]")]
    assert kept == ["1", "1"]


def test_forked_tests_are_refused_at_once() -> None:
    done = run_suites("--forked")
    assert (done.returncode, done.stdout) == (4, ""), done.stdout
    refusal = "ERROR: --forked is not supported: the lab's threads do not survive a fork; use -n 2 (pytest-xdist)"
    assert refusal == done.stderr.strip()


def test_without_automatic_plugins_the_suites_have_their_options() -> None:
    done = run_suites("--collect-only", "-q", "--scenario", "plain-switch", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert (done.returncode, "2 tests collected" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trials", "0"), "--trials must be from 1 to "),
        (("--zones", "0"), "--zones: found 0; expected 1 to 26"),
        (("--zones", "1", "--nodes-per-zone", "1", "--scenario", "plain-switch"), "found 1 * 1 nodes; expected 2 to 255 nodes"),
        (("--scenario", "nope"), "--scenario: no scenario nope; give a YAML file, or a name from"),
    ],
)
def test_a_wrong_option_gives_one_message(options: tuple[str, ...], message: str) -> None:
    done = run_suites(*options)
    assert done.returncode == 2
    assert message in done.stdout
    assert "conftest.py" not in done.stdout + done.stderr


def test_a_watched_cluster_needs_a_kubeconfig_and_an_image() -> None:
    for options, missing in (((), "--kubeconfig"), (("--kubeconfig", "none"), "--prober-image")):
        done = run_suites("--backend", "kubeconfig", "--scenario", "plain-switch", *options)
        assert done.returncode != 0
        assert f"{missing} is required with --backend kubeconfig" in done.stdout, done.stdout
        assert "Traceback" not in done.stdout


def test_what_may_not_be_done_in_a_watched_cluster_is_skipped_and_one_that_cannot_be_read_is_no_result(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, "https://127.0.0.1:1")
    place = ("--backend", "kubeconfig", "--kubeconfig", str(path), "--prober-image", "registry.example.org/prober:1")
    done = run_suites("--scenario", "plain-switch", "--scenario", "route-quota", *place, "-rs")
    assert done.returncode == 1, done.stdout
    assert "--switch observer cannot switch without the gate, as UNGATED does" in done.stdout
    assert "--switch observer cannot make the cloud behave as the scenario states" in done.stdout
    assert "INCONCLUSIVE: " in done.stdout
    assert "1 failed, 3 skipped" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout

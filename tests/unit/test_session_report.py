"""What a session of the suites ends with: pages of both arms, an index, what GitHub's runner reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands import compare, session_report
from commands.arms import ArmOutcome
from commands.session_report import SessionReport, finish_arm, report_arm
from hitless.history import History
from hitless.words import Arm
from reports.session import ArmEntry, SessionIndex, State, render_index, render_step_summary
from reports.templating import annotate
from tests.unit.comparisons import judged, realistic


def _finish(records: Path, arm: Arm, *, is_expected: bool = True, must_keep: bool = False) -> Path:
    """End an arm whose one run has records."""
    folder = records / f"plain-switch-{arm.lower()}"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "run.json").touch()
    outcome = ArmOutcome(runs=(judged(realistic(arm, 1)),), directory=folder)
    finish_arm(outcome, records, is_expected=is_expected, must_keep=must_keep)
    return folder


@pytest.fixture(autouse=True)
def _stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: Path) -> History:
        return realistic(Arm.UNGATED if "ungated" in folder.parent.name else Arm.GATED, 1)

    monkeypatch.setattr(compare, "read_history", read)


@pytest.mark.parametrize("order", [(Arm.UNGATED, Arm.GATED), (Arm.GATED, Arm.UNGATED)])
def test_the_second_arm_of_a_scenario_writes_the_page_of_both(tmp_path: Path, order: tuple[Arm, Arm]) -> None:
    first = _finish(tmp_path, order[0])
    assert not (tmp_path / "plain-switch.html").exists()
    assert (first / "1").exists(), "the other arm may need its records"
    second = _finish(tmp_path, order[1])
    assert "GATED lost nothing in 1 trial; UNGATED lost 356 probes per trial" in (tmp_path / "plain-switch.html").read_text()
    assert not (first / "1").exists()
    assert not (second / "1").exists()


def test_of_two_arms_that_end_at_once_one_writes_the_page(tmp_path: Path) -> None:
    first = _finish(tmp_path, Arm.UNGATED)
    (tmp_path / "plain-switch.html").write_text("by the process of the other arm")
    second = _finish(tmp_path, Arm.GATED)
    assert (tmp_path / "plain-switch.html").read_text() == "by the process of the other arm"
    assert (first / "1").exists(), "the other process may be reading them"
    assert (second / "1").exists()


def test_records_are_kept_of_an_arm_that_failed_or_where_asked(tmp_path: Path) -> None:
    failed = _finish(tmp_path, Arm.UNGATED, is_expected=False)
    asked = _finish(tmp_path, Arm.GATED, must_keep=True)
    assert ((failed / "1").exists(), (asked / "1").exists()) == (True, True)


def test_a_page_that_crashes_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_args: object) -> str:
        raise ValueError("no ink")

    monkeypatch.setattr(session_report, "render_page", crash)
    _finish(tmp_path, Arm.UNGATED)
    _finish(tmp_path, Arm.GATED)
    assert not (tmp_path / "plain-switch.html").exists()
    assert capsys.readouterr().err == (
        "hitless: plain-switch.html was not written: ValueError: no ink; the verdict is not affected\n"
    )


def test_the_figures_of_an_arm_are_properties_of_its_test(tmp_path: Path) -> None:
    properties: dict[str, object] = {}
    outcome = ArmOutcome(runs=(judged(realistic(Arm.UNGATED, 1)),), directory=tmp_path)
    files = report_arm(outcome, properties.__setitem__)
    assert [path.name for path in files] == ["report.html", "chart.svg"]
    assert properties == {
        "folder": tmp_path.name,
        "verdict": "FAIL",
        "lost": 356,
        "offered": 6000,
        "flows_hit": 8,
        "downtime_ms_max": 250.1,
    }


def _report(outcome: Any, **said: str) -> pytest.TestReport:  # noqa: ANN401 - a Literal of pytest's
    longrepr = ("test_switch.py", 3, "Skipped: missing capability: nft") if outcome == "skipped" else None
    if outcome == "failed":
        # With colours, and with what pytest adds of both sides.
        told = "AssertionError: \x1b[31mFAIL\x1b[0m\nsecond line\nassert {'FAIL'} == {'PASS'}\n  Extra items"
        longrepr = told  # type: ignore[assignment]  # pytest takes both
    name = f"{said['scenario']}-{said['arm'].lower()}"
    return pytest.TestReport(
        nodeid=f"suites/test_switch.py::test_switch[{name}]",
        location=("", None, ""),
        keywords={},
        outcome=outcome,
        longrepr=longrepr,
        when="call",
        user_properties=list(said.items()),
    )


def _session(records: Path) -> SessionReport:
    plugin = SessionReport(lambda: records)
    figures = {"lost": "356", "offered": "6000", "verdict": "FAIL", "folder": "plain-switch-ungated"}
    plugin.pytest_runtest_logreport(_report("passed", scenario="plain-switch", arm="UNGATED", expected="FAIL", **figures))
    plugin.pytest_runtest_logreport(_report("failed", scenario="plain-switch", arm="GATED", expected="PASS", verdict="FAIL"))
    plugin.pytest_runtest_logreport(_report("skipped", scenario="lossy-links", arm="GATED", expected="PASS"))
    return plugin


def _end(plugin: SessionReport, status: int = pytest.ExitCode.OK) -> int:
    """End a session whose tests ended with `status`; return its exit code."""
    session = SimpleNamespace(exitstatus=status)
    plugin.pytest_sessionfinish(cast("pytest.Session", session))
    return int(session.exitstatus)


def test_the_session_ends_with_an_index_and_a_summary_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    records = tmp_path / "session"
    (records / "plain-switch-ungated").mkdir(parents=True)
    for name in ("plain-switch.html", "plain-switch-ungated/report.html"):
        (records / name).touch()
    _end(_session(records))
    index = (records / "index.html").read_text()
    assert '<a href="plain-switch.html">plain-switch: UNGATED against GATED</a>' in index
    assert '<a href="plain-switch-ungated/report.html">plain-switch-ungated</a>' in index
    assert "3 arms: 1 as expected, 1 not as expected, 1 skipped." in index
    assert "missing capability: nft" in index
    step = (tmp_path / "step.md").read_text()
    assert step.startswith("# hitless suites: not as expected\n")
    assert "| plain-switch-gated | not as expected | PASS | FAIL |  | FAIL |" in step
    assert "| plain-switch-ungated | as expected | FAIL | FAIL | 356 of 6,000 probes |  |" in step


def test_a_session_without_an_arm_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    _end(SessionReport(lambda: tmp_path))
    _end(SessionReport(lambda: None))
    assert list(tmp_path.iterdir()) == []


class _Terminal:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write_line(self, line: str, *, red: bool = False) -> None:
        self.lines.append(f"red: {line}" if red else line)


@pytest.mark.parametrize(
    ("outcomes", "status", "code", "is_said"),
    [
        (["skipped", "skipped"], pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, True),
        (["skipped", "skipped"], pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERRUPTED, True),
        (["skipped", "passed"], pytest.ExitCode.OK, pytest.ExitCode.OK, False),
        ([], pytest.ExitCode.OK, pytest.ExitCode.OK, False),
    ],
)
def test_a_session_whose_arms_were_all_skipped_fails(
    tmp_path: Path, outcomes: list[str], status: int, code: int, *, is_said: bool
) -> None:
    plugin, terminal = SessionReport(lambda: tmp_path), _Terminal()
    for number, outcome in enumerate(outcomes):
        plugin.pytest_runtest_logreport(_report(outcome, scenario=f"x{number}", arm="GATED", expected="PASS"))
    assert _end(plugin, status) == code
    plugin.pytest_terminal_summary(terminal)  # type: ignore[arg-type]  # all that it needs of pytest's
    said = "red: hitless: every scenario was skipped, so nothing was tested; this is a failure"
    assert (said in terminal.lines) is is_said


@pytest.mark.parametrize("is_github", [False, True])
def test_the_change_is_annotated_where_github_runs_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_github: bool
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", str(is_github).lower())
    plugin, terminal = _session(tmp_path), _Terminal()
    _end(plugin)
    plugin.pytest_terminal_summary(terminal)  # type: ignore[arg-type]  # all that it needs of pytest's
    told = ["::error title=hitless plain-switch-gated::FAIL%0Asecond line"] if is_github else []
    assert terminal.lines == [*told, f"hitless: {tmp_path / 'index.html'}"]


def test_of_an_arm_that_is_run_again_the_last_counts(tmp_path: Path) -> None:
    plugin = SessionReport(lambda: tmp_path)
    for outcome in ("rerun", "failed", "passed"):
        plugin.pytest_runtest_logreport(_report(outcome, scenario="x", arm="GATED", expected="PASS"))
    _end(plugin)
    assert "1 arm: 1 as expected." in (tmp_path / "index.html").read_text()


def test_no_reason_can_break_the_index_or_a_workflow_command() -> None:
    evil = "<img src=x>|a%\nb"
    entry = ArmEntry(
        name="a",
        scenario="a",
        state=State.UNEXPECTED,
        expected="PASS",
        verdicts="FAIL",
        figures="",
        reason=evil,
        page=None,
    )
    session = SessionIndex(title="t", arms=(entry,), comparisons=())
    assert "<img" not in render_index(session)
    assert "| a | not as expected | PASS | FAIL |  | &lt;img src=x>\\|a% |" in render_step_summary(session)
    assert annotate("error", "a: b, c", evil) == "::error title=hitless a%3A b%2C c::<img src=x>|a%25%0Ab"

"""What a run in user-mode Linux comes to: the tests' own result and exit code, skips with their reasons."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.kernel import run
from tests.kernel.plans import PLANS, Step
from tests.kernel.results import UNFINISHED_CODE, tell

STEPS = (Step(name="lab", arguments=("tests/lab",)), Step(name="suites", arguments=("suites/",), is_root=False))
RECORDS = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><skipped message="missing: nft"/></testcase><testcase name="d"><skipped message="missing: nft"/></testcase>
</testsuite></testsuites>"""


def finish(folder: Path, step: Step, code: int, records: str = RECORDS) -> None:
    (folder / f"{step.name}.json").write_text(json.dumps({"code": code}))
    (folder / f"{step.name}.xml").write_text(records)


def test_the_closing_lines_count_and_the_exit_code_is_the_tests_own(tmp_path: Path) -> None:
    finish(tmp_path, STEPS[0], 1)
    finish(tmp_path, STEPS[1], 0)
    text, code = tell(tmp_path, STEPS, 90)
    assert code == 1
    assert text.splitlines() == [
        "lab: 1 passed, 1 failed, 2 skipped (2 for missing: nft), exit code 1",
        "suites: 1 passed, 1 failed, 2 skipped (2 for missing: nft), exit code 0",
        "user-mode Linux took 1.5 minutes",
    ]


def test_the_last_attempt_of_a_test_counts(tmp_path: Path) -> None:
    attempts = """<testsuites><testsuite><testcase name="a"/><testcase name="b"/><testcase name="b"/>
    <testcase name="c"/><testcase name="c"><failure message="INCONCLUSIVE"/></testcase></testsuite></testsuites>"""
    finish(tmp_path, STEPS[0], 1, attempts)
    assert tell(tmp_path, STEPS, 0)[0].startswith("lab: 2 passed, 1 failed, 0 skipped, 2 repeated, exit code 1")


def test_a_step_that_never_ended_is_no_success(tmp_path: Path) -> None:
    finish(tmp_path, STEPS[0], 0)
    text, code = tell(tmp_path, STEPS, 0)
    assert (code, "suites: did not end" in text) == (UNFINISHED_CODE, True)


def test_an_ordinary_user_runs_the_same_session() -> None:
    as_root, as_user = (step.command("python", "/there") for step in STEPS)
    assert as_root[:3] == ["python", "-m", "pytest"]
    assert as_user[as_user.index("python") :][:3] == as_root[:3]
    assert "--reuid=1000" in as_user


def test_what_is_named_in_a_plan_is_there() -> None:
    root = Path(__file__).parents[2]
    paths = [
        word for steps in PLANS.values() for step in steps for word in step.arguments if word.startswith(("tests/", "suites/"))
    ]
    assert [path for path in paths if not (root / path).exists()] == []


def test_a_machine_without_user_mode_linux_prints_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "linux.uml" else f"/sbin/{name}")
    monkeypatch.setattr(run, "MODULES", Path("/"))
    monkeypatch.setattr("sys.argv", ["run"])
    assert run.main() == 20
    assert capsys.readouterr().err == "missing: linux.uml; Debian and Ubuntu: apt-get install user-mode-linux kmod\n"

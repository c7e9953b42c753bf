"""The verdict is settled and stored before anything is rendered; a renderer that crashes costs its own file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Never

import pytest

from analysis.evidence import Evidence, JudgedRun
from commands import compare, reporting
from commands.compare import judge_stored, read_stored, tell_single
from commands.options import Format
from commands.reporting import write_comparison
from hitless.errors import RecordDamagedError, WorldError
from hitless.history import History
from hitless.verdicts import CheckResult, failure
from hitless.words import Arm, Verdict
from tests.unit.comparisons import comparison, realistic
from tests.unit.histories import history

FILES = {"verdict.json", "summary.json", "chart.svg", "report.html", "report.md"}


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def refuse_writes(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Let the folder refuse every write, as a read-only file system does, also to root."""
    written = Path.write_text

    def write_text(path: Path, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - as Path has them
        if path.is_relative_to(directory):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return written(path, *arguments, **named)

    def unlink(path: Path, *_arguments: Any, **_named: Any) -> None:  # noqa: ANN401 - as Path has them
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "write_text", write_text)
    monkeypatch.setattr(Path, "unlink", unlink)


@pytest.mark.parametrize(
    ("renderer", "missing"),
    [
        ("render_svg", {"chart.svg"}),
        ("render_page", {"report.html"}),
        ("render_markdown", {"report.md"}),
        ("summarise", {"summary.json", "report.html", "report.md"}),
    ],
)
@pytest.mark.parametrize("leaks", [0, 3])
def test_a_renderer_that_crashes_costs_its_own_file_and_is_named(
    renderer: str,
    missing: set[str],
    leaks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def crash(*_args: object, **_named: object) -> Never:
        message = "no\nfont"
        raise ValueError(message)

    monkeypatch.setattr(reporting, renderer, crash)
    (tmp_path / "chart.svg").write_text("of an older rendering", encoding="utf-8")
    written = write_comparison(comparison(1, gate_leaks=leaks), tmp_path)
    assert json.loads((tmp_path / "verdict.json").read_bytes())["verdict"] == ("FAIL" if leaks else "PASS")
    assert (written.summary is None, written.page_path is None) == (
        "summary.json" in missing,
        "report.html" in missing,
    )
    assert _names(tmp_path) == FILES - missing
    first = min(missing, key=["summary.json", "report.html", "chart.svg", "report.md"].index)
    assert capsys.readouterr().err == f"hitless: {first} was not written: ValueError: no font; the verdict is not affected\n"
    if "report.md" not in missing:
        assert ("(chart.svg)" in (tmp_path / "report.md").read_text("utf-8")) == ("chart.svg" not in missing)


def test_the_verdict_and_the_summary_are_stored_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "render_page", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_comparison(comparison(1), tmp_path)
    assert _names(tmp_path) == {"verdict.json", "summary.json"}


def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, histories: dict[str, History | None]) -> Path:
    """Make a folder of runs, None standing for one that was cut."""

    def read(folder: Path) -> History:
        history = histories[folder.name]
        if history is None:
            message = f"{folder.name}/events.jsonl: line 7 was cut"
            raise RecordDamagedError(message)
        return history

    for name in histories:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    monkeypatch.setattr(compare, "read_history", read)
    return tmp_path


@pytest.mark.parametrize(
    ("leaks", "verdict", "codes"),
    [
        (0, Verdict.INCONCLUSIVE, ["run-damaged"]),
        (2, Verdict.FAIL, ["gated-lost", "run-damaged"]),
    ],
)
def test_a_comparison_with_a_cut_trial_is_judged_by_the_whole_ones(
    leaks: int,
    verdict: Verdict,
    codes: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = {"ungated-1": realistic(Arm.UNGATED, 1), "gated-1": realistic(Arm.GATED, 1, gate_leaks=leaks)}
    path = _store(tmp_path, monkeypatch, {**whole, "gated-2": None})
    assert judge_stored(path, Format.JSON) is verdict
    document = json.loads(capsys.readouterr().out)
    own = [finding for finding in document["findings"] if finding["check"] == "comparison"]
    assert [finding["code"] for finding in own] == codes
    assert own[-1]["text"] == "a run cannot be read and is excluded: gated-2/events.jsonl: line 7 was cut"


@pytest.mark.parametrize("output_format", list(Format))
def test_a_comparison_in_a_read_only_folder_is_judged_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output_format: Format
) -> None:
    path = _store(tmp_path, monkeypatch, {"ungated-1": realistic(Arm.UNGATED, 1), "gated-1": realistic(Arm.GATED, 1)})
    before = _names(path)
    refuse_writes(monkeypatch, path)
    assert judge_stored(path, output_format) is Verdict.PASS
    told = capsys.readouterr()
    assert (
        told.err
        == f"hitless: cannot write {path}/verdict.json: Read-only file system; nothing is stored; the verdict is not affected\n"
    )
    if output_format is Format.JSON:
        assert (json.loads(told.out)["verdict"], json.loads(told.out)["schema"]) == ("PASS", "hitless.summary/2")
    else:
        assert "PASS" in told.out
    assert _names(path) == before


def test_a_fresh_comparison_whose_verdict_cannot_be_stored_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_writes(monkeypatch, tmp_path)
    with pytest.raises(WorldError, match=r"^cannot write .*verdict.json: Read-only file system$"):
        write_comparison(comparison(1), tmp_path)


def test_trials_without_a_rule_of_their_own_are_inconclusive_where_one_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _store(tmp_path, monkeypatch, {"1": realistic(Arm.GATED, 1), "2": None})
    assert judge_stored(path, Format.TEXT) is Verdict.INCONCLUSIVE


def test_runs_of_which_none_can_be_read_are_an_error_that_names_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _store(tmp_path, monkeypatch, {"gated-1": None, "ungated-1": None})
    with pytest.raises(RecordDamagedError, match=r"gated-1/events.jsonl.*; ungated-1/events.jsonl"):
        read_stored(path)


def test_a_folder_without_its_first_file_counts_as_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _store(tmp_path, monkeypatch, {"ungated-1": realistic(Arm.UNGATED, 1), "gated-1": None})
    (path / "gated-1" / "run.json").unlink()
    runs, damaged = read_stored(path)
    assert ([run.history.header.arm for run in runs], len(damaged)) == ([Arm.UNGATED], 1)


@pytest.mark.parametrize(
    ("flows", "lines"),
    [
        (3, ["FAIL flow-not-converged: flow 0", "FAIL flow-not-converged: flow 1", "FAIL flow-not-converged: flow 2"]),
        (12, ["FAIL flow-not-converged: flow 0 (and 11 more findings like it; --format json has all)"]),
    ],
)
def test_a_single_run_prints_many_findings_of_one_kind_in_one_line(
    capsys: pytest.CaptureFixture[str], flows: int, lines: list[str]
) -> None:
    findings = tuple(failure("flow-not-converged", f"flow {number}") for number in range(flows))
    result = CheckResult(check="convergence", is_validity=False, verdict=Verdict.FAIL, findings=findings)
    judged = JudgedRun(evidence=Evidence(history()), results=(result,), verdict=Verdict.FAIL)
    assert tell_single(judged, Format.TEXT) is Verdict.FAIL
    first, check, *found = capsys.readouterr().out.splitlines()
    assert (first, check) == ("plain-switch GATED trial 1: FAIL", "  convergence: FAIL")
    assert [line.strip() for line in found] == lines

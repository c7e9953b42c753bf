"""Where records go: the default, a fresh folder for each execution, the link to the newest, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.options import default_runs, make_folder, make_fresh_directory, make_run_directory
from hitless.errors import UsageError


def test_in_a_checkout_records_go_below_it_and_elsewhere_to_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert default_runs() == tmp_path / "state" / "hitless" / "runs"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert default_runs() == tmp_path / "state" / "hitless" / "runs"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "hitless"\n')
    assert default_runs() == tmp_path / "reports" / "runs"


def test_each_execution_has_a_folder_of_its_own(tmp_path: Path) -> None:
    names = [make_fresh_directory(tmp_path, "plain-switch-gated").name for _ in range(3)]
    assert names == ["plain-switch-gated", "plain-switch-gated-2", "plain-switch-gated-3"]


def test_the_link_follows_the_newest_records(tmp_path: Path) -> None:
    first, second = (make_run_directory(tmp_path, "suites") for _ in range(2))
    assert first != second
    assert (tmp_path / "latest").resolve() == second


def test_a_folder_in_the_links_place_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(
        UsageError, match=r"latest is not a symbolic link, so it cannot point to the newest records; move it away"
    ):
        make_run_directory(tmp_path, "suites")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"^cannot write records to .*/file/runs \(Not a directory\); use --output with another"
    ):
        make_folder(tmp_path / "file" / "runs")

"""The history of releases: what is added once, read by others, and how its level changes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.history import trend as trend_command
from commands.history_files import add_summaries, list_contents, read_rows
from commands.session_gate import SessionHistory
from hitless.errors import UsageError
from reports.gate.rules import Figure
from reports.gate.simulation import RECORDED_MS
from reports.trend import Row, Trend, find_changes, levels, make_trend, render_trend, render_trend_page
from tests.unit.summaries import HOLDS_MS, changed, gated, summary, ungated, write

DOCUMENT = Path(__file__).parents[2] / "docs" / "history.md"


def test_every_trial_of_both_arms_is_a_row_with_its_figures(tmp_path: Path) -> None:
    assert add_summaries(tmp_path / "history", [write(tmp_path / "a", summary())], None) == (1, 0)
    rows = read_rows(tmp_path / "history")
    assert [(row.release, row.arm, row.trial) for row in rows] == [
        ("0.1.0", name, number) for name in ("UNGATED", "GATED") for number in range(1, 11)
    ]
    first, last = rows[0], rows[-1]
    assert (first.verdict, first.lost, first.ungated_downtime_ms, first.gate_hold_ms) == ("FAIL", 100, 120.0, None)
    assert (last.verdict, last.lost, last.ungated_downtime_ms, last.gate_hold_after_routes_ms) == ("PASS", 0, None, 98.0)
    assert (last.topology, last.carrier, last.interval_ms) == ("2 zones, 4 nodes, 8 pods", "ipip", 20.0)


def test_what_is_added_twice_is_there_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", summary())
    add_summaries(tmp_path / "history", [folder], None)
    assert add_summaries(tmp_path / "history", [folder, write(tmp_path / "b", summary("slow-routes"))], None) == (1, 1)
    assert list_contents(read_rows(tmp_path / "history"))[1:3] == [
        ("0.1.0", "plain-switch", "GATED", "10", "0", "10", "0", "0"),
        ("0.1.0", "slow-routes", "UNGATED", "10", "10", "0", "10", "0"),
    ]


def test_an_inconclusive_trial_has_no_figure(tmp_path: Path) -> None:
    doubtful = changed(summary(), "arms.GATED.per_trial.9.verdict", "INCONCLUSIVE")
    add_summaries(tmp_path / "history", [write(tmp_path / "a", doubtful)], None)
    assert read_rows(tmp_path / "history")[-1].gate_hold_after_routes_ms is None


def test_the_allowances_of_the_stored_decision_are_in_the_rows(tmp_path: Path) -> None:
    allowance = {"owner": "network team", "reason": "loopback", "expires": "2099-12-31"}
    finding = {"rule": "controls-silent", "scenario": "plain-switch", "allowance": allowance}
    folder = write(tmp_path / "session" / "plain-switch-gated", summary(GATED=gated()))
    (tmp_path / "session" / "gate.json").write_text(json.dumps({"findings": [finding, {**finding, "allowance": None}]}))
    add_summaries(tmp_path / "history", [tmp_path / "session"], None)
    said = "controls-silent until 2099-12-31 by network team: loopback"
    assert read_rows(tmp_path / "history")[0].allowances == (said,)
    trend = make_trend(read_rows(tmp_path / "history"), "plain-switch", Figure.GATE_HOLD)
    assert f"allowed: {said}" in render_trend(cast("Trend", trend))
    assert folder.is_dir()


def test_bad_input_adds_nothing(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", summary()), write(tmp_path / "bad", {"schema": "hitless.summary/9"})
    with pytest.raises(UsageError, match="newer than this version of hitless reads"):
        add_summaries(tmp_path / "history", [good, bad], None)
    nameless = write(tmp_path / "nameless", {**summary(), "parts": []})
    with pytest.raises(UsageError, match="give --release"):
        add_summaries(tmp_path / "history", [good, nameless], None)
    assert not (tmp_path / "history").exists()
    add_summaries(tmp_path / "history", [nameless], "v1")
    assert read_rows(tmp_path / "history")[0].release == "v1"


def test_files_of_another_kind_or_version_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no history here; create one with"):
        read_rows(tmp_path)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(UsageError, match=r"foreign.parquet: found no schema; expected hitless.history/1"):
        read_rows(tmp_path)
    (tmp_path / "foreign.parquet").write_bytes(b"no Parquet")
    with pytest.raises(UsageError, match=r"foreign.parquet"):
        read_rows(tmp_path)


def test_duckdb_reads_a_history_as_the_documentation_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_summaries(tmp_path / "history", [write(tmp_path / "a", summary())], "v1.2.0")
    monkeypatch.chdir(tmp_path)
    (query,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert duckdb.connect().execute(query).fetchall() == [("v1.2.0", 10, 0, 89.0)]


def test_the_documentation_names_every_column() -> None:
    named = set(re.findall(r"`(\w+)`", DOCUMENT.read_text(encoding="utf-8")))
    assert {field.name for field in fields(Row)} <= named


def rows(*levels_ms: float, carrier: str = "ipip", start: int = 0) -> list[Row]:
    """Ten gated trials of a release for each level, a day apart."""
    known = {"trial": 1, "verdict": "PASS", "topology": "2", "profile": "fast", "rate": "50", "backend": "lab", "kernel": "6"}
    return [
        Row(
            recorded_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
            release=f"v{number}",
            scenario="plain-switch",
            arm="GATED",
            carrier=carrier,
            threshold="2 s",
            interval_ms=20,
            offered=100,
            lost=0,
            gate_hold_after_routes_ms=hold + level,
            gate_hold_ms=None,
            convergence_ms=None,
            ungated_downtime_ms=None,
            gate_looks=9,
            allowances=(),
            **cast("dict[str, Any]", known),
        )
        for number, level in enumerate(levels_ms, start)
        for hold in HOLDS_MS
    ]


def trend_of(history: list[Row], figure: Figure = Figure.GATE_HOLD_AFTER_ROUTES) -> Trend:
    found = make_trend(history, "plain-switch", figure)
    assert found is not None
    return found


def test_a_change_of_the_level_is_found_at_its_release() -> None:
    found = trend_of(rows(0, 0, 0, 40, 40))
    assert [(point.release, point.is_change) for point in found.points if point.figure is not None] == [
        ("v0", False),
        ("v1", False),
        ("v2", False),
        ("v3", True),
        ("v4", False),
    ]
    lines = render_trend(found).splitlines()
    assert lines[-2].endswith("10 trials  <- the level changed")
    assert lines[-1].startswith("v4  " + "█" * 30 + "  129 [")


def test_histories_without_a_change_have_none_found_in_99_of_100() -> None:
    random = np.random.default_rng(1)
    histories = [[random.choice(RECORDED_MS, 10) for _ in range(8)] for _ in range(200)]
    assert sum(bool(find_changes(history)) for history in histories) <= 2


def test_a_level_that_rises_and_falls_has_two_changes() -> None:
    assert [point.is_change for point in trend_of(rows(0, 0, 60, 60, 0, 0)).points] == [False, False, True, False, True, False]


def test_one_release_and_equal_values_have_no_change() -> None:
    assert [point.is_change for point in trend_of(rows(0)).points] == [False]
    assert [point.is_change for point in trend_of(rows(0, 50), Figure.GATE_LOOKS).points] == [False, False]


def test_trials_of_another_set_up_are_left_out_and_counted() -> None:
    found = trend_of([*rows(0, carrier="vxlan"), *rows(0, 0, start=1)])
    assert ([point.release for point in found.points], found.left_out) == (["v1", "v2"], 10)
    assert "left out: 10 trials of other set-ups" in render_trend(found)


def test_a_figure_that_a_release_lacks_is_said() -> None:
    found = trend_of(rows(0), Figure.CONVERGENCE)
    assert "no trial has the figure  0 trials, 10 without it" in render_trend(found)
    assert make_trend(rows(0), "slow-routes", Figure.CONVERGENCE) is None


def end_session(tmp_path: Path, document: dict[str, Any], status: int = 0) -> tuple[int, str]:
    write(tmp_path / "session" / "plain-switch-gated", document)
    plugin = SessionHistory(history=tmp_path / "history", release=None, find_records=lambda: tmp_path / "session")
    session = SimpleNamespace(exitstatus=status)
    plugin.pytest_sessionfinish(cast("pytest.Session", session))
    lines: list[str] = []
    plugin.pytest_terminal_summary(cast("pytest.TerminalReporter", SimpleNamespace(write_line=lines.append)))
    return session.exitstatus, lines[0]


def test_a_session_adds_its_summaries_whether_its_tests_passed_or_not(tmp_path: Path) -> None:
    added = end_session(tmp_path, summary(UNGATED=ungated()), status=1)
    assert added == (1, f"history: 1 summary added to {tmp_path / 'history'}")
    assert len(read_rows(tmp_path / "history")) == 10


def test_a_session_that_cannot_add_its_summaries_fails(tmp_path: Path) -> None:
    code, text = end_session(tmp_path, {**summary(), "parts": []})
    assert (code, "give --release" in text) == (2, True)


def test_the_page_draws_levels_changes_and_allowances() -> None:
    history = [replace(row, allowances=("a < b",) if row.release == "v2" else ()) for row in rows(0.0, 1.0, 60.0)]
    trend = trend_of(history)
    page = render_trend_page([trend])
    picture = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # noqa: S314 - made above
    styles = [shape.get("class") for shape in picture.iter()]
    assert [styles.count(name) for name in ("mean", "whisker", "level", "change")] == [3, 3, 2, 1]
    assert [text.text for text in picture.iter("text")][-2:] == ["▲", "v2"]
    assert "<td>a &lt; b</td>" in page
    assert [(first, last) for first, last, _ in levels(trend.points)] == [(0, 1), (2, 2)]
    assert "http" not in page


def test_a_page_of_one_release_of_zeros_is_drawn() -> None:
    history = [replace(row, gate_hold_after_routes_ms=0.0) for row in rows(0.0)]
    assert render_trend_page([trend_of(history)]).count('class="mean"') == 1


def test_the_command_writes_a_page_with_every_figure_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_summaries(tmp_path / "history", [write(tmp_path / "a", summary())], "v1")
    trend_command(tmp_path / "history", page=tmp_path / "trend.html")
    assert capsys.readouterr().out.startswith("gate-hold-after-routes of plain-switch, ms")
    page = (tmp_path / "trend.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2>([\w-]+), (\w+)</h2>", page) == [
        ("gate-hold-after-routes", "ms"),
        ("gate-hold", "ms"),
        ("convergence", "ms"),
        ("ungated-downtime", "ms"),
        ("gate-looks", "looks"),
    ]

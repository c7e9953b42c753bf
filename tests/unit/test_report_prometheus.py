"""Prometheus text says what the summary says, and Prometheus's own parser reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from analysis.comparison import Comparison
from commands import compare
from commands.compare import judge_stored
from commands.options import Format, check_folder
from commands.reporting import write_prometheus
from hitless.errors import UsageError
from hitless.history import History
from hitless.words import Arm, Verdict
from reports.prometheus import render_prometheus
from reports.summary import Summary, summarise
from tests.unit.comparisons import comparison, judged, realistic
from tests.unit.histories import QUIET, header, history, lost, records


def _samples(summary: Summary) -> dict[tuple[str, str, str], float]:
    """Return the samples by name, arm, and verdict or bound."""
    return {
        (sample.name, sample.labels.get("arm", ""), sample.labels.get("verdict", sample.labels.get("bound", ""))): sample.value
        for family in text_string_to_metric_families(render_prometheus(summary))
        for sample in family.samples
    }


def test_it_has_the_figures_of_both_arms_in_seconds() -> None:
    summary = summarise(comparison())
    found = _samples(summary)
    totals = summary.arms[Arm.UNGATED].totals
    assert totals.downtime_ms_max is not None
    expected = {
        ("hitless_verdict", "", "PASS"): 1.0,
        ("hitless_verdict", "", "FAIL"): 0.0,
        ("hitless_trials", "UNGATED", "FAIL"): 2.0,
        ("hitless_probes_lost", "UNGATED", ""): 728.0,
        ("hitless_probes_lost", "GATED", ""): 0.0,
        ("hitless_flows_hit", "UNGATED", ""): 16.0,
        ("hitless_downtime_max_seconds", "UNGATED", "shortest"): totals.downtime_ms_max.shortest / 1000,
        ("hitless_downtime_max_seconds", "GATED", "longest"): 0.0,
        ("hitless_gate_hold_max_seconds", "GATED", ""): 0.427,
        ("hitless_accuracy_seconds", "", ""): 0.005,
        ("hitless_probes_unexplained", "GATED", ""): 0.0,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_what_has_no_bound_or_does_not_apply_is_left_out() -> None:
    run = judged(history(header=header(arm=Arm.UNGATED), records=records({1: lost(40, 18), 2: QUIET})))
    found = _samples(summarise(Comparison(runs=(run,))))
    assert ("hitless_downtime_max_seconds", "UNGATED", "shortest") in found
    names = {name for name, _, bound in found if bound != "shortest"}
    assert not names & {"hitless_downtime_max_seconds", "hitless_gate_hold_max_seconds", "hitless_probes_unexplained"}


def test_a_label_cannot_break_the_text() -> None:
    summary = replace(summarise(comparison(1)), scenario='a"b\\c\nd')
    families = list(text_string_to_metric_families(render_prometheus(summary)))
    assert {sample.labels["scenario"] for family in families for sample in family.samples} == {'a"b\\c\nd'}


@pytest.mark.parametrize("is_single", [False, True])
def test_judging_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_single: bool) -> None:
    def read(folder: Path, **_how: bool) -> History:
        return realistic(Arm(folder.name.split("-")[0].upper()), 1)

    monkeypatch.setattr(compare, "read_history", read)
    for name in ("gated-1", "ungated-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    path = tmp_path / "gated-1" if is_single else tmp_path
    assert judge_stored(path, Format.JSON, tmp_path / "hitless.prom") is Verdict.PASS
    text = (tmp_path / "hitless.prom").read_text()
    assert 'hitless_probes_lost{scenario="plain-switch",arm="GATED"} 0.0\n' in text
    assert ('arm="UNGATED"' in text) is not is_single


def test_a_folder_that_is_missing_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--prometheus: found .*nowhere/x.prom; expected a file in a folder that exists"):
        check_folder("--prometheus", tmp_path / "nowhere" / "x.prom")
    check_folder("--prometheus", tmp_path / "x.prom")
    check_folder("--prometheus", None)


def test_the_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    summary = summarise(comparison(1))
    write_prometheus(tmp_path / "x.prom", summary)
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]
    assert (tmp_path / "x.prom").read_text(encoding="utf-8") == render_prometheus(summary)


def test_without_a_file_or_a_summary_nothing_is_written(tmp_path: Path) -> None:
    write_prometheus(None, summarise(comparison(1)))
    write_prometheus(tmp_path / "x.prom", None)
    assert list(tmp_path.iterdir()) == []

"""A run whose files were cut at any byte: read as far as it goes, never a success, and what is missing is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from commands.compare import judge_stored
from commands.options import Format
from hitless.errors import RecordDamagedError
from hitless.store import RunStore, read_history
from hitless.words import Arm, Verdict
from tests.clocks import JumpingClock
from tests.unit.comparisons import realistic

WHOLE = {"run.json", "cluster.json"}
"""Without them nothing can be judged."""
JUDGED = ("final.json", "agents.json", "sender.parquet", "reflector.parquet", "skipped.parquet", "clocks.parquet")
EVENTS = "events.jsonl"


def store(directory: Path, arm: Arm, *, gate_leaks: int = 0) -> Path:
    known, stored = realistic(arm, 1, gate_leaks=gate_leaks), RunStore(directory, JumpingClock())
    stored.write_header(known.header)
    stored.write_cluster(known.facts, known.flows, known.counters_before)
    for event in known.events:
        stored.events.record(event.name, t_ns=event.t_ns, **event.facts)
    stored.write_records(known.records)
    stored.write_final(known.counters_after, known.final_nodes, known.final_objects, ())
    stored.close()
    return directory


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("whole") / "gated-1", Arm.GATED)


def _cut(whole: Path, tmp_path: Path, name: str, share: float) -> Path:
    copy = shutil.copytree(whole, tmp_path / "gated-1")
    os.truncate(copy / name, int((copy / name).stat().st_size * share))
    return copy


def test_a_run_that_is_whole_is_a_success(whole: Path) -> None:
    assert judge_stored(whole, Format.TEXT) is Verdict.PASS


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("name", [*JUDGED, "connections.parquet", "overflows.parquet"])
def test_a_run_with_a_cut_file_is_judged_without_it_and_names_it(
    whole: Path, tmp_path: Path, name: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = _cut(whole, tmp_path, name, share)
    assert judge_stored(copy, Format.JSON) is Verdict.INCONCLUSIVE
    texts = [one["text"] for result in json.loads(capsys.readouterr().out)["results"] for one in result["findings"]]
    expected = f"a file is left out, because it cannot be read: {copy / name}: "
    assert [text for text in texts if text.startswith(expected)], texts


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.995])
def test_events_are_read_up_to_the_cut(whole: Path, tmp_path: Path, share: float) -> None:
    copy = _cut(whole, tmp_path, EVENTS, share)
    kept = read_history(copy).events
    assert kept == read_history(whole).events[: len(kept)]
    assert judge_stored(copy, Format.TEXT) is Verdict.INCONCLUSIVE


def test_events_behind_a_line_that_was_overwritten_are_left_out(whole: Path, tmp_path: Path) -> None:
    copy = _cut(whole, tmp_path, EVENTS, 1.0)
    lines = (copy / EVENTS).read_text().splitlines(keepends=True)
    (copy / EVENTS).write_text("".join([*lines[:3], "{\x00\n", *lines[4:]]))
    with pytest.raises(RecordDamagedError, match=r"events\.jsonl: line 4"):
        read_history(copy)
    history = read_history(copy, must_be_whole=False)
    assert len(history.events) == 3
    assert "line 4" in history.errors[-1]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_without_its_header_or_its_cluster_a_run_has_nothing_to_judge(
    whole: Path, tmp_path: Path, name: str, share: float
) -> None:
    with pytest.raises(RecordDamagedError, match=name):
        judge_stored(_cut(whole, tmp_path, name, share), Format.TEXT)


@pytest.mark.parametrize(("leaks", "verdict"), [(0, Verdict.INCONCLUSIVE), (3, Verdict.FAIL)])
def test_in_a_comparison_the_whole_runs_decide_and_the_cut_one_is_named(
    tmp_path: Path, leaks: int, verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "ungated-1", Arm.UNGATED)
    store(tmp_path / "gated-1", Arm.GATED, gate_leaks=leaks)
    cut = store(tmp_path / "gated-2", Arm.GATED)
    os.truncate(cut / "reflector.parquet", 100)
    assert judge_stored(tmp_path, Format.JSON) is verdict
    found = json.loads(capsys.readouterr().out)["findings"]
    assert next(one["text"] for one in found if one["code"] == "run-damaged").startswith(
        f"a run cannot be read and is excluded: {cut}/reflector.parquet: "
    )

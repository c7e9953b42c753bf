"""Tables, the markers of a document, and what the driver refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.command import QUESTIONS, SCHEMA, choose, run_bench
from bench.tables import BenchFormat, Table, fill_in, to_markdown
from commands.options import Outcome
from hitless.errors import UsageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
TABLE = Table(title="Size", columns=("tool", "mean"), rows=(("a |\n b", "1.0"),), note="In metres.")
MACHINE = {"at": "now", "cores": 2, "kernel": "6.18", "python": "3.11", "load_before": 0.1, "programs": {"fping": "5.1"}}


def store(path: Path, answers: dict[str, object], schema: str = SCHEMA) -> Path:
    path.write_text(json.dumps({"schema": schema, "quick": False, "machine": MACHINE, "answers": answers}))
    return path


def test_a_table_becomes_markdown() -> None:
    assert to_markdown(TABLE) == "**Size**\n\n| tool | mean |\n|---|---:|\n| a \\| b | 1.0 |\n\nIn metres.\n"


def test_a_piece_replaces_what_is_between_its_markers() -> None:
    text = "# A\n<!-- bench:x -->\nold \\1\n<!-- /bench:x -->\nrest\n"
    assert fill_in(text, {"x": "new \\1\n"}, "it") == "# A\n<!-- bench:x -->\nnew \\1\n<!-- /bench:x -->\nrest\n"


def test_missing_markers_are_refused() -> None:
    with pytest.raises(UsageError, match="it: found no <!-- bench:y --> with"):
        fill_in("<!-- bench:x -->\n<!-- /bench:x -->", {"y": ""}, "it")


def test_the_document_has_a_place_for_every_question() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert fill_in(text, dict.fromkeys(["machine", *(question.name for question in QUESTIONS)], ""), "it") != ""


def test_questions_are_chosen_by_name_in_their_own_order() -> None:
    assert [question.name for question in choose("mesh, accuracy")] == ["accuracy", "mesh"]
    assert choose(None) == QUESTIONS
    with pytest.raises(UsageError, match="--only: found 'speed'; expected accuracy, peers, cpu, rate, mesh, bringup, causes"):
        choose("speed")


def test_a_stored_benchmark_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, object] = {
        "nodes": 4,
        "up_s": 0.02,
        "down_s": 0.001,
        "ip_batch_up_s": 0.04,
        "mininet_up_s": None,
        "mininet_down_s": None,
    }
    row["skipped"] = {"mininet": "mn is not installed"}
    path = store(tmp_path / "bench.json", {"bringup": {"rows": [row]}})
    document = tmp_path / "doc.md"
    document.write_text("".join(f"<!-- bench:{name} -->\n<!-- /bench:{name} -->\n" for name in ("machine", "bringup")))
    run_bench(is_quick=False, only="bringup", output_format=BenchFormat.MARKDOWN, stored=path, into=document)
    line = "| 4 | 0.020 | 0.0010 | 0.040 | 0.50 | skipped: mn is not installed |  |  |"
    assert line in capsys.readouterr().out
    assert line in document.read_text()
    assert "Measured now on 2 cores, Linux 6.18" in document.read_text()


def test_a_question_that_failed_is_shown_and_ends_as_inconclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store(tmp_path / "bench.json", {"mesh": {"failed": "no lab"}})
    with pytest.raises(Outcome) as raised:
        run_bench(is_quick=False, only="mesh", output_format=BenchFormat.TEXT, stored=path, into=None)
    assert raised.value.code == 20
    assert "no lab" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "a bench.json"),
        ("[]", "expected hitless.bench/2"),
        ('{"schema": "hitless.bench/1"}', "found 'hitless.bench/1'; expected hitless.bench/2"),
        ('{"schema": "hitless.bench/2", "answers": {"cpu": {}}}', "no answer to mesh; use --only cpu"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        run_bench(is_quick=False, only="mesh", output_format=BenchFormat.TEXT, stored=path, into=None)

"""The table of what was seen where says what stored summaries say, and the newest of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.evidence import DOCUMENT, ROWS, Seen, dump_rows, find_summaries, load_rows, merge, read_rows, to_table
from bench.tables import fill_in
from hitless.errors import UsageError
from hitless.words import JsonObject

ROOT = Path(__file__).parents[2]
ROW = Seen(
    scenario="plain-switch",
    arm="GATED",
    cluster="kind",
    carrier="vxlan",
    real="calico v3.28.4, kernel 6.18.44",
    gardener="doubles",
    nodes=2,
    verdicts="1 FAIL, 2 PASS",
    lost="3 of 1,000",
    date="2026-11-28 22:36",
)


def summary() -> JsonObject:
    trials = [{"verdict": verdict} for verdict in ("PASS", "FAIL", "PASS")]
    return {
        "schema": "hitless.summary/2",
        "scenario": "plain-switch",
        "cluster": "kind",
        "carrier": "vxlan",
        "parts": [
            {"name": "extension", "is_double": True, "version": "0.1.0"},
            {"name": "calico", "is_double": False, "version": "v3.28.4"},
            {"name": "kernel", "is_double": False, "version": "6.18.44-built-somewhere"},
            {"name": "tunnel", "is_double": False, "version": "vxlan"},
            {"name": "kubernetes", "is_double": False, "version": ""},
        ],
        "topology": {"nodes": 2},
        "arms": {"GATED": {"per_trial": trials, "totals": {"lost": 3, "offered": 1000}}},
    }


def store(tmp_path: Path, document: object, folder: str = "20261128T223655Z-suites") -> Path:
    path = tmp_path / folder / "arm" / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_row_says_what_the_summary_says(tmp_path: Path) -> None:
    path = store(tmp_path, summary())
    assert find_summaries([tmp_path]) == (path.resolve(),)
    assert read_rows(path) == (ROW,)
    assert load_rows(dump_rows([ROW])) == (ROW,)


def test_it_is_said_which_of_gardeners_parts_were_programs(tmp_path: Path) -> None:
    extension = {"name": "extension", "is_double": False, "version": "v1.60"}
    manager = {"name": "resource manager", "is_double": False, "version": "v1.148"}
    controller = {"name": "route controller", "is_double": False, "version": "v0.17"}
    document = summary()
    rest = document["parts"][1:]
    described = []
    for number, parts in enumerate([[extension, manager, {**controller, "is_double": True}], [extension, manager, controller]]):
        path = store(tmp_path / str(number), {**document, "parts": [*parts, *rest]})
        described += [(row.real, row.gardener) for row in read_rows(path)]
    assert described == [
        (ROW.real, "extension v1.60, resource manager v1.148; double: route controller"),
        (ROW.real, "extension v1.60, resource manager v1.148, route controller v0.17"),
    ]


@pytest.mark.parametrize("document", [{}, {"schema": "other/1"}, {**summary(), "arms": 3}, []])
def test_what_is_no_summary_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(UsageError):
        read_rows(store(tmp_path, document))


def test_a_folder_without_a_time_or_without_summaries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no time in the path"):
        read_rows(store(tmp_path, summary(), "somewhere"))
    with pytest.raises(UsageError, match=r"no summary\.json"):
        find_summaries([tmp_path / "nowhere"])


def test_a_newer_run_of_the_same_replaces_the_older_and_no_other() -> None:
    newer, other = replace(ROW, date="2026-12-01 00:00", lost="0 of 900"), replace(ROW, real="calico v3.31.6")
    assert merge([ROW, other], [newer]) == (newer, other)
    assert merge([newer], [ROW]) == (newer,)


def test_the_document_is_what_the_command_makes_of_the_rows() -> None:
    rows, text = load_rows((ROOT / ROWS).read_text(encoding="utf-8")), (ROOT / DOCUMENT).read_text(encoding="utf-8")
    assert rows
    assert fill_in(text, {"evidence": to_table(rows)}, "docs/evidence.md") == text
    assert "never run on a cloud Shoot" in text

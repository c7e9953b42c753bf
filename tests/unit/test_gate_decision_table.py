"""The rule decision-table: asked of a released extension alone, by a file that belongs to both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.gate import GateOptions, gate_release
from commands.options import GateFormat
from hitless.errors import UsageError
from reports.gate.decision_table import ask_table, parse_table
from reports.gate.rules import RuleFinding, State
from tests.unit.summaries import changed, side, summary

CASES = {"no-route": "hold", "all-routes": "proceed", "gate-off": "not applicable"}
OLD, NEW = "sha256:aa", "sha256:bb"


def part(digest: str, version: str = "v1.61.0") -> dict[str, Any]:
    return {"name": "extension", "is_double": False, "version": version, "digest": digest, "path": "/programs/extension"}


def real(digest: str) -> dict[str, Any]:
    return changed(summary(), "parts", [part(digest)])


def table(*, other: str | None = OLD, **changes: str) -> dict[str, Any]:
    asked = CASES | changes
    return {
        "schema": "hitless.conform/1",
        "program": part(NEW, "v1.62.0"),
        "other": None if other is None else part(other),
        "asked": asked,
        "against": CASES,
        "different": sorted(changes),
    }


def ask(document: dict[str, Any] | None, candidate: dict[str, Any], baseline: dict[str, Any]) -> RuleFinding | None:
    stored = None if document is None else parse_table(json.dumps(document).encode(), "conform.json")
    return ask_table(stored, side(candidate), side(baseline, name="BASELINE"))


def test_a_double_is_not_asked() -> None:
    assert ask(None, summary(), summary()) is None


def test_without_a_table_a_released_extension_is_not_known_and_the_command_is_named() -> None:
    found = ask(None, real(NEW), real(OLD))
    assert found is not None
    assert (found.state, "hitless conform --extension" in found.next_step) == (State.NOT_KNOWN, True)


@pytest.mark.parametrize("other", [OLD, None])
def test_a_program_that_decides_as_before_holds_the_rule(other: str | None) -> None:
    found = ask(table(other=other), real(NEW), real(OLD))
    assert found is not None
    assert (found.state, found.evidence, found.text.startswith("0 of 3 cases differ from ")) == (
        State.HOLDS,
        "conform.json",
        True,
    )


def test_a_decision_that_changed_breaks_the_rule_and_is_named() -> None:
    found = ask(table(**{"no-route": "proceed"}), real(NEW), real(OLD))
    assert found is not None
    assert found.state is State.BROKEN
    assert found.text == "1 of 3 cases differ from extension v1.61.0 (real) sha256:aa: no-route: proceed, not hold"


@pytest.mark.parametrize(
    ("document", "candidate", "baseline", "message"),
    [
        (table(), summary(), summary(), "the CANDIDATE's extension is a double"),
        (
            table(),
            real("sha256:cc"),
            real(OLD),
            "decision table of CANDIDATE's extension v1.61.0 .real. sha256:cc",
        ),
        (table(), real(NEW), real("sha256:cc"), "expected the decision table of BASELINE's extension"),
        (table(), real(NEW), summary(), "expected the decision table of BASELINE's extension 0.1.0 .double."),
    ],
)
def test_a_table_of_other_programs_is_refused(
    document: dict[str, Any], candidate: dict[str, Any], baseline: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(document, candidate, baseline)


@pytest.mark.parametrize(
    "change",
    [{"schema": "hitless.conform/2"}, {"different": ["no-route"]}, {"asked": {}}, {"against": {}}, {"program": None}],
)
def test_a_file_that_is_no_table_or_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"conform\.json: .*expected a hitless\.conform/1"):
        parse_table(json.dumps(table() | change).encode(), "conform.json")


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"no-route": "proceed"}, 1)])
def test_the_gate_obeys_the_table(
    tmp_path: Path, changes: dict[str, str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, document in (("base", real(OLD)), ("next", real(NEW)), ("table", table(**changes))):
        (tmp_path / name).write_text(json.dumps(document), encoding="utf-8")
    paths = [tmp_path / "base", tmp_path / "next"]
    assert gate_release(paths, GateOptions(decisions=tmp_path / "table"), GateFormat.TEXT) == code
    assert "decision-table" in capsys.readouterr().out

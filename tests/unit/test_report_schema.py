"""reports/summary.schema.json is what the summary's dataclasses say, and what the documents keep to.

`python -m tests.unit.test_report_schema` writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]  # it has no types
from pydantic import TypeAdapter

import reports.summary
from analysis.comparison import Comparison
from commands.arms import judge_history
from hitless.store import read_history
from hitless.words import Arm, JsonObject
from reports.summary import SCHEMA, Summary, summarise
from tests.unit.comparisons import comparison, judged, realistic
from tests.unit.histories import header, history, lost, records
from tests.unit.test_cut_records import store
from tests.unit.test_report_load import with_load

PATH = Path(reports.summary.__file__).with_name("summary.schema.json")


def make_schema() -> dict[str, Any]:
    """Return the JSON Schema of a document: every field is there, and no other."""
    schema = TypeAdapter(Summary).json_schema(mode="serialization")
    for part in (schema, *schema["$defs"].values()):
        # A docstring explains a class to people who read its code.
        part.pop("description", None)
        if part["type"] == "object":
            part |= {"additionalProperties": False, "required": list(part["properties"])}
    schema["properties"] = {"schema": {"const": SCHEMA, "type": "string"}, **schema["properties"]}
    schema["required"].insert(0, "schema")
    return {"$schema": Draft202012Validator.META_SCHEMA["$id"], **schema, "title": SCHEMA}


def test_the_stored_schema_is_that_of_the_dataclasses() -> None:
    assert json.loads(PATH.read_bytes()) == make_schema(), __doc__


def _censored() -> Comparison:
    run = history(header=header(arm=Arm.UNGATED), records=records({1: lost(48, 10)}))
    return Comparison(runs=(judged(run),), damaged=("gated-1/run.json: cut",))


def check_schema(document: JsonObject) -> None:
    """Refuse a document that does not keep to the stored schema. Raises ValidationError."""
    Draft202012Validator(json.loads(PATH.read_bytes())).validate(document)


def _one_arm() -> Comparison:
    """As `hitless watch`, and an arm of the suites."""
    return Comparison(runs=(judged(realistic(Arm.GATED, 1)),), has_rule=False)


@pytest.mark.parametrize("make", [comparison, lambda: comparison(1, gate_leaks=3), with_load, _censored, _one_arm])
def test_every_document_keeps_to_the_schema(make: Any) -> None:  # noqa: ANN401 - of several shapes
    check_schema(summarise(make()).as_json())


@pytest.mark.parametrize("name", ["final.json", "agents.json", "sender.parquet", "reflector.parquet", "events.jsonl"])
def test_the_document_of_a_run_that_was_cut_keeps_to_the_schema(tmp_path: Path, name: str) -> None:
    folder = store(tmp_path / "gated-1", Arm.GATED)
    os.truncate(folder / name, (folder / name).stat().st_size // 2)
    run = judge_history(read_history(folder, must_be_whole=False))
    check_schema(summarise(Comparison(runs=(run,), has_rule=False)).as_json())


@pytest.mark.parametrize(
    "change",
    [{"schema": "hitless.summary/1"}, {"verdict": "MAYBE"}, {"interval_ms": "5"}, {"downtime": 3}, {"arms": {"C": {}}}],
)
def test_a_document_that_does_not_keep_to_it_is_refused(change: dict[str, object]) -> None:
    document = summarise(comparison(1)).as_json() | change
    with pytest.raises(ValidationError):
        check_schema(document)


if __name__ == "__main__":
    PATH.write_text(json.dumps(make_schema(), indent=1) + "\n", encoding="utf-8")

"""Drawn scenarios in the lab: with a correct gate and honest routes no probe is lost, and what is left behind is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import Phase, given, note, settings

from commands.arms import execute_trial
from commands.backends import make_backend
from commands.performers import SwitchName, make_performer
from commands.settings import BackendName
from hitless.words import Arm, JsonObject, Verdict
from scenarios.plan import Options, make_case
from tests.generated import documents, load_document

EXAMPLES = 3
"""About 5 s each. More of them: raise it; shrinking is left to tests/unit/test_generated.py."""


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=(Phase.generate,))
@given(document=documents())
def test_a_drawn_switch_loses_nothing_and_leaves_nothing(
    document: JsonObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    note(json.dumps(document, indent=1))
    folder: Path = tmp_path_factory.mktemp("generated")
    case = make_case(load_document(document, folder), Options(rate_hz=50))
    lab, doubles = make_backend(BackendName.LAB), make_performer(SwitchName.DOUBLES)
    judged = execute_trial(lab, doubles, case, Arm.GATED, 1, folder / "1")
    found = [finding for result in judged.results for finding in result.findings if finding.verdict is Verdict.FAIL]
    assert found == []
    assert {result.verdict for result in judged.results if result.check == "books"} == {Verdict.PASS}

"""Drawn scenarios in the lab: no probe is lost with a correct gate and honest routes; no cause exceeds its counter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import Phase, given, note, settings

from analysis.causes.candidates import CauseKind
from analysis.evidence import JudgedRun
from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from hitless.words import Arm, JsonObject, Verdict
from scenarios.plan import Options, make_case
from tests.generated import documents, load_document

DRAWN: Final = settings(deadline=None, derandomize=True, database=None, phases=(Phase.generate,))
"""About 5 s an example; shrinking is left to tests/unit/test_generated.py."""
COUNTED: Final = {
    "IpExt.InNoRoutes": {CauseKind.POOL_BEFORE_ROUTES, CauseKind.CLEANUP_BEFORE_ROUTES, CauseKind.ROUTE_DELETED},
    "TcpExt.IPReversePathFilter": {CauseKind.REVERSE_PATH_FILTER},
}
"""Counter to the causes that move it."""
ROUNDING: Final = 1
"""Packet."""


def execute(document: JsonObject, arm: Arm, folder: Path) -> JudgedRun:
    note(json.dumps(document, indent=1))
    case = make_case(load_document(document, folder), Options(rate_hz=50))
    lab, doubles = make_backend(BackendName.LAB), make_performer(SwitchName.DOUBLES)
    return execute_trial(lab, doubles, case, arm, 1, folder / "1")


def verdicts_of(run: JudgedRun, check: str) -> set[Verdict]:
    return {result.verdict for result in run.results if result.check == check}


@settings(DRAWN, max_examples=2)
@given(document=documents())
def test_a_drawn_switch_loses_nothing_and_leaves_nothing(
    document: JsonObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    judged = execute(document, Arm.GATED, tmp_path_factory.mktemp("generated"))
    found = [finding for result in judged.results for finding in result.findings if finding.verdict is Verdict.FAIL]
    assert found == []
    assert verdicts_of(judged, "books") == {Verdict.PASS}


@settings(DRAWN, max_examples=1)
@given(document=documents(is_plain=True))
def test_no_cause_of_a_drawn_switch_without_the_gate_exceeds_its_counter(
    document: JsonObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    judged = execute(document, Arm.UNGATED, tmp_path_factory.mktemp("generated"))
    assert verdicts_of(judged, "continuity") == {Verdict.FAIL}
    assert verdicts_of(judged, "books") == {Verdict.PASS}
    history = judged.history
    for counter, kinds in COUNTED.items():
        claimed = sum(
            cause.score * said.outage.lost for said in judged.evidence.causes for cause in said.causes if cause.kind in kinds
        )
        assert claimed <= sum(history.moved(counter, [place]) or 0 for place in history.counters_after) + ROUNDING

"""Broken gates in the lab: packets show what the decision table says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from hitless.words import Arm, Verdict
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Options, make_case


@pytest.mark.parametrize(
    ("mutant", "scenario"),
    [
        ("forgets-last-node", "mutant-first-node"),
        ("never-applies", "plain-switch"),
        ("opens-on-api-error", "kube-api-away"),
        ("skips-deleting-nodes", "node-deleting-without-route"),
    ],
)
def test_packets_are_lost_with_a_mutant_where_the_real_decision_loses_none(mutant: str, scenario: str, tmp_path: Path) -> None:
    loaded = load_scenario(find_scenario(scenario))
    arm = loaded.arms[Arm.GATED].model_copy(update={"mutant": mutant})
    case = make_case(loaded.model_copy(update={"arms": {Arm.GATED: arm}}), Options())
    judged = execute_trial(
        make_backend(BackendName.LAB), make_performer(SwitchName.DOUBLES), case, Arm.GATED, 1, tmp_path / "1"
    )
    failing = {result.check for result in judged.results if result.verdict is Verdict.FAIL}
    assert {"continuity"} <= failing

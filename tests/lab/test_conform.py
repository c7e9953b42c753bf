"""`hitless conform`: a reference program that decides as the double does conforms; one with a defect is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.conform import conform
from commands.options import Format
from hitless.words import Verdict
from tests.lab.test_programs import assets, reference, write_program

__all__ = ["assets"]

DEFECT = (
    "from dataclasses import replace\n"
    "from gardener.gate import decide_with\n"
    "from tests.programs import reference_extension\n"
    "reference_extension.decide = lambda knowledge: decide_with(knowledge, lambda nodes: ())\n"
    "reference_extension.main()"
)
"""A gate that is open whatever the nodes say."""


@pytest.mark.usefixtures("assets")
def test_a_gate_that_is_always_open_differs_in_every_case_that_holds_and_in_no_other(tmp_path: Path) -> None:
    broken = write_program(tmp_path / "broken", DEFECT)
    verdict = conform(broken, reference(tmp_path, "extension"), tmp_path / "runs", Format.JSON)
    document = json.loads((tmp_path / "runs" / "latest" / "conform.json").read_text(encoding="utf-8"))
    held = [name for name, outcome in document["against"].items() if outcome == "hold"]
    assert verdict is Verdict.FAIL
    assert len(held) > 40
    assert document["different"] == sorted(held)

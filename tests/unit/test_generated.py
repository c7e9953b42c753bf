"""Drawn scenarios, played with the doubles in memory: the overlay never goes away before every route exists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, note, settings

from gardener.doubles.mutants import MUTANTS
from gardener.gate import decide
from hitless.words import JsonObject
from scenarios.plan import Options, make_case
from tests.generated import documents, load_document
from tests.mutants import play


@settings(max_examples=25, deadline=None)
@given(document=documents())
def test_a_correct_gate_lets_the_overlay_go_only_when_every_route_exists(
    document: JsonObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    note(json.dumps(document, indent=1))
    outcome = play(make_case(load_document(document, tmp_path_factory.mktemp("generated")), Options()), decide)
    assert outcome.late == 0
    assert outcome.modes[-1:] == ("NATIVE",)


def test_a_broken_gate_is_found_and_the_example_shrinks_to_a_scenario_that_loads(tmp_path: Path) -> None:
    failed: list[JsonObject] = []

    @settings(max_examples=20, deadline=None, database=None)
    @given(document=documents())
    def play_broken(document: JsonObject) -> None:
        late = play(make_case(load_document(document, tmp_path), Options()), MUTANTS["takes-absent-for-created"]).late
        if late:
            failed.append(document)
        assert late == 0

    with pytest.raises(AssertionError):
        play_broken()
    smallest = failed[-1]
    assert (smallest["topology"], smallest["faults"], smallest["then"]) == ({"zones": 2, "nodes_per_zone": 1}, [], [])
    assert load_document(smallest, tmp_path).name == "generated"

"""The decision table catches every broken gate, and no gate that is only written otherwise."""

from __future__ import annotations

import pytest

from gardener.doubles.mutants import MUTANTS
from gardener.gate import decide
from tests.mutants import VARIANTS, find_rows, plain_cases, play


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_row_catches_the_mutant(name: str) -> None:
    assert find_rows(MUTANTS[name]) != ()


@pytest.mark.parametrize("name", list(VARIANTS))
def test_no_row_and_no_scenario_catches_a_correct_variant(name: str) -> None:
    assert find_rows(VARIANTS[name]) == ()
    case = next(case for case in plain_cases() if case.scenario.name == "plain-switch")
    assert play(case, VARIANTS[name]) == play(case, decide)


@pytest.mark.parametrize(
    ("mutant", "scenario"),
    [
        ("opens-on-first-node", "route-quota"),
        ("forgets-last-node", "mutant-first-node"),
        ("ignores-reason", "mutant-ignores-reason"),
        ("takes-absent-for-created", "plain-switch"),
        ("opens-on-api-error", "kube-api-away"),
        ("skips-deleting-nodes", "node-deleting-without-route"),
        ("holds-without-nodes", "no-nodes"),
        ("ignores-feature-gate", "feature-gate-off"),
        ("wants-no-v1beta1", "node-joins-during-hold"),
        ("ignores-policy", "admission-unavailable"),
        ("fails-closed", "manifest-unreadable"),
        ("holds-without-switch", "dual-stack"),
    ],
)
def test_a_scenario_comes_to_something_else_with_the_mutant(mutant: str, scenario: str) -> None:
    case = next(case for case in plain_cases() if case.scenario.name == scenario)
    assert play(case, MUTANTS[mutant]) != play(case, decide)

"""What counts as caught, and how it is told; what catches each broken gate is asked by suites/test_mutants.py."""

from __future__ import annotations

import pytest

from tests.mutants import UNREACHED, Catch, describe_total, find_catch


@pytest.mark.parametrize(
    ("name", "rows", "scenarios", "is_caught"),
    [
        ("ignores-status", ("True RouteCreated",), ("condition-unknown",), True),
        ("ignores-status", (), ("condition-unknown",), False),
        ("ignores-status", ("True RouteCreated",), (), False),
        ("ignores-case", ("in small letters",), (), True),
        ("ignores-case", ("in small letters",), ("condition-unknown",), False),
        ("ignores-case", (), (), False),
    ],
)
def test_a_gate_is_caught_by_a_row_and_by_a_scenario_unless_no_cluster_comes_to_the_row(
    name: str, rows: tuple[str, ...], scenarios: tuple[str, ...], *, is_caught: bool
) -> None:
    assert Catch(name=name, rows=rows, scenarios=scenarios).is_caught is is_caught


def test_a_gate_is_told_with_its_row_and_its_scenarios_or_why_there_are_none() -> None:
    assert find_catch("waits-for-ready").describe() == (
        "waits-for-ready: 1 of 87 rows, such as 'a node that is not Ready, with route'; scenarios: node-not-ready"
    )
    assert Catch(name="ignores-case", rows=(), scenarios=()).describe() == (
        f"ignores-case: no row; scenarios: none: {UNREACHED['ignores-case']}"
    )


def test_the_total_counts_each_scenario() -> None:
    catches = [
        Catch(name="a", rows=("x",), scenarios=("one", "two")),
        Catch(name="b", rows=("y",), scenarios=("two",)),
        Catch(name="c", rows=("z",), scenarios=()),
    ]
    assert describe_total(catches) == (
        "broken gates caught by the decision table: 3 of 3; by a scenario: 2 of 3 (one 1, two 2)"
    )

"""Gates that are broken on purpose: a row of the decision table names each, and a scenario shows it.

The scenarios are played in memory, without packets. With --scenario, only the gates that these scenarios have are asked.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.mutants import VARIANTS, find_catch, find_rows, find_scenarios


def test_a_broken_gate_is_caught(broken_gate: str, record_property: Callable[[str, object], None]) -> None:
    """Ask the table and the scenarios."""
    catch = find_catch(broken_gate)
    for name, value in (
        ("broken gate", broken_gate),
        ("rows", "; ".join(catch.rows)),
        ("shown by", "; ".join(catch.scenarios)),
    ):
        record_property(name, value)
    assert catch.is_caught, catch.describe()


@pytest.mark.parametrize("gate", list(VARIANTS))
def test_a_gate_that_is_only_written_otherwise_is_not_caught(gate: str) -> None:
    """Ask the same."""
    assert (find_rows(VARIANTS[gate]), find_scenarios(VARIANTS[gate])) == ((), ())

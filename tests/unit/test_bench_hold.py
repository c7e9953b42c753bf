"""How long the gate holds, by the doubles in memory."""

from __future__ import annotations

import pytest

from bench.hold import HOLD, ZONES, Shape, measure_hold


def test_the_gate_opens_once_all_routes_are_there() -> None:
    found = measure_hold(Shape(nodes=4))
    assert (found["routes"], found["failed"]) == (4 * len(ZONES), 0)
    assert found["opened_s"] >= found["synced_s"] > 0
    assert found["looks"] > 1


def test_a_throttled_api_makes_it_later() -> None:
    alone, shared = (measure_hold(Shape(nodes=50, calls_hz=rate)) for rate in (None, 2.0))
    assert shared["synced_s"] > alone["synced_s"]


def test_a_table_that_is_full_by_one_route_keeps_it_shut() -> None:
    found = measure_hold(Shape(nodes=4, quota=3), give_up_s=300.0)
    assert (found["routes"], found["synced_s"], found["opened_s"]) == (3 * len(ZONES), None, None)
    assert found["failed"] > 0


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({}, ("50", "500", "all", "150", "50 s", "85 s", "15")),
        ({"quota": None, "calls_hz": 2.0}, ("50", "none", "2", "150", "50 s", "85 s", "15")),
        ({"synced_s": 780.0, "opened_s": None}, ("50", "500", "all", "150", "13 min", "not within 4 h", "15")),
    ],
)
def test_the_table(changes: dict[str, float | None], cells: tuple[str, ...]) -> None:
    row = {
        "nodes": 50,
        "quota": 500,
        "calls_hz": None,
        "routes": 150,
        "failed": 0,
        "synced_s": 49.6,
        "opened_s": 84.9,
        "looks": 15,
    }
    (table,) = HOLD.show({"zones": 3, "rows": [row | changes]})
    assert table.rows == (cells,)

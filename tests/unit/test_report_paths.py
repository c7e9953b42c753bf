"""The paths of an arm: the summary's block, and the tables that the report makes of it."""

from __future__ import annotations

import pytest

from analysis.comparison import Comparison
from hitless.history import History
from hitless.words import Arm
from reports.paths import PathSummary, summarise_paths
from reports.quantities import Duration
from reports.summary import summarise
from reports.table import egress_rows, mode_rows
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import QUIET, SWITCHED, header, held, history, lost, records
from tests.unit.pages import page_text
from tests.unit.test_path import repoint


def switched(pattern: str = QUIET, **changes: object) -> History:
    """A flow between zones whose nodes are re-pointed one after the other, at 101 and at 121 ms."""
    told = history(header=header(arm=Arm.UNGATED), records=records({1: pattern, 2: QUIET}, ttls={1: SWITCHED}), **changes)
    return repoint(told, a1=(101, 121), b1=(101, 102))


def summary_of(*runs: History) -> PathSummary:
    return summarise_paths([judged(run) for run in runs])


@pytest.mark.parametrize("trials", [1, 2])
def test_the_matrix_has_every_probe_of_the_mesh(trials: int) -> None:
    for arm in summarise(comparison(trials, gate_leaks=2)).arms.values():
        matrix, totals = arm.paths.matrix, arm.totals
        assert len(matrix) == 9
        for name in ("offered", "lost", "lost_near_end", "lost_far_end", "lost_unknown"):
            assert sum(getattr(cell, name) for cell in matrix) == getattr(totals, name), name
        for counts in (arm.paths.out, arm.paths.back):
            assert counts.taken == counts.preferred + counts.next_best + counts.unknown
            assert counts.contradicted <= counts.unknown
        assert arm.paths.out.taken == totals.offered
        assert arm.paths.back.taken == totals.offered - totals.lost_near_end


def test_counts_and_transitions_are_summed_over_the_trials() -> None:
    found = summary_of(switched(lost(40, 2)), switched())
    assert (found.flows, found.events_impaired) == (2, 0)
    assert (found.out.taken, found.back.taken, found.out.router, found.out.tunnel) == (116, 114, 78, 38)
    assert found.event_transition.spread_ms.flows == 2
    assert found.event_transition.bounds_ms_max == Duration(shortest=50.0, likely=52.5, longest=55.05)
    assert found.recovery_transition.bounds_ms_max == Duration(shortest=109.95, likely=115.025, longest=120.1)


def test_a_recovery_without_end_has_no_bound() -> None:
    found = summary_of(switched("." * 25 + "X" * 33), switched())
    assert found.recovery_transition.bounds_ms_max == Duration(shortest=189.95, likely=None, longest=None)
    assert (found.recovery_transition.spread_ms.unbounded, found.recovery_transition.spread_ms.max) == (1, None)


def test_a_held_switch_makes_no_transition() -> None:
    found = summary_of(held())
    assert (found.event_transition.spread_ms.flows, found.event_transition.bounds_ms_max) == (0, None)
    assert (found.out.preferred, found.out.next_best) == (58, 0)
    text = page_text(Comparison(runs=(judged(held()),)))
    assert "### Transitions" not in text
    assert "| OVERLAY | OVERLAY | - | 0 of 58 |" in text


def test_the_tables_have_the_arms_beside_each_other() -> None:
    runs = Comparison(runs=(judged(switched(lost(20, 10))), judged(held())))
    summary = summarise(runs)
    rows = {row[0]: row for row in egress_rows(summary)}
    assert rows["out: packets"] == ("out: packets", "58", "58")
    assert rows["back: packets"] == ("back: packets", "48", "58")
    assert rows["back: by the Next-Best Egress"][1] == "29 of 48 (60.42%)"
    assert rows["out: by tunnel / directly / by the router"][2] == "58 / 0 / 0"
    assert list(mode_rows(summary)) == [
        ("OVERLAY", "OVERLAY", "0 of 19", "0 of 58"),
        ("NATIVE", "NATIVE", "7 of 35 (7 / 0 / 0)", "-"),
        ("UNKNOWN", "NATIVE", "3 of 4 (3 / 0 / 0)", "-"),
    ]
    lines = page_text(runs).splitlines()
    made = lines[lines.index("### Transitions") + 2 :][:4]
    assert made[0].startswith("| event transition (0 ended by an impaired probe) | UNGATED | 1 of 1 | 52.5 ms ±5 |")
    assert made[0].endswith("| 52.5 ms ±5 (50.0 to 55.0) |")
    assert all(" | UNGATED | " in line for line in made)


def test_the_report_says_which_path_is_which() -> None:
    text = page_text(comparison(1))
    assert "Preferred Egress: the path before the switch, by tunnel;" in text
    assert "\n### Loss by the modes of both nodes\n" in text
    lines = text.splitlines()
    made = [line.strip("| ").split(" | ") for line in lines[lines.index("### Transitions") + 2 :][:4]]
    assert [(cells[0], cells[1], cells[2], cells[-1]) for cells in made] == [
        ("event transition (8 ended by an impaired probe)", "UNGATED", "12 of 12", "90.0 ms ±5 (80.0 to 100.0)"),
        ("first probe out by the Next-Best Egress", "UNGATED", "12 of 12", "327.5 ms ±5 (325.0 to 330.1)"),
        ("first answer back by the Next-Best Egress", "UNGATED", "12 of 12", "327.6 ms ±5 (325.0 to 330.1)"),
        ("recovery transition", "UNGATED", "12 of 12", "125.0 ms ±5 (120.0 to 130.1)"),
    ]
    assert made[1][3:6] == ["90.0 ms ±5", "222.5 ms ±5", "205.8 ms ±5"]

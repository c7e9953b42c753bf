"""The mixed-mode matrix, by histories written by hand: every probe in one cell, and in the right one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.evidence import Evidence
from analysis.paths import CELLS, ModeLoss, count_cells, make_matrix
from hitless.history import History
from tests.unit.histories import QUIET, facts, history, lost, mesh_flows, records
from tests.unit.test_path import repoint

Cells = dict[tuple[str, str], tuple[int, int, int, int]]


def matrix_of(told: History) -> tuple[ModeLoss, ...]:
    return make_matrix(sum((count_cells(found) for found in Evidence(told).paths()), np.zeros(CELLS, dtype=np.int64)))


def cells(told: History) -> Cells:
    """Return the cells that are not empty: (sender, receiver) to (offered, lost, near end, far end)."""
    return {
        (cell.sender, cell.receiver): (cell.offered, cell.lost, cell.lost_near_end, cell.lost_far_end)
        for cell in matrix_of(told)
        if cell.offered
    }


def test_the_cells_follow_the_nodes_one_after_the_other() -> None:
    told = repoint(history(records=records({1: lost(20, 5), 2: QUIET})), a1=(101, 102), b1=(151, 152))
    assert cells(told) == {
        ("OVERLAY", "OVERLAY"): (19, 0, 0, 0),
        ("NATIVE", "OVERLAY"): (10, 5, 5, 0),
        ("NATIVE", "NATIVE"): (29, 0, 0, 0),
    }
    back = repoint(history(records=records({1: lost(20, 12, "f"), 2: QUIET})), a1=(151, 152), b1=(101, 102))
    assert cells(back) == {
        ("OVERLAY", "OVERLAY"): (19, 0, 0, 0),
        ("OVERLAY", "NATIVE"): (10, 9, 0, 9),
        ("NATIVE", "NATIVE"): (29, 3, 0, 3),
    }


def test_a_probe_in_a_window_is_unknown_even_where_its_ttl_tells_the_path() -> None:
    told = repoint(history(records=records({1: lost(20, 1), 2: QUIET}, ttls={1: "t" * 20 + "r" * 38})), a1=(101, 112))
    assert cells(told) == {
        ("OVERLAY", "OVERLAY"): (19, 0, 0, 0),
        ("UNKNOWN", "OVERLAY"): (2, 1, 1, 0),
        ("NATIVE", "OVERLAY"): (37, 0, 0, 0),
    }


def test_there_are_always_nine_cells_in_one_order() -> None:
    empty = matrix_of(history(flows=()))
    modes = ("OVERLAY", "NATIVE", "UNKNOWN")
    assert [(cell.sender, cell.receiver) for cell in empty] == [(sender, receiver) for sender in modes for receiver in modes]
    assert {(cell.offered, cell.lost, cell.lost_unknown) for cell in empty} == {(0, 0, 0)}


MESH = mesh_flows(facts())
FLOWS = (*MESH[:4], MESH[-1])
"""Out of two nodes, to nodes of both zones, and one within a node."""
WINDOW = st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(
    patterns=st.lists(st.text(".XfLDRCE ", min_size=1, max_size=40), min_size=5, max_size=5),
    windows=st.fixed_dictionaries(dict.fromkeys(("a1", "a2", "b1"), WINDOW)),
)
def test_the_cells_sum_to_the_totals_of_the_flows(patterns: list[str], windows: dict[str, tuple[int, int]]) -> None:
    told = history(flows=FLOWS, records=records({int(flow.id): pattern for flow, pattern in zip(FLOWS, patterns, strict=True)}))
    told = repoint(told, **{node: (float(began), float(ended)) for node, (began, ended) in windows.items()})
    matrix = matrix_of(told)
    measures = Evidence(told).measures
    between = [measures[flow.id] for flow in FLOWS[:4]]
    for name in ("offered", "lost", "lost_near_end", "lost_far_end", "lost_unknown"):
        assert sum(getattr(cell, name) for cell in matrix) == sum(getattr(found, name) for found in between)

"""The events of two runs side by side: phases, order, what only one of them has."""

from __future__ import annotations

import pytest

from hitless.words import MILLISECOND, Nanoseconds
from tests.kind.side_by_side import Step, align, to_markdown

REQUEST, DECIDED, ROLLED = "switch.requested", "gate.decided", "manifest.applied DaemonSet calico-node"


def steps(**at_ms: int) -> tuple[Step, ...]:
    """Return steps; a word of capitals is the anchor of that name."""
    names = {"REQUEST": REQUEST, "DECIDED": DECIDED, "ROLLED": ROLLED}
    return tuple(Step(label=names.get(name, name), t_ns=Nanoseconds(at * MILLISECOND)) for name, at in at_ms.items())


def test_times_count_from_the_anchor_of_their_phase_in_each_run() -> None:
    first = steps(REQUEST=0, held=100, DECIDED=1000, deleted=1500)
    second = steps(REQUEST=5000, held=5300, DECIDED=9000, deleted=9600)
    seconds = {row.label: (row.phase, row.first_s, row.second_s) for row in align(first, second)}
    assert seconds["held"] == (REQUEST, 0.1, 0.3)
    assert seconds["deleted"] == (DECIDED, 0.5, 0.6)


def test_an_event_of_one_run_alone_comes_after_its_neighbour() -> None:
    rows = align(steps(REQUEST=0, dropped=1, ready=9), steps(REQUEST=0, ready=8, late=12))
    assert [row.label for row in rows] == [REQUEST, "dropped", "ready", "late"]
    assert [(row.first_s is None, row.second_s is None) for row in rows] == [
        (False, False),
        (False, True),
        (False, False),
        (True, False),
    ]


def test_only_what_changed_its_place_has_moved() -> None:
    rows = align(steps(REQUEST=0, a=1, b=2, c=3, d=4), steps(REQUEST=0, d=1, a=2, b=3, c=4))
    assert [row.label for row in rows if row.is_moved] == ["d"]


def test_an_anchor_that_one_run_lacks_begins_no_phase() -> None:
    rows = align(steps(REQUEST=0, DECIDED=1, ready=4), steps(REQUEST=0, ready=3))
    assert {row.phase for row in rows} == {REQUEST}


def test_runs_without_a_request_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing was requested"):
        align(steps(REQUEST=0), steps(ready=3))


def test_the_table_says_what_differs() -> None:
    text = to_markdown(align(steps(REQUEST=0, a=100, b=200), steps(REQUEST=0, b=50, a=150, c=300)), ("lab", "kind"))
    assert text.splitlines()[2:] == [
        "| **after the operator's request** | | | | |",
        "| switch.requested | 0.000 | 0.000 | +0.000 |  |",
        "| b | 0.200 | 0.050 | -0.150 | moved |",
        "| a | 0.100 | 0.150 | +0.050 |  |",
        "| c |  | 0.300 |  | kind only |",
    ]

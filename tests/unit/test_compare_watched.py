"""`hitless compare --watched`: which stored watches are the two arms of one comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commands.compare import check_comparable
from hitless.errors import UsageError
from hitless.history import History
from hitless.words import Arm, Mode, Overlay
from tests.unit.histories import facts, history

A, B = Path("a"), Path("b")


def watch(arm: Arm, **header: Any) -> History:  # noqa: ANN401 - fields of the header
    plain = history()
    return replace(plain, header=replace(plain.header, arm=arm, **header))


def test_the_headers_say_which_arm_is_which_in_either_order() -> None:
    ungated, gated = watch(Arm.UNGATED), watch(Arm.GATED)
    check_comparable({A: [ungated], B: [gated, gated]})
    check_comparable({A: [gated], B: [ungated]})


def test_the_same_arm_twice_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"^a and b are both GATED; give one watch of the arm UNGATED and one of GATED$"):
        check_comparable({A: [watch(Arm.GATED)], B: [watch(Arm.GATED)]})
    with pytest.raises(UsageError, match=r"^a was given twice"):
        check_comparable({A: [watch(Arm.GATED)]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenario": "other"}, r"the watches differ in scenario: plain-switch in a, other in b"),
        ({"overlay": Overlay.VXLAN}, r"the watches differ in overlay: ipip in a, vxlan in b"),
        ({"wanted_mode": Mode.OVERLAY}, r"switch: OVERLAY to NATIVE in a, OVERLAY to OVERLAY in b"),
        ({"interval_ns": 50_000_000}, r"probe interval: 5 ms in a, 50 ms in b"),
    ],
)
def test_watches_that_differ_are_refused_with_what_differs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_comparable({A: [watch(Arm.UNGATED)], B: [watch(Arm.GATED, **change)]})


def test_another_topology_is_refused_in_words() -> None:
    other = replace(watch(Arm.GATED), facts=facts("a", 1), flows=())
    message = r"topology: 2 nodes in zone a, 2 nodes in zone b in a, 1 node in zone a in b"
    with pytest.raises(UsageError, match=message):
        check_comparable({A: [watch(Arm.UNGATED)], B: [other]})

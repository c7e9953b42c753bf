"""Scenarios that Hypothesis draws: topologies, timings, requests and faults at any time, on honest routes.

A document is a scenario file as the catalogue has them. The tests note it: a failing example is printed after it was shrunk,
and becomes a scenario by being saved: JSON is YAML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from hypothesis import strategies as st

from hitless.words import JsonObject
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.model import Scenario

NAME: Final = "generated"
DURATION_S: Final = 8
_CHECKS: Final[JsonObject] = {
    "continuity": {"downtime_ms": 0},
    "convergence": {},
    "ordering": {},
    "books": {},
    "hygiene": {},
}

_TOPOLOGIES: Final = ((2, 1), (1, 2), (2, 2), (3, 1), (1, 3), (2, 3), (3, 2))
"""Zones, and nodes in each. In the lab 6 nodes are 30 flows, which 2 cores carry beside a second lab."""
_FAULTS: Final = ("route-api-down", "kube-api-down", "route-controller-away", "extension-away")
"""Faults that take nothing away from the routes that exist: with them the gate has to hold, and no packet may be lost."""


@st.composite
def documents(draw: st.DrawFn, *, is_plain: bool = False) -> JsonObject:
    """Draw a switch from overlay to native that a correct gate brings about without loss.

    Args:
        draw: of Hypothesis.
        is_plain: nothing fails, the operator asks once, and routes take so long that packets are lost without the gate.
    """
    names = [] if is_plain else draw(st.lists(st.sampled_from(_FAULTS), unique=True, max_size=3))
    faults = [{"name": name, "at_ms": draw(st.integers(0, 900)), "for_ms": draw(st.integers(20, 600))} for name in names]
    cloud: JsonObject = {"route_controller": "ideal", "create_ms": draw(st.integers(40 if is_plain else 1, 60))}
    if not is_plain and draw(st.booleans()):
        cloud["control_plane_ms"] = draw(st.integers(0, 300))
    then = []
    if not is_plain and draw(st.booleans()):
        on_ms = draw(st.integers(1, 900))
        then = [{"at_ms": on_ms, "overlay": True}, {"at_ms": on_ms + draw(st.integers(1, 600)), "overlay": False}]
    zones, nodes_per_zone = draw(st.sampled_from(_TOPOLOGIES))
    arm = {"end": "NATIVE", "expect": "PASS", "checks": _CHECKS}
    return {
        "name": NAME,
        "title": "Drawn by Hypothesis",
        "description": "Honest routes, and parts that are away for a while.",
        "shoot": str(CATALOGUE.parent / "shoots" / "aws-1.36.yaml"),
        "request": {"overlay": False},
        "then": then,
        "topology": {"zones": zones, "nodes_per_zone": nodes_per_zone},
        "needs": ["route-tables"],
        "cloud": cloud,
        "faults": faults,
        "duration_s": DURATION_S,
        "arms": {"UNGATED": {**arm, "expect": "FAIL"}, "GATED": arm},
    }


def load_document(document: JsonObject, folder: Path) -> Scenario:
    """Return the scenario that a document is, read from a file as any other."""
    path = folder / f"{NAME}.yaml"
    path.write_text(json.dumps(document, indent=1))
    return load_scenario(path)

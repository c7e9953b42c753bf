"""Summaries of comparisons as JSON, written by hand: the plain switch, as a good version gives it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from reports.gate.sides import Side, make_side, parse_summary
from reports.paths import DirectionCounts

HOLDS_MS = (80.0, 82.0, 84.0, 86.0, 88.0, 90.0, 92.0, 94.0, 96.0, 98.0)
INTERVAL_MS = 20.0


def duration(shortest: float) -> dict[str, float]:
    return {"shortest": shortest, "likely": shortest + 20, "longest": shortest + 40}


def totals(*, lost: int = 0, offered: int = 1000) -> dict[str, Any]:
    outage = duration(100.0 if lost else 0.0)
    return {
        **dict.fromkeys(
            ("lost_far_end", "lost_unknown", "late", "duplicated", "reordered", "corrupted", "send_errors", "lost_instrument"),
            0,
        ),
        "offered": offered,
        "unimpaired": offered - lost,
        "lost": lost,
        "lost_near_end": lost,
        "flows": 12,
        "flows_hit": min(lost, 12),
        "outages": min(lost, 12),
        "outage_ms_max": outage if lost else None,
        "censored": 0,
        "blind_ms_max": 40.0,
        "downtime_ms_max": outage,
        "downtime_ms_sum": outage,
        "downtime_plbm_ms_max": 0.0,
        "convergence_ms_max": 500.0,
    }


def trial(number: int, verdict: str, *, lost: int = 0, hold_ms: float | None = None) -> dict[str, Any]:
    return {
        "trial": number,
        "verdict": verdict,
        "totals": totals(lost=lost),
        "ticks_missed": 0,
        "gate": "not-applicable" if hold_ms is None else "opened",
        "gate_hold_ms": None if hold_ms is None else hold_ms + 400,
        "gate_hold_after_routes_ms": hold_ms,
        "gate_looks": 0 if hold_ms is None else 9,
        "lost_unexplained": 0,
    }


def arm(trials: list[dict[str, Any]]) -> dict[str, Any]:
    lost = sum(one["totals"]["lost"] for one in trials)
    every = totals(lost=lost, offered=1000 * len(trials))
    spread = {"flows": 12, "unbounded": 0, "min": 0.0, "median": 0.0, "mean": 0.0, "max": 0.0}
    transition = {"spread_ms": spread, "bounds_ms_max": None}
    names = [field.name for field in fields(DirectionCounts)]
    direction = dict.fromkeys(names, 0)
    return {
        "trials": len(trials),
        "totals": every,
        "ticks_missed": 0,
        "gate_hold_ms_max": None,
        "lost_unexplained": 0,
        "durations": {"convergence_ms": spread, "downtime_ms": spread},
        "classes": {"udp": every},
        "connections": {},
        "causes": [],
        "control": totals(offered=500),
        "paths": {
            "flows": 12,
            "out": direction,
            "back": direction,
            "matrix": [],
            "event_transition": transition,
            "events_impaired": 0,
            "first_out": transition,
            "first_back": transition,
            "recovery_transition": transition,
        },
        "load": None,
        "per_trial": trials,
    }


def gated(holds_ms: Sequence[float | None] = HOLDS_MS) -> dict[str, Any]:
    return arm([trial(number, "PASS", hold_ms=hold_ms) for number, hold_ms in enumerate(holds_ms, 1)])


def ungated(trials: int = len(HOLDS_MS)) -> dict[str, Any]:
    return arm([trial(number, "FAIL", lost=100) for number in range(1, trials + 1)])


def summary(scenario: str = "plain-switch", **arms: dict[str, Any]) -> dict[str, Any]:
    """A document; without arms: both, as a good version gives them. Its FAIL have the reasons that scenarios expect."""
    arms = arms or {"UNGATED": ungated(), "GATED": gated()}
    return {
        "schema": "hitless.summary/2",
        "verdict": "PASS",
        "scenario": scenario,
        "cluster": "lab",
        "carrier": "ipip",
        "kernel": "Linux 6.18",
        "parts": [{"name": "extension", "is_double": True, "version": "0.1.0", "digest": None, "path": None}],
        "profile": "fast",
        "topology": {"zones": 2, "nodes": 4, "pods": 8},
        "interval_ms": INTERVAL_MS,
        "accuracy_ms": INTERVAL_MS,
        "forwarding_delay_threshold_ms": 200.0,
        "versions": {},
        "findings": [
            finding(name, one["trial"], check)
            for name, found in arms.items()
            for one in found["per_trial"]
            for check in ("continuity", "ordering", "convergence")
            if one["verdict"] == "FAIL"
        ],
        "arms": arms,
    }


def finding(arm_name: str, number: int, check: str) -> dict[str, Any]:
    """What a check objects to in a trial."""
    where = {"arm": arm_name, "trial": number, "flow": None, "t_ms": None}
    return {"check": check, "verdict": "FAIL", "code": "some-code", "text": "some text", **where}


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy in which the field at a dotted path is another."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    *parents, last = path.split(".")
    place: Any = copy
    for name in parents:
        place = place[int(name) if isinstance(place, list) else name]
    place[last] = value
    return copy


def side(*documents: dict[str, Any], name: str = "CANDIDATE") -> Side:
    """One side of the release gate, from `0/summary.json`, `1/summary.json`, ..."""
    stored = [parse_summary(json.dumps(one).encode(), f"{number}/summary.json") for number, one in enumerate(documents)]
    return make_side(name, "folder", stored)


def write(folder: Path, document: dict[str, Any] | None = None) -> Path:
    """Write a summary into a new folder; return the folder."""
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(document or summary()), encoding="utf-8")
    return folder

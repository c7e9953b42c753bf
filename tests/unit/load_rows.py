"""Requests of a load, written by hand: one line per request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hitless.load import ConnectionUse, LoadRecords, LoadSpec, RequestOutcome
from hitless.records import REQUEST_ROW, AgentReport, Rows
from hitless.words import MILLISECOND, SECOND, Nanoseconds

INTERVAL_NS = Nanoseconds(100 * MILLISECOND)


def request(began_ms: float, took_ms: float = 1.0, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """Return one answered request of a user that keeps its connection."""
    began = round(began_ms * MILLISECOND)
    plain = {
        "use": ConnectionUse.REUSED,
        "outcome": RequestOutcome.ANSWERED,
        "status": 200,
        "nth": 1,
        "due": began,
        "began": began,
        "connected": -1,
        "ended": began + round(took_ms * MILLISECOND),
    }
    return plain | changes


def rows(requests: Iterable[dict[str, Any]]) -> Rows:
    made = list(requests)
    table = np.zeros(len(made), REQUEST_ROW)
    for row, fields in zip(table, made, strict=True):
        for name, value in fields.items():
            row[name] = value
    return table[np.argsort(table["began"], kind="stable")]


def spec(**changes: Any) -> LoadSpec:  # noqa: ANN401 - any field
    plain: dict[str, Any] = {
        "clients": ("node-a1-mesh", "node-b1-mesh"),
        "servers": ("node-a1-mesh", "node-b1-mesh"),
        "users": 4,
        "interval_ns": INTERVAL_NS,
        "body_octets": 1000,
        "timeout_ns": Nanoseconds(2 * SECOND),
        "duration_ns_max": Nanoseconds(60 * SECOND),
    }
    return LoadSpec(**plain | changes)


def load(*requests: dict[str, Any], reports: tuple[AgentReport, ...] = ()) -> LoadRecords:
    return LoadRecords(spec=spec(), rows=rows(requests), reports=reports)

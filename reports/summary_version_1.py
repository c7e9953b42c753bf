"""Reader of `hitless.summary/1`: the same figures in another shape, before parts, the kernel and likely lengths were stored.

A duration was a number beside its two bounds, or the bounds alone, whose middle is then the likely length. Totals stood among
the other fields of an arm and of a trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from hitless.words import JsonObject
from reports.summary import SCHEMA, Totals

SCHEMA_1: Final = "hitless.summary/1"
_TOTALS: Final = frozenset(field.name for field in fields(Totals))
_BOUNDS: Final = ("outage_ms_max", "bounds_ms_max")
_LEFT_OUT: Final = ("estimators",)
"""Other ways of measuring, which the second version does not have."""


def upgrade(document: JsonObject) -> JsonObject:
    """Return a document of the first version in the shape of the second; fields that the first version lacks are None or empty.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is not of the first version.
    """
    converted = {name: _convert(arm) for name, arm in document["arms"].items()}
    arms = {name: _nest(arm) | {"per_trial": [_nest(trial) for trial in arm["per_trial"]]} for name, arm in converted.items()}
    return {"kernel": None, "parts": [], **document, "schema": SCHEMA, "arms": arms}


def _nest(node: JsonObject) -> JsonObject:
    """Return an arm or a trial with its totals in a field of their own."""
    rest = {name: value for name, value in node.items() if name not in _TOTALS}
    return rest | {"totals": {name: value for name, value in node.items() if name in _TOTALS}}


def _convert(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a node with its durations as shortest, likely and longest."""
    if isinstance(node, list):
        return [_convert(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _convert(value) for name, value in node.items() if name not in _LEFT_OUT}
    for name in ("max", "sum"):
        bounds = found.pop(f"downtime_bounds_ms_{name}", None)
        if bounds is not None:
            found[f"downtime_ms_{name}"] = _duration(bounds, found[f"downtime_ms_{name}"])
    for name in _BOUNDS:
        if isinstance(found.get(name), list):
            shortest, longest = found[name]
            found[name] = _duration(found[name], shortest if longest is None else (shortest + longest) / 2)
    return found


def _duration(bounds: Sequence[float | None], likely: float | None) -> JsonObject:
    shortest, longest = bounds
    return {"shortest": shortest, "likely": shortest if likely is None else likely, "longest": longest}

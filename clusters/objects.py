"""The identity of a Kubernetes object in any store."""

from __future__ import annotations

from hitless.errors import UsageError
from hitless.words import JsonObject, Kind


def identify(document: JsonObject) -> tuple[Kind, str]:
    """Return kind and name of an object. Raises UsageError if it has none, or a kind that the switch does not know."""
    kind, metadata = document.get("kind"), document.get("metadata")
    if not isinstance(kind, str) or kind not in list(Kind):
        allowed = ", ".join(member.value for member in Kind)
        raise UsageError(where="Kubernetes object", place="kind", found=repr(kind), expected=allowed)
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError(where=f"Kubernetes object of kind {kind}", place="metadata.name", found=repr(name), expected="a name")
    return Kind(kind), name

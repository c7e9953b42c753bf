"""Readers of Kubernetes objects, which are plain JSON documents, for several packages. Pure."""

from __future__ import annotations

from hitless.words import JsonObject


def name_of(document: JsonObject) -> str:
    """Return an object's name, or `?` where it has none."""
    name: str = (document.get("metadata") or {}).get("name", "?")
    return name


def containers_of(workload: JsonObject | None) -> list[JsonObject]:
    """Return the containers of a workload's pod template, init containers left out."""
    template = ((workload or {}).get("spec") or {}).get("template") or {}
    return list((template.get("spec") or {}).get("containers") or ())


def is_switched_on(workload: JsonObject | None, *variables: str) -> bool:
    """Return whether one of these environment variables is "true" in any container of a workload."""
    entries = (entry for container in containers_of(workload) for entry in container.get("env") or ())
    return any(entry.get("name") in variables and entry.get("value") == "true" for entry in entries)

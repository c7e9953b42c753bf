"""Kubernetes objects, which are plain JSON documents: makes one, and reads them for several packages. Pure."""

from __future__ import annotations

from typing import Any

from hitless.words import JsonObject


def make_object(api_version: str, kind: str, name: str, namespace: str | None = None, /, **content: Any) -> JsonObject:  # noqa: ANN401 - JSON
    """Return an object as it is written: labels and annotations go into its metadata, everything else beside it."""
    metadata = {"name": name, "namespace": namespace, **{key: content.pop(key, None) for key in ("labels", "annotations")}}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


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


def is_ready(document: JsonObject) -> bool:
    """Return whether the condition Ready of a Node or Pod is True."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def is_behind(daemon_set: JsonObject) -> bool:
    """Return whether pods of a DaemonSet have an older template than the present one that its controller has seen."""
    status = daemon_set.get("status") or {}
    is_unnoticed = status.get("observedGeneration", 0) < daemon_set["metadata"].get("generation", 0)
    return bool(is_unnoticed or status.get("updatedNumberScheduled", 0) < status.get("desiredNumberScheduled", 0))


def is_rolled(daemon_set: JsonObject) -> bool:
    """Return whether there are pods, and each has the present template and is available.

    Source: Kubernetes API, DaemonSetStatus.
    """
    status = daemon_set.get("status") or {}
    desired = status.get("desiredNumberScheduled", 0)
    return not is_behind(daemon_set) and 0 < desired <= status.get("numberAvailable", 0)

"""A reference for gardener-resource-manager: it applies a ManagedResource in the order of its objects."""

from __future__ import annotations

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.installer import Installer, Resource
from clusters.kubernetes.watcher import Collection
from clusters.programs.mirror import MANAGED_BY
from clusters.programs.seed_objects import MANAGED_RESOURCES, SEED_NAMESPACE
from hitless.errors import NotFoundError
from hitless.words import JsonObject
from tests.programs.reference_api import connect_to, patch_status, pause, read_config, read_flags, read_objects, say

_SECRETS = Resource(api_version="v1", plural="secrets", is_namespaced=True)
_RETRY_S = 0.2
_Key = tuple[str, str, str]


def main() -> None:
    flags = read_flags("config")
    calls = connect_to(read_config(flags, "config")["targetClientConnection"]["kubeconfig"])
    managed = Collection(calls, MANAGED_RESOURCES, "ManagedResource", SEED_NAMESPACE)
    managed.start()
    applied: dict[_Key, JsonObject] = {}
    while True:
        for document in managed.objects:
            if (document.get("status") or {}).get("observedGeneration") != document["metadata"]["generation"]:
                applied = reconcile(calls, document, applied)
        pause()


def reconcile(calls: ApiCalls, managed: JsonObject, applied: dict[_Key, JsonObject]) -> dict[_Key, JsonObject]:
    """Delete removed objects, apply the others, and return the present ones."""
    wanted: dict[_Key, JsonObject] = {}
    for reference in managed["spec"]["secretRefs"]:
        path = _SECRETS.path(reference["name"], namespace=SEED_NAMESPACE)
        secret = calls.call("GET", path, about=path)
        wanted |= {_key_of(document): _labelled(document) for document in read_objects(secret)}
    installer = Installer(calls)
    installer.uninstall([document for key, document in applied.items() if key not in wanted])
    for document in wanted.values():
        _apply(installer, document)
    say(f"applied {len(wanted)} objects")
    condition = {"type": "ResourcesApplied", "status": "True", "reason": "ApplySucceeded", "message": "all are applied"}
    patch_status(calls, MANAGED_RESOURCES, managed, {"conditions": [condition]})
    return wanted


def _apply(installer: Installer, document: JsonObject) -> None:
    """Apply an object; a kind whose definition was applied just before is served a little later."""
    while True:
        try:
            return installer.install([document])
        except NotFoundError:
            pause(_RETRY_S)


def _key_of(document: JsonObject) -> _Key:
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def _labelled(document: JsonObject) -> JsonObject:
    metadata = document["metadata"]
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: "gardener"}
    return {**document, "metadata": {**metadata, "labels": labels}}


if __name__ == "__main__":
    main()

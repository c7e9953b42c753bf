"""Server-side apply of any object, also of kinds that the switch does not know: RBAC, CRDs, Services, the probers' DaemonSets.

It must not be used for what the switch writes: those writes have an actor, and go through `KindKube`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from clusters.kubernetes.api_calls import APPLY, ApiCalls
from clusters.kubernetes.api_errors import hitless_errors
from clusters.kubernetes.resources import NAMESPACE, Resource, describe
from hitless.clock import wait_until
from hitless.errors import NotFoundError, UsageError
from hitless.words import JsonObject

FIELD_MANAGER: Final = "hitless"
"""Field manager of every apply: a field that an apply leaves out is removed only where the same manager
put it there."""

_POLL_S: Final = 0.1
_NOT_APPLIED: Final = frozenset({"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "selfLink", "uid"})
"""Metadata of a read object that an apply must not contain."""


def server_side_apply(calls: ApiCalls, resource: Resource, document: JsonObject, *, user: str | None) -> JsonObject:
    """Apply one object with force and return it as it is afterwards; its status stays. Raises ApiError: as `ApiCalls.call`.

    An apiVersion of the object's own wins over the resource's; without a namespace it goes to kube-system.
    """
    metadata = {key: value for key, value in document["metadata"].items() if key not in _NOT_APPLIED}
    body = {"apiVersion": resource.api_version, **document, "metadata": metadata}
    body.pop("status", None)
    if resource.is_namespaced:
        metadata.setdefault("namespace", NAMESPACE)
    return calls.call(
        "PATCH",
        replace(resource, api_version=str(body["apiVersion"])).path(
            metadata["name"], namespace=metadata.get("namespace", NAMESPACE)
        ),
        about=describe(document),
        query={"fieldManager": FIELD_MANAGER, "force": True},
        body=body,
        content_type=APPLY,
        user=user,
    )


class Installer:
    """Applies and deletes objects of any kind and namespace as the kubeconfig's own user.

    All methods raise UsageError for an object without apiVersion, kind or name, NotFoundError for a kind that the server does
    not know, ApiError where the server refuses.
    """

    def __init__(self, calls: ApiCalls) -> None:
        self._calls = calls
        self._discovered: dict[tuple[str, str], Resource] = {}

    def install(self, documents: Sequence[JsonObject]) -> None:
        """Apply objects in their order."""
        for document in documents:
            server_side_apply(self._calls, self._find(document), document, user=None)

    def install_when_served(self, documents: Sequence[JsonObject], *, timeout_s: float) -> None:
        """Apply objects whose definitions may have been applied a moment ago. Raises WorldError: not served in time."""

        def is_installed() -> bool:
            try:
                self.install(documents)
            except NotFoundError:
                return False
            return True

        kinds = ", ".join(sorted({document["kind"] for document in documents}))
        wait_until(is_installed, timeout_s=timeout_s, poll_s=_POLL_S, unmet=f"the API does not serve all of {kinds}")

    def get(self, document: JsonObject) -> JsonObject:
        """Return the object of this kind, namespace and name as it is now."""
        return self._calls.call("GET", self._path(document), about=describe(document))

    def uninstall(self, documents: Sequence[JsonObject]) -> None:
        """Delete objects in reverse order; a missing object is no error."""
        for document in reversed(documents):
            try:
                self._calls.call("DELETE", self._path(document), about=describe(document))
            except NotFoundError:
                continue

    def _path(self, document: JsonObject) -> str:
        metadata = document["metadata"]
        return self._find(document).path(metadata["name"], namespace=metadata.get("namespace", NAMESPACE))

    def _find(self, document: JsonObject) -> Resource:
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        api_version, kind = document.get("apiVersion"), document.get("kind")
        for place, found in (("apiVersion", api_version), ("kind", kind), ("metadata.name", name)):
            if not isinstance(found, str) or not found:
                raise UsageError(where="Kubernetes object", place=place, found=repr(found), expected="a text")
        return self.find(str(api_version), str(kind))

    def find(self, api_version: str, kind: str) -> Resource:
        """Return where objects of a kind are kept, as the server says; asked once for each API version that is new."""
        if (api_version, kind) not in self._discovered:
            self._discover(api_version, kind)
        if (api_version, kind) not in self._discovered:
            raise NotFoundError(f"the server does not serve {kind} of {api_version}")
        return self._discovered[api_version, kind]

    def _discover(self, api_version: str, kind: str) -> None:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self._calls.call("GET", root, about=f"{kind} of {api_version}")
        with hitless_errors(f"GET {root}"):
            for item in answer["resources"]:
                if "/" not in item["name"]:
                    self._discovered[api_version, item["kind"]] = Resource(
                        api_version=api_version, plural=item["name"], is_namespaced=item["namespaced"]
                    )

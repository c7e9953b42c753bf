"""Paths of objects, and server-side apply of objects of any kind, including RBAC, CRDs and Services.

It must not be used for what the switch writes: those writes have an actor, and go through `KindKube`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from clusters.kubernetes.api_calls import APPLY, ApiCalls, hitless_errors
from hitless.calico import CALICO_GROUP
from hitless.clock import wait_until
from hitless.errors import NotFoundError, UsageError
from hitless.objects import make_object
from hitless.words import JsonObject, Kind

FIELD_MANAGER: Final = "hitless"
"""Field manager of every apply: a field that an apply leaves out is removed only where the same manager
put it there."""

_POLL_S: Final = 0.1
_NOT_APPLIED: Final = frozenset({"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "selfLink", "uid"})
"""Metadata of a read object that an apply must not contain."""
NAMESPACE: Final = "kube-system"
"""Where every namespaced object of the switch lives."""

POLICY_GROUP: Final = "admissionregistration.k8s.io"
POLICY_VERSIONS: Final = tuple(f"{POLICY_GROUP}/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
"""API versions of MutatingAdmissionPolicy, newest first. Source: Kubernetes 1.36 (v1), 1.34 (v1beta1), 1.32 (v1alpha1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of the API."""

    api_version: str
    """`v1` or group and version, such as `apps/v1`."""
    plural: str
    """Its name in paths, such as `daemonsets`."""
    is_namespaced: bool

    def path(self, name: str | None = None, *, namespace: str = NAMESPACE, subresource: str = "") -> str:
        """Return the path of one object, of its subresource, or (without a name) of the collection."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root]
        if self.is_namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


RESOURCES: Final[Mapping[Kind, Resource]] = MappingProxyType(
    {
        kind: Resource(api_version=api_version, plural=plural, is_namespaced=is_namespaced)
        for kind, api_version, plural, is_namespaced in (
            (Kind.NODE, "v1", "nodes", False),
            (Kind.POD, "v1", "pods", True),
            (Kind.CONFIG_MAP, "v1", "configmaps", True),
            (Kind.DAEMON_SET, "apps/v1", "daemonsets", True),
            (Kind.DEPLOYMENT, "apps/v1", "deployments", True),
            (Kind.IP_POOL, f"{CALICO_GROUP}/v1", "ippools", False),
            (Kind.ADMISSION_POLICY, f"{POLICY_GROUP}/v1", "mutatingadmissionpolicies", False),
            (Kind.ADMISSION_POLICY_BINDING, f"{POLICY_GROUP}/v1", "mutatingadmissionpolicybindings", False),
        )
    }
)
"""Kind to resource, in the newest version. The kinds of the switch are a table, so that a run does not depend on discovery,
which may fail at the wrong moment. The version of the admission policy's group depends on the server and is read from it."""


def definition(resource: Resource, kind: str, *, has_status: bool = False) -> JsonObject:
    """Return a CustomResourceDefinition that keeps every field; with `has_status` the status is a subresource."""
    group, version = resource.api_version.split("/")
    keeps_all = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served: JsonObject = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {**keeps_all, "properties": {"spec": keeps_all}}},
    }
    spec = {
        "group": group,
        "names": {"kind": kind, "listKind": f"{kind}List", "plural": resource.plural, "singular": kind.lower()},
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "versions": [{**served, "subresources": {"status": {}}} if has_status else served],
    }
    return make_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{resource.plural}.{group}", spec=spec)


def describe(document: JsonObject) -> str:
    """Return the name of an object in messages: its kind and its name."""
    return f"{document['kind']} {document['metadata']['name']}"


def check_namespace(document: JsonObject, kind: Kind) -> None:
    """Refuse an object in another namespace: it would be written and never found again. Raises UsageError."""
    namespace = document["metadata"].get("namespace")
    if RESOURCES[kind].is_namespaced and namespace not in {None, NAMESPACE}:
        name = document["metadata"]["name"]
        raise UsageError(where=f"{kind.value} {name}", place="metadata.namespace", found=repr(namespace), expected=NAMESPACE)


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

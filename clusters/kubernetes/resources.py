"""The API path of each kind.

The kinds of the switch are a table, so that a run does not depend on discovery, which may fail at the wrong moment. The version
of the admission policy's group depends on the server and is read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from hitless.calico import CALICO_GROUP
from hitless.errors import UsageError
from hitless.objects import make_object
from hitless.words import JsonObject, Kind

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
"""Kind to resource, in the newest version that there is."""


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

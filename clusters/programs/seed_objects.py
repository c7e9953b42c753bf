"""Objects in the programs' API: minimal definitions of Gardener's resources, and one Shoot's objects.

The definitions keep unknown fields, so that any release of a program finds its own. One API server is seed and Shoot in one:
Nodes and Calico's objects are in it as well. Pure.

Source: what gardener-extension-networking-calico, gardener-resource-manager and aws-custom-route-controller were seen reading.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from clusters.kubernetes.resources import Resource
from gardener.shoot import Shoot
from hitless.words import JsonObject

SEED_NAMESPACE: Final = "shoot--hitless--lab"
"""The Shoot's namespace in the seed: its technical ID, and its name in the tags of the route tables."""
NETWORK: Final = "lab"
"""Name of the Network."""
MANAGED_RESOURCE: Final = "extension-networking-calico-config"
"""Name of the ManagedResource that the extension writes. Source: networking-calico pkg/controller/actuator.go."""
OPERATION: Final = "gardener.cloud/operation"
"""Annotation that asks an extension to act. Source: gardener v1beta1constants.GardenerOperation."""

NETWORKS: Final = Resource(api_version="extensions.gardener.cloud/v1alpha1", plural="networks", is_namespaced=True)
CLUSTERS: Final = Resource(api_version="extensions.gardener.cloud/v1alpha1", plural="clusters", is_namespaced=False)
MANAGED_RESOURCES: Final = Resource(
    api_version="resources.gardener.cloud/v1alpha1", plural="managedresources", is_namespaced=True
)
SECRETS: Final = Resource(api_version="v1", plural="secrets", is_namespaced=True)
_DEFINED: Final = (
    (NETWORKS, "Network"),
    (CLUSTERS, "Cluster"),
    (MANAGED_RESOURCES, "ManagedResource"),
    (Resource(api_version="monitoring.coreos.com/v1alpha1", plural="scrapeconfigs", is_namespaced=True), "ScrapeConfig"),
)


def definitions() -> tuple[JsonObject, ...]:
    """Return the custom resource definitions."""
    return tuple(_define(resource, kind) for resource, kind in _DEFINED)


def namespaces() -> tuple[JsonObject, ...]:
    """Return the namespaces of the Shoot's control plane and of its system components."""
    return tuple(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (SEED_NAMESPACE, "kube-system")
    )


def secrets(kubeconfig: str) -> tuple[JsonObject, ...]:
    """Return the secrets that the programs read: the Shoot's kubeconfig, and the cloud's credentials."""
    return (
        secret("gardener", {"kubeconfig": kubeconfig.encode()}),
        secret("cloudprovider", {"accessKeyID": b"hitless", "secretAccessKey": b"hitless"}),
    )


def cluster(shoot: Shoot) -> JsonObject:
    """Return the Cluster, from which extensions read the Shoot."""
    head = {"apiVersion": "core.gardener.cloud/v1beta1"}
    spec = {
        "shoot": shoot.model_dump(mode="json", by_alias=True, exclude_none=True),
        "seed": {**head, "kind": "Seed", "metadata": {"name": "lab"}},
        "cloudProfile": {**head, "kind": "CloudProfile", "metadata": {"name": "aws"}},
    }
    return {"apiVersion": CLUSTERS.api_version, "kind": "Cluster", "metadata": {"name": SEED_NAMESPACE}, "spec": spec}


def network(shoot: Shoot, operation: str = "reconcile") -> JsonObject:
    """Return the Network as gardenlet writes it when a Shoot is reconciled, or restored."""
    spec: JsonObject = {
        "type": "calico",
        "podCIDR": shoot.pod_cidr,
        "serviceCIDR": shoot.service_cidr,
        "ipFamilies": list(shoot.spec.networking.ip_families),
    }
    if shoot.network is not None:
        spec["providerConfig"] = shoot.network.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": NETWORKS.api_version,
        "kind": "Network",
        "metadata": {"name": NETWORK, "namespace": SEED_NAMESPACE, "annotations": {OPERATION: operation}},
        "spec": spec,
    }


def _define(resource: Resource, kind: str) -> JsonObject:
    group, version = resource.api_version.split("/")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": resource.plural, "singular": kind.lower()},
            "scope": "Namespaced" if resource.is_namespaced else "Cluster",
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}],
        },
    }


def secret(name: str, contents: Mapping[str, bytes]) -> JsonObject:
    """Return a secret of the Shoot's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SEED_NAMESPACE},
        "type": "Opaque",
        "data": {key: base64.b64encode(content).decode() for key, content in contents.items()},
    }

"""Objects in the programs' API: minimal definitions of Gardener's resources, and a Shoot's objects.

The definitions keep unknown fields, so that any release of a program finds its own. One API server is seed and Shoot in one:
Nodes and Calico's objects are in it as well. Pure.

Source: the objects that gardener-extension-networking-calico, gardener-resource-manager and aws-custom-route-controller were
observed to read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from clusters.kubernetes.installer import Resource, definition
from hitless.objects import make_object
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


COMPRESSED_KEY: Final = "data.yaml.br"
_BLOCK_OCTETS: Final = 1 << 16
_END: Final = b"\x03"
"""Of a Brotli stream: ISLAST and ISLASTEMPTY."""


def definitions() -> tuple[JsonObject, ...]:
    """Return the custom resource definitions."""
    return tuple(definition(resource, kind, has_status=True) for resource, kind in _DEFINED)


def namespace(name: str) -> JsonObject:
    """Return a namespace."""
    return make_object("v1", "Namespace", name)


def cluster(shoot: JsonObject, name: str = SEED_NAMESPACE) -> JsonObject:
    """Return the Cluster, from which extensions read the Shoot."""
    version = "core.gardener.cloud/v1beta1"
    seed, cloud = make_object(version, "Seed", "lab"), make_object(version, "CloudProfile", "aws")
    spec = {"shoot": shoot, "seed": seed, "cloudProfile": cloud}
    return make_object(CLUSTERS.api_version, "Cluster", name, spec=spec)


def network(spec: JsonObject, operation: str = "reconcile", namespace: str = SEED_NAMESPACE) -> JsonObject:
    """Return the Network as gardenlet writes it when a Shoot is reconciled, or restored; the spec without its type."""
    asked, spec = {OPERATION: operation}, {"type": "calico", **spec}
    return make_object(NETWORKS.api_version, "Network", NETWORK, namespace, annotations=asked, spec=spec)


def secret(name: str, contents: Mapping[str, bytes], namespace: str = SEED_NAMESPACE) -> JsonObject:
    """Return a secret."""
    data = {key: base64.b64encode(content).decode() for key, content in contents.items()}
    return make_object("v1", "Secret", name, namespace, data=data)


def store(content: bytes) -> bytes:
    """Return a Brotli stream of uncompressed blocks, which Gardener accepts as a compressed secret; the content is not empty.

    gardener-resource-manager reads a key that ends in `.br`; the Calico extension parses the bytes as YAML and finds nothing.
    Source: RFC 7932 9.1 and 9.2 (stream header, uncompressed meta-blocks); gardener resources/v1alpha1 CompressedDataKey.
    """
    blocks = [content[at : at + _BLOCK_OCTETS] for at in range(0, len(content), _BLOCK_OCTETS)]
    # Each begins with ISLAST 0, MNIBBLES 4, MLEN - 1 and ISUNCOMPRESSED 1, padded to whole octets; the first one after WBITS,
    # which is the one bit 0: a window of 16 bits.
    heads = [((len(block) - 1) << 3 | 1 << 19) << (0 if number else 1) for number, block in enumerate(blocks)]
    return b"".join(head.to_bytes(3, "little") + block for head, block in zip(heads, blocks, strict=True)) + _END

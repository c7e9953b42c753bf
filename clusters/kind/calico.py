"""Calico's custom resource definitions, rendered. They do not depend on the mode; the RBAC objects are rendered elsewhere.

Each has the name, group, scope and version that Calico's clients use, and a schema that keeps every field they write. Calico
validates its objects itself, in libcalico-go and Felix; the defaults of its own schemas concern fields that are not written
here. So nothing has to be downloaded or copied. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Final

from clusters.kubernetes.resources import Resource, definition
from hitless.calico import CALICO_GROUP
from hitless.facts import NodeFacts
from hitless.objects import make_object
from hitless.words import JsonObject

_POLICY_VERSION: Final = "policy.networking.k8s.io/v1alpha1"
BLOCK_MASK: Final = 26
"""blockSize of the rendered IPPool."""

_CLUSTER_WIDE: Final = (
    *("BGPConfiguration", "BGPFilter", "BGPPeer", "BlockAffinity", "CalicoNodeStatus", "ClusterInformation"),
    *("FelixConfiguration", "GlobalNetworkPolicy", "GlobalNetworkSet", "HostEndpoint", "IPAMBlock", "IPAMConfig", "IPAMHandle"),
    *("IPPool", "IPReservation", "KubeControllersConfiguration", "StagedGlobalNetworkPolicy", "Tier"),
)
_NAMESPACED: Final = ("NetworkPolicy", "NetworkSet", "StagedKubernetesNetworkPolicy", "StagedNetworkPolicy")
"""Source: calico v3.31.6 libcalico-go/config/crd; the same set as in gardener-extension-networking-calico
charts/internal/calico/templates/custom-resource-definition."""
_POLICIES: Final = ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy")
"""Felix and Typha list them at start, and wait forever if they are missing. Source: as above."""
_APPROVAL: Final = "https://github.com/kubernetes-sigs/network-policy-api/pull/30"
"""The API server accepts no definition of a *.k8s.io group without it. Source: KEP-1111; the definitions named above."""


def calico_definitions() -> tuple[JsonObject, ...]:
    """Return the definitions, in order of their names."""
    documents = [
        *(_define(f"{CALICO_GROUP}/v1", kind, is_namespaced=False) for kind in _CLUSTER_WIDE),
        *(_define(f"{CALICO_GROUP}/v1", kind, is_namespaced=True) for kind in _NAMESPACED),
        *(_define(_POLICY_VERSION, kind, is_namespaced=False) for kind in _POLICIES),
    ]
    return tuple(sorted(documents, key=lambda document: str(document["metadata"]["name"])))


def block_affinities(nodes: Iterable[NodeFacts]) -> tuple[JsonObject, ...]:
    """Return the affinities with which calico-ipam takes the addresses of each node from blocks in its podCIDR.

    The blocks themselves are created when the first address is assigned. Source: calico libcalico-go/lib/ipam/ipam.go
    getBlockFromAffinity; lib/backend/k8s/resources/affinityblock.go for the names.
    """
    return tuple(
        make_object(
            *(f"{CALICO_GROUP}/v1", "BlockAffinity", f"{node.name}-{str(block).replace('.', '-').replace('/', '-')}"),
            spec={"cidr": str(block), "node": node.name, "state": "confirmed", "deleted": "false"},
        )
        for node in nodes
        for block in IPv4Network(node.pod_cidr).subnets(new_prefix=BLOCK_MASK)
    )


def _define(api_version: str, kind: str, *, is_namespaced: bool) -> JsonObject:
    resource = Resource(api_version=api_version, plural=_plural_of(kind.lower()), is_namespaced=is_namespaced)
    document = definition(resource, kind)
    if api_version == _POLICY_VERSION:
        document["metadata"]["annotations"] = {"api-approved.kubernetes.io": _APPROVAL}
    return document


def _plural_of(singular: str) -> str:
    """Return the plural by the rule of Kubernetes. Source: k8s.io/apimachinery pkg/api/meta UnsafeGuessKindToResource."""
    if singular.endswith("s"):
        return f"{singular}es"
    return f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"

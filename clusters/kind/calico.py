"""Calico's custom resource definitions, rendered. They do not depend on the mode; the RBAC objects are rendered elsewhere.

Each has the name, group, scope and version that Calico's clients ask for, and a schema that keeps whatever they write. Calico
judges its objects itself, in libcalico-go and Felix; the defaults of its own schemas concern fields that are not written here.
So nothing has to be downloaded or copied. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Final

from hitless.calico import CALICO_GROUP
from hitless.facts import NodeFacts
from hitless.words import JsonObject

POLICY_GROUP: Final = "policy.networking.k8s.io"
BLOCK_MASK: Final = 26
"""Of the rendered IPPool: blockSize."""

_CLUSTER_WIDE: Final = {
    "BGPConfiguration": "bgpconfigurations",
    "BGPFilter": "bgpfilters",
    "BGPPeer": "bgppeers",
    "BlockAffinity": "blockaffinities",
    "CalicoNodeStatus": "caliconodestatuses",
    "ClusterInformation": "clusterinformations",
    "FelixConfiguration": "felixconfigurations",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "GlobalNetworkSet": "globalnetworksets",
    "HostEndpoint": "hostendpoints",
    "IPAMBlock": "ipamblocks",
    "IPAMConfig": "ipamconfigs",
    "IPAMHandle": "ipamhandles",
    "IPPool": "ippools",
    "IPReservation": "ipreservations",
    "KubeControllersConfiguration": "kubecontrollersconfigurations",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    "Tier": "tiers",
}
_NAMESPACED: Final = {
    "NetworkPolicy": "networkpolicies",
    "NetworkSet": "networksets",
    "StagedKubernetesNetworkPolicy": "stagedkubernetesnetworkpolicies",
    "StagedNetworkPolicy": "stagednetworkpolicies",
}
"""Kind to plural. Source: calico v3.31.6 libcalico-go/config/crd; the same set as in gardener-extension-networking-calico
charts/internal/calico/templates/custom-resource-definition."""
_POLICIES: Final = {
    "AdminNetworkPolicy": "adminnetworkpolicies",
    "BaselineAdminNetworkPolicy": "baselineadminnetworkpolicies",
}
"""Felix and Typha list them at start, and wait forever if they are missing. Source: as above."""
_APPROVAL: Final = "https://github.com/kubernetes-sigs/network-policy-api/pull/30"
"""The API server accepts no definition of a *.k8s.io group without it. Source: KEP-1111; the definitions named above."""


def calico_definitions() -> tuple[JsonObject, ...]:
    """Return the definitions, in order of their names."""
    documents = [
        *(_define(CALICO_GROUP, "v1", kind, plural, "Cluster") for kind, plural in _CLUSTER_WIDE.items()),
        *(_define(CALICO_GROUP, "v1", kind, plural, "Namespaced") for kind, plural in _NAMESPACED.items()),
        *(_define(POLICY_GROUP, "v1alpha1", kind, plural, "Cluster") for kind, plural in _POLICIES.items()),
    ]
    return tuple(sorted(documents, key=lambda document: str(document["metadata"]["name"])))


def block_affinities(nodes: Iterable[NodeFacts]) -> tuple[JsonObject, ...]:
    """Return the affinities with which calico-ipam takes the addresses of each node from blocks in its podCIDR.

    The blocks themselves are made when the first address is taken. Source: calico libcalico-go/lib/ipam/ipam.go
    getBlockFromAffinity; lib/backend/k8s/resources/affinityblock.go for the names.
    """
    return tuple(
        {
            "apiVersion": f"{CALICO_GROUP}/v1",
            "kind": "BlockAffinity",
            "metadata": {"name": f"{node.name}-{str(block).replace('.', '-').replace('/', '-')}"},
            "spec": {"cidr": str(block), "node": node.name, "state": "confirmed", "deleted": "false"},
        }
        for node in nodes
        for block in IPv4Network(node.pod_cidr).subnets(new_prefix=BLOCK_MASK)
    )


def _define(group: str, version: str, kind: str, plural: str, scope: str) -> JsonObject:
    metadata: JsonObject = {"name": f"{plural}.{group}"}
    if group == POLICY_GROUP:
        metadata["annotations"] = {"api-approved.kubernetes.io": _APPROVAL}
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": scope,
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }

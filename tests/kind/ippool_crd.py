"""A custom resource definition for IPPool, with only the fields that the switch renders. It replaces Calico's definition in
tests without Calico, and is stricter than the original, which names no values for modes.
"""

from __future__ import annotations

from hitless.words import JsonObject

_MODES = {"type": "string", "enum": ["Always", "CrossSubnet", "Never"]}
_FLAG = {"type": "boolean"}


def ip_pool_crd() -> JsonObject:
    spec = {
        "type": "object",
        "required": ["cidr"],
        "properties": {
            "allowedUses": {"type": "array", "items": {"type": "string", "enum": ["LoadBalancer", "Tunnel", "Workload"]}},
            "blockSize": {"type": "integer"},
            "cidr": {"type": "string"},
            "disableBGPExport": _FLAG,
            "disabled": _FLAG,
            "ipipMode": _MODES,
            "natOutgoing": _FLAG,
            "nodeSelector": {"type": "string"},
            "vxlanMode": _MODES,
        },
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ippools.crd.projectcalico.org"},
        "spec": {
            "group": "crd.projectcalico.org",
            "names": {"kind": "IPPool", "listKind": "IPPoolList", "plural": "ippools", "singular": "ippool"},
            "scope": "Cluster",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }

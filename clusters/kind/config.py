"""kind's configuration document for a cluster, and the KindSpec of a scenario. Pure.

These are set explicitly, because the switch depends on them: no default CNI; the Shoot's pod network, of which
kube-controller-manager gives each node a part; kube-proxy with iptables; and the Shoot's own feature gates. Every node gets its
zone as a label and a providerID of AWS's form. The control plane has no taint: it is a node like the others (see
`clusters.kind.spec`).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.kind.spec import NODE_NETWORK, KindSpec, NodePlan, make_plan
from clusters.kind.versions import find_node_image
from hitless.errors import UsageError
from hitless.words import JsonObject
from scenarios.plan import Case

DEFAULT_CLUSTER_NAME: Final = "hitless"
_IMAGE_VERSION: Final = re.compile(r":v(\d{1,2})\.(\d{1,3})\.\d{1,3}(@|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOptions:
    """Options of a kind cluster from the command line; the names are pytest-kind's."""

    cluster_name: str = DEFAULT_CLUSTER_NAME
    kind_bin: Path | None = None
    """None: kind on PATH."""
    kubectl_bin: Path | None = None
    """None: kubectl on PATH."""
    image: str | None = None
    """Node image; None: the pinned one for the Shoot's Kubernetes version."""
    keep: bool = False
    """Keep the cluster, and reuse a running one if it is healthy and has the same configuration."""


def make_spec(case: Case, options: KindOptions) -> KindSpec:
    """Return the cluster of a scenario.

    Raises:
        UsageError: kind has no image for the Shoot's Kubernetes version, or the given image has another version; the Shoot's
            node network does not contain the zones; too many nodes, or a name that cannot be one.
    """
    scenario, shoot = case.scenario, case.shoot
    if shoot.spec.networking.nodes != NODE_NETWORK:
        found = shoot.spec.networking.nodes or "nothing"
        raise UsageError(where=str(scenario.shoot), place="spec.networking.nodes", found=found, expected=NODE_NETWORK)
    server = shoot.spec.kubernetes.kube_api_server
    gates = (server.feature_gates if server else None) or {}
    served = (server.runtime_config if server else None) or {}
    return KindSpec(
        name=options.cluster_name,
        zones=scenario.topology.zones,
        nodes_per_zone=scenario.topology.nodes_per_zone,
        overlay=case.overlay,
        start_mode=scenario.start,
        rp_filter=scenario.rp_filter,
        kubernetes=shoot.kubernetes,
        image=_choose_image(shoot.kubernetes, options.image),
        calico_version=case.feature_gates.release.calico_version,
        has_arranged_blocks=case.has_arranged_blocks,
        pod_cidr=shoot.pod_cidr,
        node_mask=shoot.node_mask,
        service_cidr=shoot.service_cidr,
        feature_gates=tuple(sorted(name for name, is_on in gates.items() if is_on)),
        runtime_config=tuple(sorted(name for name, is_on in served.items() if is_on)),
    )


def cluster_config(spec: KindSpec) -> JsonObject:
    """Return the document that `kind create cluster --config` reads.

    The patches name no apiVersion and write arguments as maps: kind turns them into what kubeadm of the image's version reads.
    Source: kind site/content/docs/user/configuration.md; pkg/internal/patch/kubeadm_merge.go (v0.33.0).
    """
    controller_manager = {
        "allocate-node-cidrs": "true",
        "cluster-cidr": spec.pod_cidr,
        "node-cidr-mask-size": str(spec.node_mask),
    }
    patch = {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": controller_manager}}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": spec.name,
        "networking": {
            "ipFamily": "ipv4",
            "disableDefaultCNI": True,
            "podSubnet": spec.pod_cidr,
            "serviceSubnet": spec.service_cidr,
            "kubeProxyMode": "iptables",
        },
        "kubeadmConfigPatches": [json.dumps(patch)],
        "nodes": [_describe_node(node) for node in make_plan(spec).nodes],
        **({"featureGates": dict.fromkeys(spec.feature_gates, True)} if spec.feature_gates else {}),
        **({"runtimeConfig": dict.fromkeys(spec.runtime_config, "true")} if spec.runtime_config else {}),
    }


def render_config(spec: KindSpec) -> str:
    """Return the document as kind reads it: JSON, which is YAML."""
    return json.dumps(cluster_config(spec), indent=1) + "\n"


def digest_spec(spec: KindSpec) -> str:
    """Return what a kept cluster must have been made from to be reused: configuration and node image.

    Mode, overlay and rp_filter are left out: they are set again whenever a cluster is reused.
    """
    text = json.dumps([cluster_config(spec), spec.image, spec.has_arranged_blocks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _describe_node(node: NodePlan) -> JsonObject:
    registration: JsonObject = {"kubeletExtraArgs": {"provider-id": node.provider_id}}
    if node.is_control_plane:
        registration["taints"] = []
    kind = "InitConfiguration" if node.is_control_plane else "JoinConfiguration"
    return {
        "role": "control-plane" if node.is_control_plane else "worker",
        "labels": {"topology.kubernetes.io/zone": node.zone},
        "kubeadmConfigPatches": [json.dumps({"kind": kind, "nodeRegistration": registration})],
    }


def _choose_image(kubernetes: tuple[int, int], image: str | None) -> str:
    if image is None:
        return find_node_image(kubernetes).reference
    match = _IMAGE_VERSION.search(image)
    if match and (int(match[1]), int(match[2])) != kubernetes:
        wanted = f"{kubernetes[0]}.{kubernetes[1]}"
        raise UsageError(
            where="--kind-image", found=image, expected=f"an image of Kubernetes {wanted}, the version of the Shoot"
        )
    return image

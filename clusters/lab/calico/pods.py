"""The calico-node pods as documents: written by the DaemonSet, read by the doubles.

Pure. A pod carries its template, so what calico-node does on a node follows from its pod and not from the DaemonSet: while a
roll goes on, old and new templates run side by side.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Final

from clusters.lab.json_merge import copy_json
from gardener.manifests.calico_node import CLEANUP_ROUTES
from hitless.calico import CALICO_CONFIG, CALICO_NODE
from hitless.errors import UsageError
from hitless.objects import is_ready
from hitless.words import JsonObject, Kind

HASH_LABEL: Final = "controller-revision-hash"
"""Which template a pod has. Source: k8s.io/api apps/v1 DefaultDaemonSetUniqueLabelKey."""
BACKENDS: Final = ("bird", "vxlan", "none")
"""Source: NC pkg/apis/calico/validation/networkconfig.go:27-30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoPod:
    """One calico-node pod as the doubles see it."""

    name: str
    """Unique among all pods that ever were: another name is another incarnation."""
    node: str
    """Name of the node that it runs on."""
    template: str
    """Hash of its template."""
    backend: str
    """CALICO_NETWORKING_BACKEND of its container: one of BACKENDS."""
    is_vxlan_refused: bool
    """Whether FELIX_VXLANENABLED is explicitly false; absent means that the IPPool decides."""
    is_ipip_enabled: bool
    """Whether FELIX_IPINIPENABLED is explicitly true."""
    has_wireguard: bool
    """Whether FELIX_WIREGUARDENABLED is true."""
    has_ipv6: bool
    """Whether FELIX_IPV6SUPPORT is true."""
    has_cleanup: bool
    """Whether it begins with cleanup-routes."""
    is_started: bool
    """Whether its containers run (Felix, and BIRD where the backend is bird)."""
    is_ready: bool

    @property
    def has_bird(self) -> bool:
        """Whether its BIRD runs."""
        return self.is_started and self.backend == "bird"


def read_pod(document: JsonObject, config: JsonObject | None) -> CalicoPod:
    """Read a pod of the DaemonSet.

    Args:
        document: the Pod.
        config: the ConfigMap calico-config, or None if there is none; a container takes its environment from it when it
            is created.

    Raises:
        UsageError: the pod's template is none of calico-node, or its backend is unknown.
    """
    metadata, spec = document["metadata"], document["spec"]
    containers = {item["name"]: item for item in spec.get("containers", [])}
    if CALICO_NODE not in containers:
        found = ", ".join(containers) or "no container"
        raise UsageError(where=f"Pod {metadata['name']}", place="spec.containers", found=found, expected=CALICO_NODE)
    environment = _environment(containers[CALICO_NODE], config)
    backend = environment.get("CALICO_NETWORKING_BACKEND", "bird")
    if backend not in BACKENDS:
        place = "CALICO_NETWORKING_BACKEND"
        raise UsageError(where=f"Pod {metadata['name']}", place=place, found=backend, expected=", ".join(BACKENDS))
    pod = CalicoPod(
        name=metadata["name"],
        node=spec["nodeName"],
        template=metadata["labels"][HASH_LABEL],
        backend=backend,
        is_vxlan_refused=environment.get("FELIX_VXLANENABLED") == "false",
        is_ipip_enabled=environment.get("FELIX_IPINIPENABLED") == "true",
        has_wireguard=environment.get("FELIX_WIREGUARDENABLED") == "true",
        has_ipv6=environment.get("FELIX_IPV6SUPPORT") == "true",
        has_cleanup=any(item["name"] == CLEANUP_ROUTES for item in spec.get("initContainers", [])),
        is_started=False,
        is_ready=False,
    )
    return with_status(pod, document)


def with_status(pod: CalicoPod, document: JsonObject) -> CalicoPod:
    """Return the same pod with the status that its document has now."""
    statuses = document.get("status", {}).get("containerStatuses", [])
    is_started = any(item["name"] == CALICO_NODE and item.get("started") is True for item in statuses)
    return replace(pod, is_started=is_started, is_ready=is_ready(document))


def make_pod(daemon_set: JsonObject, node: str, predecessor: str | None) -> JsonObject:
    """Return a new Pod of the DaemonSet, bound to a node.

    Args:
        daemon_set: its owner.
        node: name of the node.
        predecessor: name of the pod that this node had before, or None: names follow from it, so they do not return and are
            the same in every run.
    """
    template = copy_json(daemon_set["spec"]["template"])
    suffix = hashlib.sha256(f"{node} {predecessor}".encode()).hexdigest()[:5]
    return {
        "apiVersion": "v1",
        "kind": Kind.POD.value,
        "metadata": {
            **template.get("metadata", {}),
            "name": f"{CALICO_NODE}-{node}-{suffix}",
            "namespace": "kube-system",
            "labels": {**template.get("metadata", {}).get("labels", {}), HASH_LABEL: template_hash(daemon_set)},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": Kind.DAEMON_SET.value, "name": CALICO_NODE, "controller": True}
            ],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def make_status(*, is_ready: bool) -> JsonObject:
    """Return the status of a pod whose containers run."""
    ready = {"type": "Ready", "status": "True" if is_ready else "False"}
    container = {"name": CALICO_NODE, "started": True, "ready": is_ready}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}


def template_hash(daemon_set: JsonObject) -> str:
    """Return the hash of a DaemonSet's pod template: another hash, and only that, is another pod."""
    text = json.dumps(daemon_set["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _environment(container: JsonObject, config: JsonObject | None) -> dict[str, str]:
    """Return a container's environment; a later entry of the same name wins, as for a real container."""
    environment: dict[str, str] = {}
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("configMapKeyRef")
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        elif reference and reference["name"] == CALICO_CONFIG and config:
            value = config.get("data", {}).get(reference["key"])
            if value is not None:
                environment[entry["name"]] = value
    return environment

"""A reference for the Calico extension: the double's decision and manifests behind a real watch, as a process of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import time

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.collection import Collection
from clusters.kubernetes.installer import Installer
from clusters.kubernetes.resources import RESOURCES, Resource
from clusters.programs.seed_objects import CLUSTERS, MANAGED_RESOURCE, MANAGED_RESOURCES, NETWORKS, OPERATION, SEED_NAMESPACE
from gardener.feature_gates import FeatureGates, parse_feature_gates
from gardener.gate import GateInput, Outcome, decide
from gardener.manifests.render import render
from gardener.shoot import Shoot, parse_shoot
from hitless.clock import read_wall_time
from hitless.words import JsonObject, Kind
from tests.kind.ippool_crd import ip_pool_crd
from tests.programs.reference_api import connect_to, find, patch, patch_status, pause, read_config, read_flags, say

_SECRETS = Resource(api_version="v1", plural="secrets", is_namespaced=True)
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.005, 1000.0


def main() -> None:
    flags = read_flags("config-file", "kubeconfig")
    gates = parse_feature_gates(read_config(flags, "config_file"), "--config-file")
    calls = connect_to(flags.kubeconfig)
    networks = Collection(calls, NETWORKS, "Network", SEED_NAMESPACE)
    networks.start()
    delay_s, due_s = 0.0, float("inf")
    while True:
        for network in networks.objects:
            is_asked = OPERATION in (network["metadata"].get("annotations") or {})
            if is_asked or time.monotonic() >= due_s:
                error = reconcile(calls, gates, network)
                delay_s = 0.0 if error is None else min(_BACKOFF_MAX_S, 2 * delay_s or _BACKOFF_FIRST_S)
                due_s = float("inf") if error is None else time.monotonic() + delay_s
        pause()


def reconcile(calls: ApiCalls, gates: FeatureGates, network: JsonObject) -> str | None:
    """Reconcile a Network, and return the error where the gate holds."""
    name = network["metadata"]["name"]
    patch(calls, NETWORKS.path(name, namespace=SEED_NAMESPACE), {"metadata": {"annotations": {OPERATION: None}}})
    cluster = calls.call("GET", CLUSTERS.path(SEED_NAMESPACE), about="Cluster")
    shoot = parse_shoot(cluster["spec"]["shoot"], "Cluster")
    nodes = calls.call("GET", RESOURCES[Kind.NODE].path(), about="Nodes")["items"]
    knowledge = GateInput(feature_gates=gates, shoot=shoot, last_manifest=_read_manifest(calls), nodes=nodes)
    decision = decide(knowledge)
    say(f"decided {decision.outcome}")
    if decision.outcome is Outcome.HOLD:
        return hold(calls, network, decision.error or "")
    _write(calls, shoot, gates)
    operation = {"state": "Succeeded", "description": "reconciled", "lastUpdateTime": read_wall_time()}
    patch_status(calls, NETWORKS, network, {"lastOperation": operation, "lastError": None})
    return None


def hold(calls: ApiCalls, network: JsonObject, error: str) -> str:
    description = f"Error reconciling Network: {error}"
    operation = {"state": "Error", "description": description, "lastUpdateTime": read_wall_time()}
    patch_status(calls, NETWORKS, network, {"lastOperation": operation, "lastError": {"description": description}})
    return error


def _read_manifest(calls: ApiCalls) -> list[JsonObject] | None:
    managed = find(calls, MANAGED_RESOURCES.path(MANAGED_RESOURCE, namespace=SEED_NAMESPACE))
    if managed is None:
        return None
    (reference,) = managed["spec"]["secretRefs"]
    secret = find(calls, _SECRETS.path(reference["name"], namespace=SEED_NAMESPACE))
    return None if secret is None else [*json.loads(base64.b64decode(secret["data"]["objects"]))]


def _write(calls: ApiCalls, shoot: Shoot, gates: FeatureGates) -> None:
    content = json.dumps([ip_pool_crd(), *render(shoot, gates)]).encode()
    metadata = {"namespace": SEED_NAMESPACE}
    secret = f"{MANAGED_RESOURCE}-{hashlib.sha256(content).hexdigest()[:8]}"
    Installer(calls).install(
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {**metadata, "name": secret},
                "data": {"objects": base64.b64encode(content).decode()},
            },
            {
                "apiVersion": MANAGED_RESOURCES.api_version,
                "kind": "ManagedResource",
                "metadata": {**metadata, "name": MANAGED_RESOURCE},
                "spec": {"secretRefs": [{"name": secret}]},
            },
        )
    )


if __name__ == "__main__":
    main()

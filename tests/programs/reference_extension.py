"""A reference for the Calico extension: the double's decision and manifests behind a real watch, as a separate process."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.installer import RESOURCES, Installer, Resource
from clusters.kubernetes.watcher import Collection
from clusters.programs.seed_objects import CLUSTERS, MANAGED_RESOURCE, MANAGED_RESOURCES, NETWORKS, OPERATION
from gardener.feature_gates import FeatureGates, load_feature_gates
from gardener.gate import GateInput, Outcome, decide
from gardener.manifests.render import render
from gardener.shoot import parse_shoot
from hitless.clock import read_wall_time
from hitless.errors import UsageError
from hitless.words import JsonObject, Kind
from tests.kind.ippool_crd import ip_pool_crd
from tests.programs.reference_api import (
    connect_to,
    find,
    patch,
    patch_status,
    pause,
    read_flags,
    read_objects,
    say,
)

_SECRETS = Resource(api_version="v1", plural="secrets", is_namespaced=True)
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.005, 1000.0


@dataclass
class Backoff:
    """Time of the next look at a Network without a request."""

    delay_s: float = 0.0
    due_s: float = float("inf")

    def note(self, error: str | None) -> None:
        self.delay_s = 0.0 if error is None else min(_BACKOFF_MAX_S, 2 * self.delay_s or _BACKOFF_FIRST_S)
        self.due_s = float("inf") if error is None else time.monotonic() + self.delay_s


def main() -> None:
    flags = read_flags("config-file", "kubeconfig")
    gates = load_feature_gates(Path(flags.config_file))
    calls = connect_to(flags.kubeconfig)
    networks = Collection(calls, NETWORKS, "Network")
    networks.start()
    backoffs: defaultdict[str, Backoff] = defaultdict(Backoff)
    while True:
        for network in networks.objects:
            backoff = backoffs[network["metadata"]["namespace"]]
            is_asked = OPERATION in (network["metadata"].get("annotations") or {})
            if is_asked or time.monotonic() >= backoff.due_s:
                backoff.note(reconcile(calls, gates, network))
        pause()


def reconcile(calls: ApiCalls, gates: FeatureGates, network: JsonObject) -> str | None:
    """Reconcile a Network, and return the error if the gate holds or the Shoot is refused."""
    name, namespace = network["metadata"]["name"], network["metadata"]["namespace"]
    patch(calls, NETWORKS.path(name, namespace=namespace), {"metadata": {"annotations": {OPERATION: None}}})
    cluster = calls.call("GET", CLUSTERS.path(namespace), about="Cluster")
    nodes = calls.call("GET", RESOURCES[Kind.NODE].path(), about="Nodes")["items"]
    try:
        shoot = parse_shoot(cluster["spec"]["shoot"], "Cluster")
        manifest = _read_manifest(calls, namespace)
        decision = decide(GateInput(feature_gates=gates, shoot=shoot, last_manifest=manifest, nodes=nodes))
        say(f"{namespace}: {decision.outcome}")
        if decision.outcome is Outcome.HOLD:
            return hold(calls, network, decision.error or "")
        _write(calls, namespace, [ip_pool_crd(), *render(shoot, gates)])
    except UsageError as error:
        return hold(calls, network, str(error))
    operation = {"state": "Succeeded", "description": "reconciled", "lastUpdateTime": read_wall_time()}
    patch_status(calls, NETWORKS, network, {"lastOperation": operation, "lastError": None})
    return None


def hold(calls: ApiCalls, network: JsonObject, error: str) -> str:
    description = f"Error reconciling Network: {error}"
    operation = {"state": "Error", "description": description, "lastUpdateTime": read_wall_time()}
    patch_status(calls, NETWORKS, network, {"lastOperation": operation, "lastError": {"description": description}})
    return error


def _read_manifest(calls: ApiCalls, namespace: str) -> list[JsonObject] | None:
    managed = find(calls, MANAGED_RESOURCES.path(MANAGED_RESOURCE, namespace=namespace))
    if managed is None:
        return None
    (reference,) = managed["spec"]["secretRefs"]
    secret = find(calls, _SECRETS.path(reference["name"], namespace=namespace))
    return None if secret is None else read_objects(secret)


def _write(calls: ApiCalls, namespace: str, documents: list[JsonObject]) -> None:
    content = "\n---\n".join(map(json.dumps, documents)).encode()
    metadata = {"namespace": namespace}
    secret = f"{MANAGED_RESOURCE}-{hashlib.sha256(content).hexdigest()[:8]}"
    Installer(calls).install(
        (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {**metadata, "name": secret},
                "data": {"objects.yaml": base64.b64encode(content).decode()},
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

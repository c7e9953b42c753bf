"""gardener-extension-networking-calico and gardener-resource-manager as programs: requests to them, and their visible effects.

gardenlet is simulated here: it writes Cluster and Network, requests a reconcile by an annotation, and repeats it every three
minutes while the Network has an error. Gate events come from the Network's status and from the ManagedResource, the only places
where the program's decision is visible. Which nodes lacked a route is not known.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.installer import Installer
from clusters.kubernetes.watcher import Collection
from clusters.programs.api_server import ApiServer
from clusters.programs.process import Process
from clusters.programs.seed_objects import (
    COMPRESSED_KEY,
    MANAGED_RESOURCE,
    MANAGED_RESOURCES,
    NETWORK,
    NETWORKS,
    OPERATION,
    SECRETS,
    SEED_NAMESPACE,
    cluster,
    network,
    secret,
    store,
)
from gardener.feature_gates import CONTROLLER_CONFIGURATION, FeatureGates
from gardener.gate import GateInput, Reason, decide
from gardener.manifests.render import render
from gardener.shoot import Shoot
from hitless.events import Recorder
from hitless.objects import name_of
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, SECOND, JsonObject, Kind, Nanoseconds

NAME: Final = "gardener-extension-networking-calico"
RETRY_NS: Final = Nanoseconds(180 * SECOND)
"""gardenlet reconciles a failed Shoot again after this long. Source: observed; gardenlet's retry of the Shoot flow."""
_SERVED_S: Final = 120.0
"""Longest time until the definitions of Cluster and Network are served."""
_POLL_NS: Final = Nanoseconds(2 * MILLISECOND)


def start_extension(path: Path, feature_gates: FeatureGates, server: ApiServer) -> Process:
    """Start the program, with the feature gates in its ControllerConfiguration. Raises WorldError."""
    config = server.data / f"{NAME}.json"
    config.write_text(json.dumps(_configuration(feature_gates)), encoding="utf-8")
    arguments = [
        str(path.resolve()),
        f"--config-file={config}",
        f"--kubeconfig={server.kubeconfig}",
        "--leader-election=false",
        f"--heartbeat-namespace={SEED_NAMESPACE}",
        "--metrics-bind-address=0",
        "--health-bind-address=0",
    ]
    return Process(NAME, arguments, server.logs, {"LEADER_ELECTION_NAMESPACE": SEED_NAMESPACE})


def _configuration(feature_gates: FeatureGates) -> JsonObject:
    return {
        "apiVersion": CONTROLLER_CONFIGURATION,
        "kind": "ControllerConfiguration",
        "clientConnection": {
            "acceptContentTypes": "application/json",
            "contentType": "application/json",
            "qps": 100,
            "burst": 130,
        },
        "featureGates": {
            "SeamlessOverlaySwitch": feature_gates.seamless_overlay_switch,
            "NonPrivilegedCalicoNode": feature_gates.non_privileged_calico_node,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One request of the operator, or the arrival in another seed."""

    shoot: Shoot
    due_ns: Nanoseconds
    """When gardenlet writes the Network."""
    operation: str = "reconcile"


class ExtensionProgram:
    """Simulates gardenlet, and records what is visible of the two programs; a Participant.

    Args:
        calls: the programs' API.
        kube: the cluster's own, for the names of its nodes.
        reconcile_ns: from the operator's request to the Network's change.
    """

    name: Final = NAME
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self,
        calls: ApiCalls,
        kube: KubeApi,
        feature_gates: FeatureGates,
        *,
        recorder: Recorder,
        reconcile_ns: Nanoseconds,
        start_process: Callable[[], Process],
    ) -> None:
        self._recorder = recorder
        self._calls, self._installer, self._kube = calls, Installer(calls), kube
        self._feature_gates, self._reconcile_ns = feature_gates, reconcile_ns
        self._networks = Collection(calls, NETWORKS, "Network", SEED_NAMESPACE)
        self._managed = Collection(calls, MANAGED_RESOURCES, "ManagedResource", SEED_NAMESPACE)
        self._start_process = start_process
        self._process: Process | None = None
        self._shoot: Shoot | None = None
        self._written_shoot: Shoot | None = None
        """The Shoot of the manifests that the extension wrote last; None: it cannot read them."""
        self._requests: deque[_Request] = deque()
        self._before: JsonObject = {}
        """The last operation as it was before the last request; empty: there was none."""
        self._written: Any = None
        """References to the secrets that the ManagedResource had at the last decision."""
        self._is_decided, self._is_migrated = True, False
        self._annotated_ns = Nanoseconds(0)
        self._held_since_ns: Nanoseconds | None = None
        self._last_error: tuple[object, ...] | None = None

    def start(self, shoot: Shoot) -> None:
        """Write the objects of a Shoot, begin to follow, and start the program. Raises ApiError, WorldError."""
        self._shoot = self._written_shoot = shoot
        self._installer.install_when_served(self._documents(shoot, "reconcile"), timeout_s=_SERVED_S)
        self._networks.start()
        self._managed.start()
        self._process = self._start_process()

    def stop(self) -> None:
        """End it. Safe to call twice."""
        self.end_process()
        self._networks.stop()
        self._managed.stop()

    def begin(self) -> None:
        """Take what is written now as the state before the first request."""
        self._written = self._read_written()

    def request(self, shoot: Shoot, at_ns: Nanoseconds) -> None:
        """Take a changed Shoot; gardenlet writes the Network `reconcile_ns` later."""
        self._requests.append(_Request(shoot=shoot, due_ns=Nanoseconds(at_ns + self._reconcile_ns)))

    def compress_manifest(self) -> None:
        """Compress what the extension wrote last, as Gardener does: only the resource manager can read that."""
        documents: list[bytes] = []
        compressed: JsonObject = {}
        name = f"{MANAGED_RESOURCE}-compressed"
        for reference in self._managed_resource()["spec"]["secretRefs"]:
            path = SECRETS.path(reference["name"], namespace=SEED_NAMESPACE)
            written = self._calls.call("GET", path, about=path)
            documents += map(base64.b64decode, written["data"].values())
            compressed = secret(name, {COMPRESSED_KEY: store(b"\n---\n".join(documents))})
            # The extension would set missing labels first, and the resource manager would apply the old manifest again.
            compressed["metadata"]["labels"] = written["metadata"].get("labels") or {}
        self._installer.install((compressed,))
        path = MANAGED_RESOURCES.path(MANAGED_RESOURCE, namespace=SEED_NAMESPACE)
        self._calls.patch(path, {"spec": {"secretRefs": [{"name": name}]}}, about=f"ManagedResource {MANAGED_RESOURCE}")
        self._written_shoot = None

    def migrate(self) -> None:
        """Ask the extension to leave this seed: it deletes its ManagedResource and keeps the objects."""
        self._is_decided, self._is_migrated = True, True
        self._held_since_ns = self._written_shoot = None
        self._ask("migrate")

    def restore(self, at_ns: Nanoseconds) -> None:
        """Take the Shoot as it is in another seed; it is written `reconcile_ns` later, once the extension has left."""
        assert self._shoot is not None  # noqa: S101 - it was migrated
        due_ns = Nanoseconds(at_ns + self._reconcile_ns)
        self._requests.append(_Request(shoot=self._shoot, due_ns=due_ns, operation="restore"))

    def annotate(self, _at_ns: Nanoseconds, /) -> None:
        """Ask for a look, as gardenlet does when the Shoot is reconciled again."""
        self._ask("reconcile")

    def _ask(self, operation: str) -> None:
        path, body = NETWORKS.path(NETWORK, namespace=SEED_NAMESPACE), {"metadata": {"annotations": {OPERATION: operation}}}
        self._calls.patch(path, body, about=f"Network {NETWORK}")

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: ARG002, FBT001 - the program takes its own time
        """Stop the program, or start it again."""
        self.end_process()
        if not is_away:
            self._process = self._start_process()

    def end_process(self) -> None:
        """End the program. Safe to call twice."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def check(self) -> None:
        """Raise WorldError if the program has ended unexpectedly."""
        if self._process is not None:
            self._process.check()

    def quote(self) -> str:
        """Return the last lines of its log."""
        return "" if self._process is None else self._process.quote()

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Write what is due, and record what is seen."""
        if self._requests and now_ns >= self._requests[0].due_ns and not self._is_leaving():
            self._write(self._requests.popleft(), now_ns)
        if not self._is_decided:
            self._look(now_ns)
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether the last request is decided, and everything that was written is applied."""
        return not self._requests and self._is_decided and not self._is_migrated and self.is_applied()

    def refresh(self) -> None:
        """List what is followed: a Network may be known to be reconciled before its new ManagedResource is. Raises ApiError."""
        # In this order, because the Network's status is written after the ManagedResource.
        self._networks.read()
        self._managed.read()

    def is_applied(self) -> bool:
        """Return whether the Network is reconciled and its ManagedResource applied, both as they are now."""
        has_succeeded = self._operation().get("state") == "Succeeded" and not self._is_asked()
        managed = self._managed_resource()
        return has_succeeded and _is_current(self._network()) and _is_current(managed) and _has_applied(managed)

    def describe(self) -> str:
        """Describe Network and ManagedResource, for the message if the request is never carried out."""
        operation = self._operation()
        conditions = (self._managed_resource().get("status") or {}).get("conditions") or ()
        said = [f"Network: {operation.get('state', 'no status')}: {operation.get('description', '')}"]
        said += [f"ManagedResource: {one.get('type')} {one.get('status')}: {one.get('message')}" for one in conditions]
        return "; ".join(said)

    def _write(self, request: _Request, now_ns: Nanoseconds) -> None:
        self._before = self._operation()
        self._written = self._read_written()
        self._shoot, self._is_decided, self._is_migrated, self._held_since_ns = request.shoot, False, False, None
        self._installer.install(self._documents(request.shoot, request.operation))
        self._annotated_ns = now_ns

    def _look(self, now_ns: Nanoseconds) -> None:
        status = self._network().get("status") or {}
        operation, error = status.get("lastOperation") or {}, status.get("lastError") or {}
        if self._read_written() != self._written:
            self._decide(now_ns)
        elif operation == self._before:
            return
        elif operation.get("state") == "Error":
            self._hold(error.get("description"), operation, now_ns)
        elif operation.get("state") == "Succeeded" and not self._is_asked() and _is_current(self._network()):
            self._decide(now_ns)

    def _hold(self, error: str | None, operation: JsonObject, now_ns: Nanoseconds) -> None:
        seen = (error, operation.get("lastUpdateTime"))
        if seen != self._last_error:
            self._last_error = seen
            if self._held_since_ns is None:
                self._held_since_ns = now_ns
            self._recorder.record("gate.held", missing=None, error=error, retry_ns=None)
        if now_ns >= self._annotated_ns + RETRY_NS:
            self._annotated_ns = now_ns
            self.annotate(now_ns)

    def _decide(self, now_ns: Nanoseconds) -> None:
        """Record that the extension proceeded, with the reason that follows from the request and its knowledge."""
        self._is_decided, self._written = True, self._read_written()
        reason = None if self._held_since_ns is not None else self._find_reason()
        if reason is not None:
            self._recorder.record("gate.not_applicable", reason=reason.value)
        else:
            held_ns = 0 if self._held_since_ns is None else now_ns - self._held_since_ns
            nodes = [name_of(node) for node in self._kube.list(Kind.NODE)]
            self._recorder.record("gate.opened", held_ns=held_ns, nodes=nodes)
        self._written_shoot = self._shoot

    def _find_reason(self) -> Reason | None:
        """Return why a gate that was not seen to hold did not apply, by the extension's own rules; None: it was open."""
        assert self._shoot is not None  # noqa: S101 - something was requested
        gates, before = self._feature_gates, self._written_shoot
        manifest = None if before is None else render(before, gates)
        return decide(GateInput(feature_gates=gates, shoot=self._shoot, last_manifest=manifest, nodes=())).reason

    def _is_leaving(self) -> bool:
        """Return whether the extension has been asked to leave this seed and has not left yet."""
        operation = self._operation()
        has_left = (operation.get("type"), operation.get("state")) == ("Migrate", "Succeeded")
        return self._is_migrated and (self._is_asked() or not has_left or bool(self._managed_resource()))

    @staticmethod
    def _documents(shoot: Shoot, operation: str) -> tuple[JsonObject, JsonObject]:
        """Return Cluster and Network of a Shoot, as gardenlet writes them."""
        spec: JsonObject = {
            "podCIDR": shoot.pod_cidr,
            "serviceCIDR": shoot.service_cidr,
            "ipFamilies": list(shoot.spec.networking.ip_families),
        }
        if shoot.network is not None:
            spec["providerConfig"] = shoot.network.model_dump(mode="json", by_alias=True, exclude_none=True)
        return cluster(shoot.model_dump(mode="json", by_alias=True, exclude_none=True)), network(spec, operation)

    def _operation(self) -> JsonObject:
        """Return the last operation that the Network's status has; empty: none."""
        return (self._network().get("status") or {}).get("lastOperation") or {}

    def _network(self) -> JsonObject:
        return next((one for one in self._networks.objects if name_of(one) == NETWORK), {})

    def _managed_resource(self) -> JsonObject:
        return next((one for one in self._managed.objects if name_of(one) == MANAGED_RESOURCE), {})

    def _read_written(self) -> object:
        return (self._managed_resource().get("spec") or {}).get("secretRefs")

    def _is_asked(self) -> bool:
        return OPERATION in ((self._network().get("metadata") or {}).get("annotations") or {})


def _is_current(document: JsonObject) -> bool:
    generation = (document.get("metadata") or {}).get("generation")
    return generation is not None and (document.get("status") or {}).get("observedGeneration") == generation


def _has_applied(managed: JsonObject) -> bool:
    conditions = (managed.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "ResourcesApplied" and one.get("status") == "True" for one in conditions)

"""Start of gardener-resource-manager, and the stand-in for the garbage collector for which it waits.

Source: gardener cmd/gardener-resource-manager, example/resource-manager/10-componentconfig.yaml.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Final

from clusters.kubernetes.api_calls import ApiCalls
from clusters.kubernetes.installer import NAMESPACE, RESOURCES
from clusters.kubernetes.watcher import Collection
from clusters.programs.api_server import ApiServer
from clusters.programs.process import Process, free_port
from clusters.programs.seed_objects import SEED_NAMESPACE
from hitless.errors import NotFoundError
from hitless.objects import name_of
from hitless.words import MILLISECOND, SECOND, JsonObject, Kind, Nanoseconds

NAME: Final = "gardener-resource-manager"
_COLLECT_NS: Final = Nanoseconds(500 * MILLISECOND)
"""From a deletion to the garbage collector's answer. A typical value; the program looks again after 5 s."""
_IDLE_NS: Final = Nanoseconds(SECOND // 10)
_COLLECTED: Final = (Kind.DEPLOYMENT, Kind.DAEMON_SET)
"""What the program deletes in the foreground, apps/v1. Source: gardener managedresource/reconciler.go:726."""


def start_resource_manager(path: Path, server: ApiServer) -> Process:
    """Start the program: source and target are the one API. Raises WorldError."""
    certificates = server.data / NAME
    certificates.mkdir()
    for source, name in zip(server.certificate, ("tls.crt", "tls.key"), strict=True):
        shutil.copy(source, certificates / name)
    config = server.data / f"{NAME}.json"
    config.write_text(json.dumps(_configuration(server, certificates)), encoding="utf-8")
    return Process(NAME, [str(path.resolve()), f"--config={config}"], server.logs)


def _configuration(server: ApiServer, certificates: Path) -> JsonObject:
    """Return the configuration: the ManagedResource controllers alone, no webhook, no leader election."""
    off = {"enabled": False}
    controllers = ("garbageCollector", "csrApprover", "networkPolicy", "nodeCriticalComponents", "tokenRequestor")
    return {
        "apiVersion": "resourcemanager.config.gardener.cloud/v1alpha1",
        "kind": "ResourceManagerConfiguration",
        "sourceClientConnection": {"kubeconfig": str(server.kubeconfig), "namespaces": [SEED_NAMESPACE]},
        "targetClientConnection": {"kubeconfig": str(server.shoot_kubeconfig), "namespaces": [NAMESPACE]},
        "leaderElection": {"leaderElect": False},
        "server": {
            "webhooks": {"bindAddress": "127.0.0.1", "port": free_port(), "tls": {"serverCertDir": str(certificates)}},
            "healthProbes": {"bindAddress": "127.0.0.1", "port": free_port()},
            "metrics": {"bindAddress": "127.0.0.1", "port": free_port()},
        },
        "logFormat": "text",
        "controllers": {
            "clusterID": "lab",
            "health": {"concurrentSyncs": 5, "syncPeriod": "1m"},
            "managedResources": {"concurrentSyncs": 5, "syncPeriod": "1m", "managedByLabelValue": "gardener"},
            **dict.fromkeys(controllers, off),
        },
    }


class GarbageCollector:
    """Stand-in for the garbage collector: ends deletions in the foreground a little later; a Participant."""

    name: Final = "garbage-collector"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, calls: ApiCalls) -> None:
        self._calls = calls
        self._collections = {kind: Collection(calls, RESOURCES[kind], kind.value, NAMESPACE) for kind in _COLLECTED}
        self._due_ns: dict[tuple[Kind, str], Nanoseconds] = {}

    def start(self) -> None:
        """Begin to follow."""
        for collection in self._collections.values():
            collection.start()

    def stop(self) -> None:
        """End it. Safe to call twice."""
        for collection in self._collections.values():
            collection.stop()

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Release the objects that have waited long enough."""
        waiting = {
            (kind, name_of(document))
            for kind, collection in self._collections.items()
            for document in collection.objects
            if document["metadata"].get("deletionTimestamp") and document["metadata"].get("finalizers")
        }
        self._due_ns = {key: self._due_ns.get(key, Nanoseconds(now_ns + _COLLECT_NS)) for key in sorted(waiting)}
        for (kind, name), due_ns in self._due_ns.items():
            if due_ns <= now_ns:
                # A released object stays in the list until the watch reports that it is gone.
                with contextlib.suppress(NotFoundError):
                    path, released = RESOURCES[kind].path(name), {"metadata": {"finalizers": None}}
                    self._calls.patch(path, released, about=f"{kind.value} {name}")
        return Nanoseconds(now_ns + _IDLE_NS)

    def is_settled(self) -> bool:
        """Return whether nothing is waiting."""
        return not self._due_ns

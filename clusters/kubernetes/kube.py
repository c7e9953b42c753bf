"""The Kubernetes API of a real cluster, as the switch uses it.

The API server must see who writes, because the admission policy depends on it. A write therefore impersonates the user name of
its actor: one set of credentials serves all actors, RBAC and admission policies apply as they do to the ServiceAccount itself,
and no token expires during a run. The kubeconfig's user needs the verb impersonate, which an administrator has. Reads,
deletions and the installer use the kubeconfig's own user.

Server-side apply has one field manager for all actors: the port promises that an apply replaces any earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from clusters.kubernetes.api_calls import STRATEGIC_MERGE, ApiCalls, hitless_errors, list_objects
from clusters.kubernetes.crashes import ReadLog
from clusters.kubernetes.installer import (
    NAMESPACE,
    POLICY_VERSIONS,
    RESOURCES,
    Installer,
    Resource,
    check_namespace,
    server_side_apply,
)
from clusters.kubernetes.watcher import KindWatcher
from clusters.stores import identify
from hitless.errors import ApiError, BugError, NotFoundError
from hitless.words import JsonObject, Kind


class KindKube:
    """KubeApi over HTTP; it watches between `start` and `stop`, and `take_changes` is possible only then."""

    def __init__(self, calls: ApiCalls) -> None:
        self._calls = calls
        self.installer = Installer(calls)
        """For the objects that the switch does not know."""
        self.install = self.installer.install
        self.read_log: ReadLog = calls.read_log
        """Reads a container's log."""
        self.watchers: dict[Kind, KindWatcher] = {}
        """By kind, between `start` and `stop`."""
        self._told: dict[Kind, int] = {}
        """Kind to the version up to which its changes were reported."""
        self._changed: set[Kind] = set()
        """What this process's own writes changed since the last `take_changes`."""
        self._policy_version: str | None = None

    def start(self, kinds: Sequence[Kind] = tuple(Kind)) -> None:
        """Begin to watch: `take_changes` reports every change from now on. Raises ApiError."""
        if self.watchers:
            raise BugError("the Kubernetes API is already being watched")
        self.watchers = {kind: KindWatcher(self._calls, kind.value, partial(self._find_path, kind)) for kind in kinds}
        try:
            for kind, watcher in self.watchers.items():
                watcher.start()
                self._told[kind] = watcher.version or 0
        except ApiError:
            self.stop()
            raise

    def stop(self) -> None:
        """End all watches and connections. Safe to call twice."""
        for watcher in self.watchers.values():
            watcher.stop()
        self.watchers = {}
        self._calls.close()

    def get(self, kind: Kind, name: str) -> JsonObject:
        """Return one object. Raises NotFoundError."""
        return self._calls.call("GET", self._resource(kind).path(name), about=f"{kind.value} {name}")

    def list(self, kind: Kind) -> tuple[JsonObject, ...]:
        """Return all objects of a kind (of kube-system, where it is namespaced); see `list_objects`."""
        resource = self._resource(kind)
        return list_objects(self._calls, resource.path(), resource.api_version, kind.value)[0]

    def apply(self, document: JsonObject, *, actor: str) -> JsonObject:
        """Create the object or replace the earlier apply, as `actor`; see KubeApi.

        Raises:
            UsageError: no kind that the switch knows, no name, or another namespace than kube-system.
            ConflictError: metadata.resourceVersion is given and not current.
        """
        kind, _ = identify(document)
        check_namespace(document, kind)
        applied = server_side_apply(self._calls, self._resource(kind), document, user=user_of(actor))
        self._note_write(kind, applied)
        return applied

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; a missing object is no error."""
        about = f"{kind.value} {name}"
        try:
            answer = self._calls.call("DELETE", self._resource(kind).path(name), about=about)
        except NotFoundError:
            return
        # The server answers with a Status where the object is gone, with the object itself where its deletion takes time.
        if answer.get("kind") == "Status":
            with hitless_errors(f"DELETE {about}"):
                _ = answer["details"]["uid"]  # a proxy's answer has none
            self._changed.add(kind)
        else:
            self._note_write(kind, answer)

    def replace_status(self, document: JsonObject, *, actor: str) -> JsonObject:
        """PUT the status as `actor`. Raises ConflictError, NotFoundError, UsageError."""
        kind, name = identify(document)
        check_namespace(document, kind)
        resource = self._resource(kind)
        stored = self._calls.call(
            "PUT",
            resource.path(name, subresource="status"),
            about=f"{kind.value} {name} status",
            query={"fieldManager": _manager(actor)},
            body={**document, "apiVersion": document.get("apiVersion", resource.api_version)},
            user=user_of(actor),
        )
        self._note_write(kind, stored)
        return stored

    def merge_condition(self, node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        """Strategic merge patch of one condition into nodes/status, as `actor`; see KubeApi. Raises NotFoundError."""
        stored = self._calls.call(
            "PATCH",
            self._resource(Kind.NODE).path(node, subresource="status"),
            about=f"Node {node} status",
            query={"fieldManager": _manager(actor)},
            body={"status": {"conditions": [condition]}},
            content_type=STRATEGIC_MERGE,
            user=user_of(actor),
        )
        self._note_write(Kind.NODE, stored)
        return stored

    def take_changes(self) -> frozenset[Kind]:
        """Return the kinds that changed since the last call, and forget them. Raises BugError before `start`."""
        if not self.watchers:
            raise BugError("the Kubernetes API is not being watched; call start first")
        for kind, watcher in self.watchers.items():
            if watcher.has_missed or watcher.changed > self._told[kind]:
                watcher.has_missed, self._told[kind] = False, max(watcher.changed, self._told[kind])
                self._changed.add(kind)
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def _note_write(self, kind: Kind, answer: JsonObject) -> None:
        """Report a write at once; the watch does not report it again, and an apply that changed nothing is not reported.

        The receiver of a report reads all objects, so an earlier change by others need not be reported again.
        """
        with hitless_errors("the answer to a write"):
            version = int(answer["metadata"]["resourceVersion"])
        if version > self._told.get(kind, 0):
            self._told[kind] = version
            self._changed.add(kind)

    def _find_path(self, kind: Kind) -> str:
        return self._resource(kind).path()

    def _resource(self, kind: Kind) -> Resource:
        """Return the resource of a kind, in the version that this server has."""
        resource = RESOURCES[kind]
        if kind not in {Kind.ADMISSION_POLICY, Kind.ADMISSION_POLICY_BINDING}:
            return resource
        if self._policy_version is None:
            self._policy_version = self._find_policy_version()
        return replace(resource, api_version=self._policy_version or resource.api_version)

    def _find_policy_version(self) -> str | None:
        """Return the newest version in which the server has admission policies; None if it has them in none."""
        for version in POLICY_VERSIONS:
            try:
                self.installer.find(version, Kind.ADMISSION_POLICY.value)
            except NotFoundError:
                continue
            return version
        return None


def user_of(actor: str) -> str:
    """Return the user name under which an actor writes: its own, or its ServiceAccount's in kube-system."""
    return actor if ":" in actor else f"system:serviceaccount:{NAMESPACE}:{actor}"


def _manager(actor: str) -> str:
    """Return the manager that managedFields names for a written status: the last part of the user name."""
    return actor.rsplit(":", 1)[-1]

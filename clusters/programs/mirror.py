"""The mirror between the programs' API and the cluster's own: the conditions of Nodes both ways, Calico's objects inward.

Calico's objects are carried only where they changed since the run began: the API server's defaults alone would otherwise roll
every pod. Their images are those of the cluster: a node has no others. What the programs wrote is read by watches in threads of
their own; the loop's thread alone acts. Where both sides changed a condition between two looks, the programs' side wins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Final

from clusters.kubernetes.api_calls import STRATEGIC_MERGE, ApiCalls
from clusters.kubernetes.installer import NAMESPACE, RESOURCES, Installer
from clusters.kubernetes.node_objects import read_calico_image
from clusters.kubernetes.watcher import Collection
from clusters.linux.counters import read_waited_us
from gardener.conditions import NETWORK_UNAVAILABLE, network_unavailable
from gardener.doubles.route_controller import USER
from gardener.releases import CALICO_IMAGES, calico_image
from hitless.calico import pool_mode, template_mode
from hitless.errors import ApiUnavailableError, NotFoundError
from hitless.events import Recorder
from hitless.objects import name_of
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, SECOND, JsonObject, Kind, Mode, Nanoseconds

MANAGED_BY: Final = "resources.gardener.cloud/managed-by"
"""Label of everything that gardener-resource-manager applies. Source: gardener resources/v1alpha1 ManagedBy."""
RESOURCE_MANAGER: Final = "gardener-resource-manager"
ROUTE_CONTROLLER: Final = "aws-custom-route-controller"

_KINDS: Final = (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.DEPLOYMENT, Kind.IP_POOL)
"""Kinds that are copied inward, in the order in which they are written."""
_CONTENT: Final = ("spec", "data")
_PATIENCE_NS: Final = Nanoseconds(20 * MILLISECOND)
"""One watch may report a change at most this much later than another watch reports a later change. Measured: a list takes 1 to
8 ms."""
_POLL_NS: Final = Nanoseconds(2 * MILLISECOND)
_RETRY_NS: Final = Nanoseconds(1 * SECOND)
"""Time between two attempts while the cluster's own API is unavailable."""
_READ_MODE: Final[Mapping[Kind, Callable[[JsonObject], Mode | None]]] = {
    Kind.DAEMON_SET: template_mode,
    Kind.IP_POOL: pool_mode,
}
_Key = tuple[Kind, str]


class Mirror:
    """Carries changes between two APIs; a Participant.

    It looks at the programs' API; its part `outward` looks at the cluster's Nodes, whenever one has changed. On a real cluster
    each look is a call, and the loop cannot afford one every 2 ms.

    Args:
        calls: the programs' API.
        kube: the cluster's own.
        calico_version: tag of the Calico images that the cluster's nodes have.
    """

    name: Final = "mirror"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, calls: ApiCalls, kube: KubeApi, calico_version: str, recorder: Recorder) -> None:
        self._recorder = recorder
        self._calls, self._installer, self._kube, self._calico_version = calls, Installer(calls), kube, calico_version
        self.outward = Outward(self)
        """A separate participant."""
        self._nodes = Collection(calls, RESOURCES[Kind.NODE], Kind.NODE.value)
        self._collections = {kind: Collection(calls, RESOURCES[kind], kind.value, NAMESPACE) for kind in _KINDS}
        self._contents: dict[_Key, JsonObject] = {}
        self._conditions: dict[str, JsonObject | None] = {}
        """Node to its condition on both sides at the last look; None: it had none."""
        self._seen_ns: dict[_Key, Nanoseconds] = {}
        """Objects that have changed and are not copied yet, with the time at which the change was seen."""
        self._looked_ns = Nanoseconds(0)
        """Time of the last look at the objects."""
        self._written: dict[str, int] = {}
        """Node to the revision of the last condition that was copied outward: older reports are stale."""
        self._news: dict[str, JsonObject | None] = {}
        """Node to its condition in the programs' API, if that is newer than the last look."""

    def start(self) -> None:
        """Begin to follow the programs' API, which has the cluster's Nodes as they are now."""
        self._conditions = {name_of(node): _read_condition(node) for node in self._kube.list(Kind.NODE)}
        for collection in (self._nodes, *self._collections.values()):
            collection.start()

    def stop(self) -> None:
        """End it. Safe to call twice."""
        for collection in (self._nodes, *self._collections.values()):
            collection.stop()

    def begin(self) -> None:
        """Ignore everything that exists already: changes count from now on. Raises ApiError."""
        # The watch of a kind that was not served a moment ago may not have reported existing objects yet.
        self.refresh()
        for collection in self._collections.values():
            collection.take()
        self._contents = self._read_contents()

    def refresh(self) -> None:
        """List what is followed, so that nothing that is there now is missing. Raises ApiError."""
        for collection in self._collections.values():
            with contextlib.suppress(NotFoundError):
                collection.read()

    def find_calico_version(self) -> str | None:
        """Return the tag of calico-node's image as the programs rendered it; None: there is no calico-node. Raises ApiError."""
        found = self._collections[Kind.DAEMON_SET].read()
        return next((tag for one in found if (tag := read_calico_image(one)[0])), None)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds:
        """Copy inward what changed in the programs' API since the last look."""
        try:
            self._carry_conditions_in()
            self._carry_objects(now_ns)
        except ApiUnavailableError:
            return Nanoseconds(now_ns + _RETRY_NS)
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether the objects here and there are the same."""
        return self._read_contents() == self._contents

    def carry_nodes(self) -> None:
        """Copy the changes of the cluster's Nodes outward. Raises ApiUnavailableError: the cluster's API is unavailable."""
        self._carry_conditions_in()
        nodes = {name_of(node): node for node in self._kube.list(Kind.NODE)}
        for name in self._conditions.keys() - nodes.keys():
            self._installer.uninstall([node_as_created({"metadata": {"name": name}})])
            del self._conditions[name]
        for name, node in nodes.items():
            if name not in self._conditions:
                self._installer.install([node_as_created(node)])
                self._conditions[name], self._written[name] = None, _version_of(self._installer.get(node_as_created(node)))
            condition = _read_condition(node)
            if _says_other(condition, self._conditions[name]):
                self._carry_out(name, condition)

    def _carry_conditions_in(self) -> None:
        self._news |= {
            name_of(node): _read_condition(node)
            for node in self._nodes.take() or ()
            if _version_of(node) >= self._written.get(name_of(node), 0)
        }
        for name, condition in tuple(self._news.items()):
            if name in self._conditions and condition is not None and _says_other(condition, self._conditions[name]):
                self._carry_in(name, condition)
            # Last, because the cluster's own API can be unavailable; the change is then read again.
            del self._news[name]

    def _carry_in(self, node: str, condition: JsonObject) -> None:
        try:
            self._kube.merge_condition(node, condition, actor=USER)
        except NotFoundError:
            return  # it has just been deleted; `outward` will see that
        self._conditions[node] = condition
        facts = {"status": condition.get("status"), "reason": condition.get("reason")}
        self._recorder.record("condition.written", node=node, **facts, actor=ROUTE_CONTROLLER)

    def _carry_out(self, node: str, condition: JsonObject | None) -> None:
        entry = condition or {"type": NETWORK_UNAVAILABLE, "$patch": "delete"}
        path, body = RESOURCES[Kind.NODE].path(node, subresource="status"), {"status": {"conditions": [entry]}}
        answer = self._calls.patch(path, body, about=f"Node {node} status", content_type=STRATEGIC_MERGE)
        self._conditions[node], self._written[node] = condition, _version_of(answer)

    def _carry_objects(self, now_ns: Nanoseconds) -> None:
        """Copy each object a moment after it was seen: the watch of another kind may report an earlier change later."""
        # Every collection is read, so that the next look begins after this one.
        news = [collection.take() for collection in self._collections.values()]
        documents = self._read_documents()
        if any(one is not None for one in news):
            changed = {key for key, document in documents.items() if self._contents.get(key) != _content_of(document)}
            gone = self._contents.keys() - documents.keys()
            for kind, name in sorted(changed - self._seen_ns.keys()):
                facts: JsonObject = {"after_ns": int(self._looked_ns), "waited_us": read_waited_us()}
                self._recorder.record("object.written", kind=kind.value, name=name, **facts)
            self._seen_ns = {key: self._seen_ns.get(key, now_ns) for key in changed | gone}
        self._looked_ns = now_ns
        due = [key for key, seen_ns in self._seen_ns.items() if now_ns >= seen_ns + _PATIENCE_NS]
        if not due:
            return
        versions = {key: _version_of(documents.get(key)) for key in self._seen_ns}
        last = max(versions[key] for key in due)
        for key in sorted(versions, key=versions.__getitem__):
            if versions[key] <= last:
                self._carry(key, documents.get(key))
                del self._seen_ns[key]

    def _carry(self, key: _Key, document: JsonObject | None) -> None:
        kind, name = key
        if document is None:
            self._kube.delete(kind, name)
            del self._contents[key]
            self._recorder.record("object.deleted", kind=kind.value, name=name)
            return
        self._kube.apply(_as_applied(document, self._calico_version), actor=RESOURCE_MANAGER)
        self._contents[key] = _content_of(document)
        mode = _READ_MODE[kind](document) if kind in _READ_MODE else None
        self._recorder.record("manifest.applied", kind=kind.value, name=name, mode=None if mode is None else mode.value)

    def _read_documents(self) -> Mapping[_Key, JsonObject]:
        """Return what gardener-resource-manager has applied; an object that is being deleted counts as gone."""
        return {
            (kind, name_of(document)): document
            for kind, collection in self._collections.items()
            for document in collection.objects
            if MANAGED_BY in (document["metadata"].get("labels") or {}) and "deletionTimestamp" not in document["metadata"]
        }

    def _read_contents(self) -> dict[_Key, JsonObject]:
        return {key: _content_of(document) for key, document in self._read_documents().items()}


class Outward:
    """The way from the cluster's Nodes to the programs' API; a Participant that is called when a Node has changed."""

    name: Final = "mirror-outward"
    watches: Final = frozenset({Kind.NODE})

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Copy what changed; later, while the cluster's own API is unavailable."""
        try:
            self._mirror.carry_nodes()
        except ApiUnavailableError:
            return Nanoseconds(now_ns + _RETRY_NS)
        return None

    def is_settled(self) -> bool:
        """Return True: it has nothing to do unless a Node changes."""
        return True


def _content_of(document: JsonObject) -> JsonObject:
    return {key: document[key] for key in _CONTENT if key in document}


def _version_of(document: JsonObject | None) -> int:
    """Return the revision at which an object was written; missing objects come first, because deletions do."""
    return 0 if document is None else int(document["metadata"]["resourceVersion"])


def _as_applied(document: JsonObject, calico_version: str) -> JsonObject:
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in document["metadata"].items() if key in kept}
    content = deepcopy(_content_of(document))
    pods = ((content.get("spec") or {}).get("template") or {}).get("spec") or {}
    for container in (*(pods.get("initContainers") or ()), *(pods.get("containers") or ())):
        name = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
        if name in CALICO_IMAGES:
            container["image"] = calico_image(name, calico_version)
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata, **content}


def node_as_created(node: JsonObject) -> JsonObject:
    """Return a Node without its status and what a server adds."""
    metadata = {key: value for key, value in node["metadata"].items() if key in {"name", "labels", "annotations"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": node.get("spec") or {}}


def _read_condition(node: JsonObject) -> JsonObject | None:
    return next(iter(network_unavailable(node)), None)


def _says_other(one: JsonObject | None, other: JsonObject | None) -> bool:
    return _what_it_says(one) != _what_it_says(other)


def _what_it_says(condition: JsonObject | None) -> tuple[object, ...] | None:
    """Return a condition without its times, which every writer sets differently."""
    return None if condition is None else tuple(condition.get(key) for key in ("status", "reason", "message"))

"""The lab's Kubernetes API: Kubernetes-shaped objects in memory.

It behaves like an API server wherever the switch can see a difference: resource versions and conflicts, a generation that
rises with the spec alone, a status that only the status subresource writes, strategic merge of conditions, and the admission
policy that keeps calico-node from writing NetworkUnavailable. An object is identified by kind and name. The namespace is stored
but ignored, because every namespaced object of the switch is in kube-system.

It must not know the meaning of an object, and it starts no thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from clusters.stores import identify
from gardener.manifests.admission import POLICY_NAME
from hitless.errors import ApiUnavailableError, BugError, ConflictError, NotFoundError
from hitless.ports import Clock
from hitless.words import JsonObject, Kind, Nanoseconds

Admit = Callable[[JsonObject, JsonObject, str], JsonObject]
"""(node as it is, node as the request leaves it, user name) to the node that is stored."""
_SERVER_OWNED: Final = frozenset({"resourceVersion", "generation"})
"""Metadata that the server writes: an apply cannot change it."""
_AT_ONCE: Final = Nanoseconds(0)
Json = TypeVar("Json")
"""Any JSON value: dict, list, string, number, bool or None."""


class MemoryKube:
    """KubeApi in memory.

    Args:
        admit: what the admission policy does to an update of nodes/status.
        clock: the run clock; it dates the policy.
        admission_live_ns: the policy takes effect this long after it and its binding exist (an API server compiles and
            caches policies); deleting either ends the effect at once.
    """

    def __init__(self, *, admit: Admit, clock: Clock, admission_live_ns: Nanoseconds = _AT_ONCE) -> None:
        self._admit = admit
        self._clock = clock
        self._admission_live_ns = admission_live_ns
        self._objects: dict[Kind, dict[str, JsonObject]] = {kind: {} for kind in Kind}
        self._born_ns: dict[tuple[Kind, str], Nanoseconds] = {}
        self._changed: set[Kind] = set()
        self._watches: list[Watch] = []
        self._version = 0
        self.is_away = False
        """Whether every call raises ApiUnavailableError now."""

    def get(self, kind: Kind, name: str) -> JsonObject:
        """Return a copy of one object. Raises NotFoundError."""
        return copy_json(self._stored(kind, name))

    def list(self, kind: Kind) -> tuple[JsonObject, ...]:
        """Return copies of all objects of a kind, in order of their names."""
        return tuple(copy_json(document) for _, document in sorted(self._served(kind).items()))

    def apply(self, document: JsonObject, *, actor: str) -> JsonObject:  # noqa: ARG002 - the only policy is for nodes/status
        """Create the object, or replace all of it but its status; see KubeApi.

        Raises:
            UsageError: no kind that the switch knows, or no name.
            ConflictError: metadata.resourceVersion is given and not current.
        """
        kind, name = identify(document)
        old = self._served(kind).get(name)
        wanted = _content(document)
        if old is None:
            if "spec" in wanted:
                wanted["metadata"]["generation"] = 1
            return self._store(kind, name, wanted)
        _refuse_stale(document, old)
        if wanted == _content(old):
            return copy_json(old)
        generation = old["metadata"].get("generation", 0)
        if "spec" in wanted:
            wanted["metadata"]["generation"] = generation + (wanted["spec"] != old.get("spec"))
        if "status" in old:
            wanted["status"] = old["status"]
        return self._store(kind, name, wanted)

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object at once (grace period 0). A missing object is no error."""
        if self._served(kind).pop(name, None) is not None:
            self._born_ns.pop((kind, name), None)
            self._mark(kind, name)

    def replace_status(self, document: JsonObject, *, actor: str) -> JsonObject:
        """PUT the status; admission policies apply to nodes. Raises ConflictError, NotFoundError, UsageError."""
        kind, name = identify(document)
        old = self._stored(kind, name)
        _refuse_stale(document, old)
        return self._write_status(kind, name, {**old, "status": copy_json(document.get("status", {}))}, actor)

    def merge_condition(self, node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        """Strategic merge patch of one condition into nodes/status; see KubeApi. Raises NotFoundError."""
        old = self._stored(Kind.NODE, node)
        status = old.get("status", {})
        conditions = merge_condition(status.get("conditions", []), copy_json(condition))
        return self._write_status(Kind.NODE, node, {**old, "status": {**status, "conditions": conditions}}, actor)

    def take_changes(self) -> frozenset[Kind]:
        """Return the kinds that changed since the last call, and forget them. Works while the API is unavailable."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def watch(self, *kinds: Kind) -> Watch:
        """Return a watch that begins with every present object. It is not part of KubeApi: the lab's doubles use it."""
        watch = Watch(self, frozenset(kinds), {(kind, name) for kind in kinds for name in self._objects[kind]})
        self._watches.append(watch)
        return watch

    def set_away(self, away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Make every call raise ApiUnavailableError, or serve again.

        When the API is back, every kind counts as changed: clients whose watch broke list again.
        """
        if self.is_away and not away:
            self._changed.update(kind for kind, objects in self._objects.items() if objects)
        self.is_away = away

    def _write_status(self, kind: Kind, name: str, wanted: JsonObject, actor: str) -> JsonObject:
        old = self._objects[kind][name]
        if kind is Kind.NODE and self._is_admission_live():
            wanted = {**old, "status": self._admit(copy_json(old), copy_json(wanted), actor).get("status", {})}
        if wanted.get("status") == old.get("status", {}):
            return copy_json(old)
        return self._store(kind, name, {**wanted, "metadata": dict(old["metadata"])})

    def _is_admission_live(self) -> bool:
        bindings = [
            name
            for name, binding in self._objects[Kind.ADMISSION_POLICY_BINDING].items()
            if binding.get("spec", {}).get("policyName") == POLICY_NAME
        ]
        if POLICY_NAME not in self._objects[Kind.ADMISSION_POLICY] or not bindings:
            return False
        policy_ns = self._born_ns[Kind.ADMISSION_POLICY, POLICY_NAME]
        binding_ns = min(self._born_ns[Kind.ADMISSION_POLICY_BINDING, name] for name in bindings)
        return self._clock.now_ns() - max(policy_ns, binding_ns) >= self._admission_live_ns

    def _stored(self, kind: Kind, name: str) -> JsonObject:
        found = self._served(kind).get(name)
        if found is None:
            raise NotFoundError(f"{kind.value} {name}: not found")
        return found

    def _store(self, kind: Kind, name: str, document: JsonObject) -> JsonObject:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self._objects[kind][name] = document
        self._born_ns.setdefault((kind, name), self._clock.now_ns())
        self._mark(kind, name)
        return copy_json(document)

    def _mark(self, kind: Kind, name: str) -> None:
        self._changed.add(kind)
        for watch in self._watches:
            watch.notice(kind, name)

    def _served(self, kind: Kind) -> dict[str, JsonObject]:
        """Return the stored objects of a kind by name. Raises ApiUnavailableError while the API is away."""
        if self.is_away:
            raise ApiUnavailableError("the Kubernetes API does not answer")
        return self._objects[kind]


class Watch:
    """The changes of the objects of some kinds, for one reader; `pending` is what the first `take` returns."""

    def __init__(self, kube: MemoryKube, kinds: frozenset[Kind], pending: set[tuple[Kind, str]]) -> None:
        self._kube = kube
        self._kinds = kinds
        self._pending = pending

    def notice(self, kind: Kind, name: str) -> None:
        """Note that an object changed; called by the API."""
        if kind in self._kinds:
            self._pending.add((kind, name))

    def take(self) -> dict[Kind, dict[str, JsonObject | None]]:
        """Return what changed since the last call: kind to name to object (None: deleted), in order of the names.

        Raises ApiUnavailableError: the API is unavailable; the next call returns the changes.
        """
        if self._kube.is_away:
            raise ApiUnavailableError("the Kubernetes API does not answer")
        found: dict[Kind, dict[str, JsonObject | None]] = {}
        if not self._pending:
            return found
        changed, self._pending = sorted(self._pending), set()
        for kind, name in changed:
            try:
                found.setdefault(kind, {})[name] = self._kube.get(kind, name)
            except NotFoundError:
                found.setdefault(kind, {})[name] = None
        return found


def _content(document: JsonObject) -> JsonObject:
    content = copy_json({key: value for key, value in document.items() if key != "status"})
    content["metadata"] = {key: value for key, value in content["metadata"].items() if key not in _SERVER_OWNED}
    return content


def _refuse_stale(document: JsonObject, stored: JsonObject) -> None:
    given, current = document["metadata"].get("resourceVersion"), stored["metadata"]["resourceVersion"]
    if given is not None and given != current:
        name = document["metadata"]["name"]
        raise ConflictError(f"{document['kind']} {name}: resourceVersion is {current}, not {given}; read the object again")


def copy_json(value: Json) -> Json:
    """Return a deep copy of a JSON value; measured on a calico-node pod: 11 us, copy.deepcopy 32 us."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}  # type: ignore[return-value]  # the same shape
    if isinstance(value, list):
        return [copy_json(item) for item in value]  # type: ignore[return-value]  # the same shape
    return value


def merge_condition(conditions: Sequence[JsonObject], patch: JsonObject) -> list[JsonObject]:
    """Merge one condition into a list of conditions; return a new list in the old order, a new type last.

    A field of the patch replaces the old one, null removes it, other fields stay. If a type occurs twice (old writers could do
    that), the patch changes the first entry and the others stay. `$patch: delete` removes every entry of the type. Raises
    BugError: the patch has no type, its merge key.

    Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go, findMapInSliceBasedOnKeyValue (first match) and
    deleteMatchingEntries (every match); NodeStatus.conditions has patchStrategy merge and patchMergeKey type.
    """
    key = patch.get("type")
    if not isinstance(key, str) or not key:
        raise BugError(f"a patch of conditions needs the merge key `type`, found {key!r}")
    merged = [dict(condition) for condition in conditions]
    if patch.get("$patch") == "delete":
        return [condition for condition in merged if condition.get("type") != key]
    position = next((index for index, condition in enumerate(merged) if condition.get("type") == key), len(merged))
    fields = {**(merged[position] if position < len(merged) else {}), **patch}
    merged[position : position + 1] = [{name: value for name, value in fields.items() if value is not None}]
    return merged

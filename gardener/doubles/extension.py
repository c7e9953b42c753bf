"""The doubles of gardener-extension-networking-calico and of gardener-resource-manager, which applies what the extension wrote.

**Extension.** A reconcile of the Network asks the gate. A hold is an error: nothing is written, the overlay stays as it is, and
the next reconcile comes after a doubling back-off. Otherwise the manifests are written to the ManagedResource secret. From then
on "actual" equals "desired", so the gate does not look again, whatever happens to the nodes. The extension does not watch
nodes, so a change of a node causes no reconcile. An annotation does; if that reconcile holds, it counts as one more failure.
gardenlet's own retries, which are such annotations, are not modelled.

**Resource manager.** A pass first deletes the objects that the ManagedResource no longer contains. If there were any, it stops
(DeletionPending) and requeues after 5 s. It then applies object by object, with CustomResourceDefinitions between the ConfigMap
and the DaemonSet. So the IPPool changes about 6 s after the gate opened, or 1 s if nothing is deleted. Source: gardener
pkg/resourcemanager/controller/managedresource/reconciler.go (cleanOldResources, applyNewResources); observed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gardener.feature_gates import FeatureGates
from gardener.gate import Gate, GateDecision, GateInput, Outcome
from gardener.manifests.render import key_of, render
from gardener.shoot import Shoot
from gardener.timings import Timings
from hitless.errors import ApiError
from hitless.events import Recorder
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, JsonObject, Kind, Mode, Nanoseconds


@dataclass(slots=True)
class DoublingBackoff:
    """controller-runtime's default: every failure doubles the wait up to a cap, and a success resets it.

    Source: client-go util/workqueue ItemExponentialFailureRateLimiter, 5 ms to 1,000 s.
    """

    timings: Timings
    """A back-off with the wait after the first failure and the longest wait."""
    failures: int = 0
    """Failures in a row so far."""

    def fail(self) -> Nanoseconds:
        """Count a failure and return how long to wait."""
        delay_ns = min(self.timings.extension_backoff_first_ns << min(self.failures, 40), self.timings.extension_backoff_max_ns)
        self.failures += 1
        return Nanoseconds(delay_ns)

    def forget(self) -> None:
        """Count a success."""
        self.failures = 0

    def attempt(
        self, act: Callable[[Nanoseconds], Nanoseconds | None], now_ns: Nanoseconds, actor: str, recorder: Recorder
    ) -> Nanoseconds | None:
        """Act, and return when to act again; an error of the API is recorded, and its wait begins."""
        try:
            due_ns = act(now_ns)
        except ApiError as error:
            retry_ns = self.fail()
            recorder.record("reconcile.failed", actor=actor, error=str(error), retry_ns=retry_ns)
            return Nanoseconds(now_ns + retry_ns)
        self.forget()
        return due_ns


class ResourceManager:
    """Deletes and applies; driven by the extension's double, which wakes it. What is `applied` was so long ago."""

    name: Final = "gardener-resource-manager"

    def __init__(self, *, kube: KubeApi, recorder: Recorder, timings: Timings, applied: Sequence[JsonObject]) -> None:
        self._kube, self._recorder, self._timings = kube, recorder, timings
        self._in_cluster: set[tuple[Kind, str]] = {key_of(document) for document in applied}
        self._wanted: tuple[JsonObject, ...] = tuple(applied)
        self._mode = Mode.OVERLAY
        self._todo: deque[JsonObject] = deque()
        self._due_ns: Nanoseconds | None = None
        self._backoff = DoublingBackoff(timings)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was written is in the cluster."""
        return self._due_ns is None

    def take(self, documents: Sequence[JsonObject], mode: Mode, at_ns: Nanoseconds) -> None:
        """Take the manifests that the extension wrote: the objects of a mode, in apply order."""
        self._wanted, self._mode = tuple(documents), mode
        self._todo = deque(documents)
        self._due_ns = Nanoseconds(at_ns + self._timings.resource_manager_start_ns)

    def abandon(self) -> None:
        """Forget the ManagedResource and keep its objects; a later one does not know what this one applied."""
        self._in_cluster, self._wanted, self._todo, self._due_ns = set(), (), deque(), None

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Delete or apply what is due; return the time of the next call, or None."""
        if self._due_ns is not None and now_ns >= self._due_ns:
            self._due_ns = self._backoff.attempt(self._step, now_ns, self.name, self._recorder)
        return self._due_ns

    def _step(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        timings = self._timings
        if self._delete_old():
            return Nanoseconds(now_ns + timings.deletion_requeue_ns + timings.resource_manager_start_ns)
        document = self._todo[0]
        self._kube.apply(document, actor=self.name)
        kind, name = key_of(document)
        self._in_cluster.add((kind, name))
        self._recorder.record("manifest.applied", kind=kind.value, name=name, mode=self._mode.value)
        self._todo.popleft()
        if not self._todo:
            return None
        return Nanoseconds(now_ns + (timings.definitions_ns if kind is Kind.CONFIG_MAP else timings.apply_gap_ns))

    def _delete_old(self) -> bool:
        """Delete unwanted objects; return whether there were any, which makes the pass stop."""
        gone = sorted(self._in_cluster - {key_of(document) for document in self._wanted})
        for kind, name in gone:
            self._kube.delete(kind, name)
            self._in_cluster.discard((kind, name))
            self._recorder.record("object.deleted", kind=kind.value, name=name)
        return bool(gone)


class Extension:
    """Holds or writes, and drives gardener-resource-manager, which applies; a Participant.

    Args:
        shoot: the Shoot before the operator's request.
        written: content of the ManagedResource secret at the start, already applied; None: there is none yet, or it cannot be
        read.
    """

    name: Final = "gardener-extension-networking-calico"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self,
        *,
        kube: KubeApi,
        recorder: Recorder,
        timings: Timings,
        gate: Gate,
        feature_gates: FeatureGates,
        shoot: Shoot,
        written: Sequence[JsonObject] | None,
    ) -> None:
        self._kube, self._recorder, self._timings = kube, recorder, timings
        self._gate, self._feature_gates, self._shoot = gate, feature_gates, shoot
        self._rendered: tuple[JsonObject, ...] = tuple(written or ())
        self._written: tuple[JsonObject, ...] | None = None if written is None else tuple(written)
        self._manager = ResourceManager(kube=kube, recorder=recorder, timings=timings, applied=written or ())
        self._due_ns: Nanoseconds | None = None
        self._is_away = self._is_migrated = self._is_restoring = False
        self._held_since_ns: Nanoseconds | None = None
        self._backoff = DoublingBackoff(timings)

    def request(self, shoot: Shoot, at_ns: Nanoseconds) -> None:
        """Take a changed Shoot: its Network is reconciled `extension_reconcile_ns` later. Raises UsageError."""
        self._rendered = render(shoot, self._feature_gates)
        self._shoot = shoot
        self._due_ns = Nanoseconds(at_ns + self._timings.extension_reconcile_ns)

    def annotate(self, at_ns: Nanoseconds) -> None:
        """Take the annotation gardener.cloud/operation=reconcile: reconcile now instead of after the back-off."""
        self._due_ns = Nanoseconds(at_ns + self._timings.annotation_seen_ns)

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Stop the process, or start it again.

        A new process has no back-off, and reconciles a Network that is held or was changed. gardener-resource-manager is
        another process, so it keeps applying written manifests meanwhile.
        """
        self._is_away = is_away
        self._backoff.forget()
        if not is_away and self._due_ns is not None:
            self._due_ns = Nanoseconds(at_ns + self._timings.extension_start_ns)

    def migrate(self) -> None:
        """Carry out operation=migrate: the ManagedResource is deleted, its objects stay, and a hold ends."""
        self._written, self._due_ns, self._held_since_ns = None, None, None
        self._is_migrated = True
        self._backoff.forget()
        self._manager.abandon()

    def restore(self, at_ns: Nanoseconds) -> None:
        """Take operation=restore, which is a reconcile: without a ManagedResource the gate does not apply."""
        self._is_restoring, self._is_migrated = True, False
        self._due_ns = Nanoseconds(at_ns + self._timings.extension_reconcile_ns)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Reconcile the Network if it is due, then let gardener-resource-manager do what is due."""
        if self._due_ns is not None and now_ns >= self._due_ns and not self._is_away:
            self._due_ns = self._reconcile_network(now_ns)
        # Requests and annotations come from outside the loop; a wake-up at this interval notices them early enough.
        idle_ns = Nanoseconds(now_ns + max(self._timings.annotation_seen_ns, 5 * MILLISECOND))
        look_ns = None if self._is_away else self._due_ns
        return min(due for due in (look_ns, self._manager.reconcile(now_ns), idle_ns) if due is not None)

    def is_settled(self) -> bool:
        """Return whether the last request is decided, and everything that was written is in the cluster."""
        return self._due_ns is None and self._manager.is_settled and not (self._is_away or self._is_migrated)

    def _reconcile_network(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        knowledge = self._look()
        decision = self._gate(knowledge)
        match decision.outcome:
            case Outcome.HOLD:
                return self._hold(decision, now_ns)
            case Outcome.PROCEED:
                held_ns = 0 if self._held_since_ns is None else now_ns - self._held_since_ns
                nodes = [node["metadata"]["name"] for node in knowledge.nodes or ()]
                self._recorder.record("gate.opened", held_ns=held_ns, nodes=nodes)
            case Outcome.NOT_APPLICABLE:
                self._recorder.record("gate.not_applicable", reason=None if decision.reason is None else decision.reason.value)
        self._held_since_ns, self._is_restoring = None, False
        self._backoff.forget()
        # Unchanged content makes gardener-resource-manager do nothing.
        if self._rendered != self._written:
            self._written = self._rendered
            self._manager.take(self._rendered, self._shoot.mode, now_ns)
        return None

    def _hold(self, decision: GateDecision, now_ns: Nanoseconds) -> Nanoseconds:
        """Fail with a back-off; a restore is retried at once. Source: observed, v1.60-dev."""
        if self._held_since_ns is None:
            self._held_since_ns = now_ns
        retry_ns = self._timings.restore_retry_ns if self._is_restoring else self._backoff.fail()
        error = f"Error {'restoring' if self._is_restoring else 'reconciling'} Network: {decision.error}"
        self._recorder.record("gate.held", missing=list(decision.missing), error=error, retry_ns=retry_ns)
        return Nanoseconds(now_ns + retry_ns)

    def _look(self) -> GateInput:
        known = GateInput(feature_gates=self._feature_gates, shoot=self._shoot, last_manifest=self._written, nodes=None)
        try:
            return replace(known, nodes=self._kube.list(Kind.NODE))
        except ApiError as error:
            return replace(known, api_error=str(error))

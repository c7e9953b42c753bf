"""The double of gardener-resource-manager, which applies to the cluster what the extension wrote.

A pass first deletes the objects that the ManagedResource no longer holds. If there were any, it stops (DeletionPending) and
comes back after 5 s. Only then does it apply, object by object, with CustomResourceDefinitions between the ConfigMap and the
DaemonSet. So the IPPool changes about 6 s after the gate opened, or 1 s where nothing is deleted. Source: gardener
pkg/resourcemanager/controller/managedresource/reconciler.go (cleanOldResources, applyNewResources); observed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gardener.manifests.render import key_of
from gardener.timings import Timings
from hitless.errors import ApiError
from hitless.events import Recorder
from hitless.ports import KubeApi
from hitless.words import JsonObject, Kind, Mode, Nanoseconds


@dataclass(slots=True, kw_only=True)
class DoublingBackoff:
    """controller-runtime's default: every failure doubles the wait up to a cap, a success forgets.

    Source: client-go util/workqueue ItemExponentialFailureRateLimiter, 5 ms to 1,000 s.
    """

    first_ns: Nanoseconds
    """Wait after the first failure."""
    max_ns: Nanoseconds
    """No wait is longer."""
    failures: int = 0
    """Failures in a row so far."""

    def fail(self) -> Nanoseconds:
        """Count a failure and return how long to wait."""
        delay_ns = min(self.first_ns << min(self.failures, 40), self.max_ns)
        self.failures += 1
        return Nanoseconds(delay_ns)

    def forget(self) -> None:
        """Count a success."""
        self.failures = 0


class ResourceManager:
    """Deletes and applies; driven by the extension's double, which wakes it.

    Args:
        kube: the API of the Shoot.
        recorder: records the events.
        timings: how long things take.
        applied: what it applied long ago.
    """

    name: Final = "gardener-resource-manager"

    def __init__(self, *, kube: KubeApi, recorder: Recorder, timings: Timings, applied: Sequence[JsonObject]) -> None:
        self._kube = kube
        self._recorder = recorder
        self._timings = timings
        self._in_cluster: set[tuple[Kind, str]] = {key_of(document) for document in applied}
        self._wanted: tuple[JsonObject, ...] = tuple(applied)
        self._mode = Mode.OVERLAY
        self._todo: deque[JsonObject] = deque()
        self._due_ns: Nanoseconds | None = None
        first_ns, max_ns = timings.extension_backoff_first_ns, timings.extension_backoff_max_ns
        self._backoff = DoublingBackoff(first_ns=first_ns, max_ns=max_ns)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was written is in the cluster."""
        return self._due_ns is None

    def take(self, documents: Sequence[JsonObject], mode: Mode, at_ns: Nanoseconds) -> None:
        """Take what the extension wrote: the objects of a mode, in apply order."""
        self._wanted, self._mode = tuple(documents), mode
        self._todo = deque(documents)
        self._due_ns = Nanoseconds(at_ns + self._timings.resource_manager_start_ns)

    def abandon(self) -> None:
        """Forget the ManagedResource and keep its objects; a later one does not know what this one applied."""
        self._in_cluster, self._wanted, self._todo, self._due_ns = set(), (), deque(), None

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Delete or apply what is due; returns when to come back, or None."""
        if self._due_ns is not None and now_ns >= self._due_ns:
            try:
                self._due_ns = self._step(now_ns)
            except ApiError as error:
                retry_ns = self._backoff.fail()
                self._recorder.record("reconcile.failed", actor=self.name, error=str(error), retry_ns=retry_ns)
                self._due_ns = Nanoseconds(now_ns + retry_ns)
            else:
                self._backoff.forget()
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
        """Delete what is no longer wanted; returns whether there was any, which makes the pass stop."""
        gone = sorted(self._in_cluster - {key_of(document) for document in self._wanted})
        for kind, name in gone:
            self._kube.delete(kind, name)
            self._in_cluster.discard((kind, name))
            self._recorder.record("object.deleted", kind=kind.value, name=name)
        return bool(gone)

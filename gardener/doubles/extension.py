"""The double of gardener-extension-networking-calico, and of the gardener-resource-manager that applies what it wrote.

A reconcile of the Network asks the gate. A hold is an error: nothing was written yet, the overlay stays as it is, and the next
look comes after a doubling back-off. Otherwise the manifests go into the ManagedResource secret, and from then on "actual"
equals "desired": whatever happens to the nodes afterwards, the gate is not asked again. gardener-resource-manager deletes what
is gone and applies the rest, object by object. Nodes do not wake the extension: the real one does not watch them.
Not modelled: gardenlet's own retry, which may look again sooner than the back-off says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from gardener.doubles.backoff import DoublingBackoff
from gardener.feature_gates import FeatureGates
from gardener.gate import Gate, GateDecision, GateInput, Outcome
from gardener.manifests.render import key_of, render
from gardener.shoot import Shoot
from gardener.timings import Timings
from hitless.errors import ApiError, BugError
from hitless.events import Recorder
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, JsonObject, Kind, Mode, Nanoseconds

RESOURCE_MANAGER: Final = "gardener-resource-manager"
"""Actor of everything that is applied or deleted."""

_Key = tuple[Kind, str]


class Extension:
    """Holds or writes, then applies; a Participant.

    Args:
        kube: the API of the Shoot.
        recorder: takes the events down.
        timings: how long things take.
        gate: who decides.
        feature_gates: of the extension.
        shoot: the Shoot before the operator's request.
        written: what the ManagedResource secret holds at the start, all of it applied long ago; None: there is none yet, or it
            cannot be read.
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
        self._kube = kube
        self._recorder = recorder
        self._timings = timings
        self._gate = gate
        self._feature_gates = feature_gates
        self._shoot = shoot
        self._rendered: tuple[JsonObject, ...] = tuple(written or ())
        self._written: tuple[JsonObject, ...] | None = None if written is None else tuple(written)
        self._written_mode = shoot.mode
        self._in_cluster: set[_Key] = {key_of(document) for document in written or ()}
        self._todo: deque[_Key | JsonObject] = deque()
        self._reconcile_ns: Nanoseconds | None = None
        self._apply_ns: Nanoseconds | None = None
        self._held_since_ns: Nanoseconds | None = None
        self._network_backoff = self._make_backoff()
        self._apply_backoff = self._make_backoff()

    @property
    def mode(self) -> Mode:
        """The mode of the last written manifests."""
        return self._written_mode

    @property
    def written(self) -> tuple[JsonObject, ...] | None:
        """What the ManagedResource secret holds."""
        return self._written

    def request(self, shoot: Shoot, at_ns: Nanoseconds) -> None:
        """Take a changed Shoot: its Network is reconciled `extension_reconcile_ns` later. Raises UsageError."""
        self._rendered = render(shoot, self._feature_gates)
        self._shoot = shoot
        self._reconcile_ns = Nanoseconds(at_ns + self._timings.extension_reconcile_ns)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Reconcile the Network if it is due, then delete or apply one object if that is due."""
        if self._reconcile_ns is not None and now_ns >= self._reconcile_ns:
            self._reconcile_ns = self._reconcile_network(now_ns)
        if self._apply_ns is not None and now_ns >= self._apply_ns:
            self._apply_ns = self._apply_next(now_ns)
        # A request comes from outside the loop; looking up this often is early enough for it.
        idle_ns = now_ns + max(self._timings.extension_reconcile_ns, MILLISECOND)
        return Nanoseconds(min(due for due in (self._reconcile_ns, self._apply_ns, idle_ns) if due is not None))

    def is_settled(self) -> bool:
        """Return whether the last request is decided, and everything that was written is in the cluster."""
        return self._reconcile_ns is None and not self._todo

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
        self._held_since_ns = None
        self._network_backoff.forget()
        self._write(now_ns)
        return None

    def _hold(self, decision: GateDecision, now_ns: Nanoseconds) -> Nanoseconds:
        if self._held_since_ns is None:
            self._held_since_ns = now_ns
        retry_ns = self._network_backoff.fail()
        self._recorder.record(
            "gate.held", missing=list(decision.missing), error=f"Error reconciling Network: {decision.error}", retry_ns=retry_ns
        )
        return Nanoseconds(now_ns + retry_ns)

    def _write(self, now_ns: Nanoseconds) -> None:
        """Write the secret. Unchanged content makes gardener-resource-manager do nothing."""
        if self._rendered == self._written:
            return
        self._written, self._written_mode = self._rendered, self._shoot.mode
        wanted = {key_of(document) for document in self._rendered}
        self._todo = deque([*sorted(self._in_cluster - wanted), *self._rendered])
        self._apply_ns = Nanoseconds(now_ns + self._timings.apply_gap_ns)

    def _apply_next(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        if not self._todo:
            raise BugError("gardener-resource-manager is due and has nothing to do")
        try:
            self._carry_out(self._todo[0])
        except ApiError as error:
            retry_ns = self._apply_backoff.fail()
            self._recorder.record("reconcile.failed", actor=RESOURCE_MANAGER, error=str(error), retry_ns=retry_ns)
            return Nanoseconds(now_ns + retry_ns)
        self._apply_backoff.forget()
        self._todo.popleft()
        return Nanoseconds(now_ns + self._timings.apply_gap_ns) if self._todo else None

    def _carry_out(self, task: _Key | JsonObject) -> None:
        if isinstance(task, tuple):
            kind, name = task
            self._kube.delete(kind, name)
            self._in_cluster.discard(task)
            self._recorder.record("object.deleted", kind=kind.value, name=name)
            return
        self._kube.apply(task, actor=RESOURCE_MANAGER)
        kind, name = key_of(task)
        self._in_cluster.add((kind, name))
        self._recorder.record("manifest.applied", kind=kind.value, name=name, mode=self._written_mode.value)

    def _look(self) -> GateInput:
        error: str | None = None
        nodes: tuple[JsonObject, ...] | None = None
        try:
            nodes = self._kube.list(Kind.NODE)
        except ApiError as caught:
            error = str(caught)
        return GateInput(
            feature_gates=self._feature_gates,
            shoot=self._shoot,
            last_manifest=self._written,
            nodes=nodes,
            api_error=error,
        )

    def _make_backoff(self) -> DoublingBackoff:
        timings = self._timings
        return DoublingBackoff(first_ns=timings.extension_backoff_first_ns, max_ns=timings.extension_backoff_max_ns)

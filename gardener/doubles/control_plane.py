"""The double of provider-aws's ControlPlane reconcile, which starts the cloud's part of the switch.

Overlay off: aws-custom-route-controller is scaled up, the admission policy is applied if it is available, and calico-node's
conditions are removed from the nodes, once until the overlay is on again. Overlay on: the controller is scaled to zero, the
policy is deleted, and the routes stay in the tables. Source: gardener-extension-provider-aws
pkg/controller/controlplane/actuator.go:50-191, valuesprovider.go:678-714, :944-962, pkg/admission/mutator/shoot.go:128-140.
"""

from __future__ import annotations

from typing import Final, Protocol

from gardener.conditions import CALICO_REASONS, NETWORK_UNAVAILABLE, network_unavailable
from gardener.doubles.extension import DoublingBackoff
from gardener.manifests.admission import policy_manifests
from gardener.manifests.render import key_of
from gardener.shoot import Shoot
from gardener.timings import Timings
from hitless.errors import ConflictError
from hitless.events import Recorder
from hitless.ports import KubeApi
from hitless.words import MILLISECOND, JsonObject, Kind, Mode, Nanoseconds

CONFLICT_ATTEMPTS_MAX: Final = 5
"""Attempts to write one node's status. Source: client-go util/retry DefaultRetry.Steps."""


class RouteControllerPart(Protocol):
    """The route controller: a double, or what starts and ends the program."""

    @property
    def name(self) -> str:
        """Name of its Deployment."""

    @property
    def replicas(self) -> int:
        """Number of replicas that run."""

    def scale(self, replicas: int, at_ns: Nanoseconds, /) -> None:
        """Run this many replicas from now on."""

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: FBT001 - reads as what it does
        """Stop the process, or start it again."""


class ControlPlane:
    """Scales the route controller, applies the admission policy and removes stale conditions; a Participant.

    Args:
        shoot: the Shoot before the operator's request; if its overlay is off, all of this was done long ago.
    """

    name: Final = "gardener-extension-provider-aws"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self, *, kube: KubeApi, recorder: Recorder, timings: Timings, shoot: Shoot, controller: RouteControllerPart
    ) -> None:
        self._kube, self._recorder, self._timings = kube, recorder, timings
        self._controller, self._shoot = controller, shoot
        self._policy = policy_manifests(shoot)
        self._is_cleanup_completed = shoot.mode is Mode.NATIVE
        self._due_ns: Nanoseconds | None = None
        self._backoff = DoublingBackoff(timings)

    def request(self, shoot: Shoot, at_ns: Nanoseconds) -> None:
        """Take a changed Shoot: it is reconciled `control_plane_reconcile_ns` later."""
        self._shoot = shoot
        self._due_ns = Nanoseconds(at_ns + self._timings.control_plane_reconcile_ns)

    def restore(self, at_ns: Nanoseconds) -> None:
        """Reconcile the Shoot as it is, in another seed: the route controller is scaled up again if the Shoot needs it."""
        self.request(self._shoot, at_ns)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Reconcile the ControlPlane if it is due. After an error every step is repeated: each is idempotent."""
        if self._due_ns is not None and now_ns >= self._due_ns:
            self._due_ns = self._backoff.attempt(self._carry_out, now_ns, self.name, self._recorder)
        # Requests come from outside the loop; a wake-up at this interval notices them early enough.
        idle_ns = now_ns + max(self._timings.control_plane_reconcile_ns, MILLISECOND)
        return Nanoseconds(idle_ns if self._due_ns is None else min(self._due_ns, idle_ns))

    def is_settled(self) -> bool:
        """Return whether the last request has been carried out."""
        return self._due_ns is None

    def _carry_out(self, now_ns: Nanoseconds) -> None:
        self._scale(now_ns)
        self._change_policy()
        self._clean_up()

    def _scale(self, now_ns: Nanoseconds) -> None:
        """Overlay off needs one replica; an IPv6-only Shoot does not use the controller. Source: valuesprovider.go:678-714."""
        has_ipv4 = "IPv4" in self._shoot.spec.networking.ip_families
        replicas = 1 if self._shoot.mode is Mode.NATIVE and has_ipv4 else 0
        if replicas != self._controller.replicas:
            self._controller.scale(replicas, now_ns)
            self._recorder.record("controller.scaled", name=self._controller.name, replicas=replicas)

    def _change_policy(self) -> None:
        """Apply or delete policy and binding. The API server honours them later."""
        wanted = policy_manifests(self._shoot)
        if wanted == self._policy:
            return
        kept = {key_of(document) for document in wanted}
        for kind, name in [key_of(document) for document in self._policy if key_of(document) not in kept]:
            self._kube.delete(kind, name)
            self._recorder.record("object.deleted", kind=kind.value, name=name)
        for document in wanted:
            self._kube.apply(document, actor=self.name)
            kind, name = key_of(document)
            self._recorder.record("manifest.applied", kind=kind.value, name=name, mode=None)
        self._policy = wanted

    def _clean_up(self) -> None:
        """Remove CalicoIsUp and CalicoIsDown from every node, once each time the overlay is switched off."""
        if self._shoot.mode is Mode.OVERLAY:
            self._is_cleanup_completed = False
            return
        if self._is_cleanup_completed:
            return
        for node in self._kube.list(Kind.NODE):
            if any(entry.get("reason") in CALICO_REASONS for entry in network_unavailable(node)):
                self._clean_node(node["metadata"]["name"])
        self._is_cleanup_completed = True

    def _clean_node(self, name: str) -> None:
        for attempt in range(1, CONFLICT_ATTEMPTS_MAX + 1):
            node = self._kube.get(Kind.NODE, name)
            conditions = node["status"]["conditions"]
            removed = [entry for entry in conditions if _is_calicos(entry)]
            if not removed:
                return
            node["status"]["conditions"] = [entry for entry in conditions if not _is_calicos(entry)]
            try:
                self._kube.replace_status(node, actor=self.name)
            except ConflictError:
                if attempt == CONFLICT_ATTEMPTS_MAX:
                    raise
                continue
            for entry in removed:
                self._recorder.record("condition.removed", node=name, reason=entry["reason"], actor=self.name)
            return


def _is_calicos(entry: JsonObject) -> bool:
    return entry.get("type") == NETWORK_UNAVAILABLE and entry.get("reason") in CALICO_REASONS

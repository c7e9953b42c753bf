"""The gate's decision: may the overlay be switched off now?

A pure function from what the Calico extension knows in one reconcile to its decision. It follows
gardener-extension-networking-calico pkg/controller/actuator_reconcile.go:182-202 and 343-495, including its weaknesses: it
reads the conditions once, does not know the route tables, fails open if the last manifest cannot be read, ignores whether a
node is ready or being deleted, and passes if there is no node. One thing is added: a hold names every missing node, whereas the
real extension logs only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from gardener.conditions import network_unavailable
from gardener.feature_gates import FeatureGates
from gardener.releases import ExtensionRelease
from gardener.shoot import Shoot
from hitless.calico import is_calico_node, template_mode
from hitless.objects import containers_of
from hitless.words import JsonObject, Mode


@unique
class Outcome(StrEnum):
    """Decision of the gate."""

    NOT_APPLICABLE = "not-applicable"
    """The gate does not apply: the extension proceeds at once."""
    PROCEED = "proceed"
    """It is a switch, and every node has its route."""
    HOLD = "hold"
    """It is a switch, and it must wait: the reconcile fails with a retriable error."""


@unique
class Reason(StrEnum):
    """Why the gate does not apply, in the order of the checks."""

    FEATURE_GATE_OFF = "feature-gate-off"
    ADMISSION_POLICY_UNAVAILABLE = "admission-policy-unavailable"
    """MutatingAdmissionPolicy is not available; the real extension skips the gate without a message."""
    MANIFEST_UNREADABLE = "last-manifest-unreadable"
    """The last written manifest has no readable calico-node: first reconcile, or a read error. Fails open."""
    NO_SWITCH_FROM_OVERLAY = "no-switch-from-overlay"
    """The overlay stays, is off already, or comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """Knowledge of the extension at the time of the decision."""

    feature_gates: FeatureGates
    shoot: Shoot
    """The operator's present request."""
    last_manifest: Sequence[JsonObject] | None
    """The objects last written to the ManagedResource secret, applied or not; None: it cannot be read."""
    nodes: Sequence[JsonObject] | None
    """All Node objects; None: they could not be listed, and `api_error` says why."""
    api_error: str | None = None
    """Why `nodes` is None: the error of the API's client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """Decision of the gate, with its reason."""

    outcome: Outcome
    reason: Reason | None = None
    """Why the gate does not apply; None for PROCEED and HOLD."""
    missing: tuple[str, ...] = ()
    """HOLD: the names of all nodes without RouteCreated; empty if the API did not answer."""
    error: str | None = None
    """HOLD: the error of the reconcile."""


WAITING: Final = "waiting for routes to be created on all nodes before disabling overlay"
"""The error of a hold. Source: actuator_reconcile.go:355; observed."""

Gate = Callable[[GateInput], GateDecision]
"""A decision function: `decide`, or one that is broken on purpose."""


def decide(knowledge: GateInput) -> GateDecision:
    """Decide as the real extension does."""
    return decide_with(knowledge, missing_nodes)


def decide_with(knowledge: GateInput, missing: Callable[[Sequence[JsonObject]], tuple[str, ...]]) -> GateDecision:
    """Decide with another way to find the missing nodes; mutants break the gate here."""
    reason = _reason_not_to_apply(knowledge)
    if reason is not None:
        return GateDecision(outcome=Outcome.NOT_APPLICABLE, reason=reason)
    if knowledge.nodes is None:
        error = f"failed to check node route status: failed to list nodes: {knowledge.api_error or 'no answer'}"
        return GateDecision(outcome=Outcome.HOLD, error=error)
    names = missing(knowledge.nodes)
    if names:
        return GateDecision(outcome=Outcome.HOLD, missing=names, error=WAITING)
    return GateDecision(outcome=Outcome.PROCEED)


def missing_nodes(nodes: Sequence[JsonObject]) -> tuple[str, ...]:
    """Return the names of the nodes without NetworkUnavailable=False for the reason RouteCreated, in the order given."""
    return tuple(node["metadata"]["name"] for node in nodes if not has_route_created(node))


def has_route_created(node: JsonObject) -> bool:
    """Return whether any NetworkUnavailable entry is False/RouteCreated. Source: hasRouteCreated, :383-388."""
    return any((entry.get("status"), entry.get("reason")) == ("False", "RouteCreated") for entry in network_unavailable(node))


def is_admission_policy_available(shoot: Shoot, release: ExtensionRelease) -> bool:
    """Return whether the Calico extension considers the policy available. Source: actuator_reconcile.go:182-191, :472-495.

    Below 1.36, any of the release's API versions is sufficient; provider-aws deploys the policy only with the matching one
    (`gardener.manifests.admission.is_policy_deployed`).
    """
    if shoot.kubernetes >= (1, 36):
        return True
    return shoot.feature_gate("MutatingAdmissionPolicy") and any(
        shoot.serves(f"admissionregistration.k8s.io/{version}") for version in release.admission_versions
    )


def is_overlay_written(manifest: Sequence[JsonObject] | None) -> bool | None:
    """Return whether calico-node of a manifest has an overlay enabled; None if no calico-node can be read.

    The real decoder knows only apps/v1, and skips the whole object if a value in `env` is not a string. Source:
    actuator_reconcile.go:430-470; observed, v1.60-dev.
    """
    for document in manifest or ():
        if document.get("apiVersion") == "apps/v1" and is_calico_node(document) and _has_text_values(document):
            return template_mode(document) is Mode.OVERLAY
    return None


def _has_text_values(daemon_set: JsonObject) -> bool:
    entries = (entry for container in containers_of(daemon_set) for entry in container.get("env") or ())
    return all(isinstance(entry.get("value", ""), str) for entry in entries)


def _reason_not_to_apply(knowledge: GateInput) -> Reason | None:
    if not knowledge.feature_gates.seamless_overlay_switch:
        return Reason.FEATURE_GATE_OFF
    if not is_admission_policy_available(knowledge.shoot, knowledge.feature_gates.release):
        return Reason.ADMISSION_POLICY_UNAVAILABLE
    match is_overlay_written(knowledge.last_manifest):
        case None:
            return Reason.MANIFEST_UNREADABLE
        case True if not knowledge.shoot.overlay_enabled:
            return None
        case _:
            return Reason.NO_SWITCH_FROM_OVERLAY

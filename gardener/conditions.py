"""NetworkUnavailable: the node condition on which the switch depends, and its writers.

| status | reason | writer |
|---|---|---|
| absent | | a new node; after the clean-up of provider-aws |
| True | NoRouteCreated | aws-custom-route-controller |
| False | RouteCreated | aws-custom-route-controller |
| False | CalicoIsUp | calico-node with a backend, unless the admission policy drops it |
| True | CalicoIsDown | calico-node with a backend, when it shuts down |
"""

from __future__ import annotations

from typing import Any, Final

from hitless.words import JsonObject

NETWORK_UNAVAILABLE: Final = "NetworkUnavailable"
"""Type of the condition. Source: k8s.io/api core/v1 NodeNetworkUnavailable."""

CALICO_REASONS: Final = frozenset({"CalicoIsUp", "CalicoIsDown"})
"""Reasons that calico-node writes. Source: calico node/pkg/lifecycle/utils."""


def network_unavailable(node: JsonObject) -> tuple[JsonObject, ...]:
    """Return the NetworkUnavailable entries of a node: none, one, or (written by a broken client) several."""
    return tuple(entry for entry in _conditions(node) if entry.get("type") == NETWORK_UNAVAILABLE)


def other_conditions(node: JsonObject) -> tuple[JsonObject, ...]:
    """Return all conditions but NetworkUnavailable, in their order."""
    return tuple(entry for entry in _conditions(node) if entry.get("type") != NETWORK_UNAVAILABLE)


def route_condition(*, is_created: bool) -> JsonObject:
    """Return what aws-custom-route-controller writes. Source: reconciler.go updateNetworkingCondition."""
    if is_created:
        return _condition("False", "RouteCreated", "RouteController created a route")
    return _condition("True", "NoRouteCreated", "RouteController failed to create a route")


def calico_is_up() -> JsonObject:
    """Return what calico-node writes once it is ready. Source: calico node/pkg/lifecycle/startup."""
    return _condition("False", "CalicoIsUp", "Calico is running on this node")


def calico_is_down() -> JsonObject:
    """Return what calico-node writes when it shuts down. Source: calico node/pkg/lifecycle/shutdown."""
    return _condition("True", "CalicoIsDown", "Calico is shutting down on this node")


def dated(condition: JsonObject, at: str) -> JsonObject:
    """Return a condition as its writer sends it: with the time of the write, even if the status did not change.

    Source: aws-custom-route-controller pkg/util/nodeutil.go; calico node/pkg/lifecycle/utils.
    """
    return {**condition, "lastTransitionTime": at}


def _condition(status: str, reason: str, message: str) -> JsonObject:
    return {"type": NETWORK_UNAVAILABLE, "status": status, "reason": reason, "message": message}


def _conditions(node: JsonObject) -> list[dict[str, Any]]:
    return (node.get("status") or {}).get("conditions") or []

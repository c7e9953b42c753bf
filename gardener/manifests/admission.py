"""The MutatingAdmissionPolicy that keeps calico-node from writing NetworkUnavailable.

The manifests for a real API server, and the policy's effect as a pure function for an API without CEL. Source:
gardener-extension-provider-aws charts/internal/shoot-system-components/charts/calico-mutating-admission-policy and
pkg/controller/controlplane/valuesprovider.go:944-962, :1008-1061.
"""

from __future__ import annotations

import copy
from typing import Final, Literal

from gardener.conditions import network_unavailable, other_conditions
from gardener.shoot import Shoot
from hitless.objects import make_object
from hitless.words import JsonObject

CALICO_NODE_USER: Final = "system:serviceaccount:kube-system:calico-node"
"""The only user whose writes the policy changes."""
POLICY_NAME: Final = "block-calico-network-unavailable"
BINDING_NAME: Final = "block-calico-network-unavailable-binding"

Version = Literal["v1", "v1beta1", "v1alpha1"]


def policy_version(shoot: Shoot) -> Version:
    """Return the version of admissionregistration.k8s.io that fits the Shoot's Kubernetes version."""
    if shoot.kubernetes >= (1, 36):
        return "v1"
    return "v1beta1" if shoot.kubernetes >= (1, 34) else "v1alpha1"


def is_policy_deployed(shoot: Shoot) -> bool:
    """Return whether provider-aws deploys the policy for this Shoot.

    The overlay must be off, and below 1.36 the feature gate and exactly the fitting API version must be on. The Calico
    extension accepts either version, so with Kubernetes 1.34 and only v1alpha1 the gate is active and there is no policy.
    """
    if shoot.overlay_enabled:
        return False
    version = policy_version(shoot)
    if version == "v1":
        return True
    return shoot.feature_gate("MutatingAdmissionPolicy") and shoot.serves(f"admissionregistration.k8s.io/{version}")


def policy_manifests(shoot: Shoot) -> tuple[JsonObject, ...]:
    """Return policy and binding as provider-aws deploys them, or nothing."""
    if not is_policy_deployed(shoot):
        return ()
    api_version = f"admissionregistration.k8s.io/{policy_version(shoot)}"
    return (
        make_object(api_version, "MutatingAdmissionPolicy", POLICY_NAME, spec=_policy_spec()),
        make_object(api_version, "MutatingAdmissionPolicyBinding", BINDING_NAME, spec={"policyName": POLICY_NAME}),
    )


def admit(old_node: JsonObject, new_node: JsonObject, username: str) -> JsonObject:
    """Return the result of an update of nodes/status while the policy is live.

    A write of calico-node that contains NetworkUnavailable keeps its other conditions, and the entries that the node had before
    (none, if it had none) move to the end of the list. All other writes are unchanged.

    Returns:
        The Node to store; `new_node` itself is never changed.
    """
    if username != CALICO_NODE_USER or not network_unavailable(new_node):
        return new_node
    admitted = copy.deepcopy(new_node)
    admitted["status"]["conditions"] = copy.deepcopy([*other_conditions(new_node), *network_unavailable(old_node)])
    return admitted


def _policy_spec() -> JsonObject:
    old = "oldNetworkUnavailableCondition"
    rest = "conditionsWithoutNetworkUnavailable"
    return {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes/status"]}
            ]
        },
        "matchConditions": [
            {"name": "is-calico-node", "expression": f'request.userInfo.username == "{CALICO_NODE_USER}"'},
            {
                "name": "has-network-unavailable-in-request",
                "expression": "object.status.conditions.exists(c, c.type == 'NetworkUnavailable')",
            },
        ],
        "variables": [
            {
                "name": old,
                "expression": "has(oldObject.status) && has(oldObject.status.conditions) ? "
                "oldObject.status.conditions.filter(c, c.type == 'NetworkUnavailable') : []",
            },
            {"name": rest, "expression": "object.status.conditions.filter(c, c.type != 'NetworkUnavailable')"},
            {
                "name": "finalConditions",
                "expression": f"variables.{old}.size() > 0 ? variables.{rest} + variables.{old} : variables.{rest}",
            },
        ],
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": '[JSONPatch{op: "replace", path: "/status/conditions", value: variables.finalConditions}]'
                },
            }
        ],
    }

"""A ServiceAccount with the least privilege for every part of the switch that writes to the API.

The parts are doubles, but they write to a real API server under the names of the real parts, so that admission policy and RBAC
treat them like the originals. Reads and deletions are the harness's own: it has an administrator's kubeconfig. The Calico
extension only reads, and has no account here. What Calico itself may do is `gardener.manifests.calico_rbac`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gardener.manifests.admission import BINDING_NAME, POLICY_NAME
from hitless.calico import CALICO_CONFIG, CALICO_GROUP
from hitless.words import JsonObject

NAMESPACE: Final = "kube-system"
RBAC_GROUP: Final = "rbac.authorization.k8s.io"

_CREATE: Final = ("create", "patch")
"""What a server-side apply needs that may have to create. Source: Kubernetes API concepts, server-side apply."""


def part_objects() -> tuple[JsonObject, ...]:
    """Return the ServiceAccounts of the parts, with their roles, in apply order."""
    return (*_route_controller(), *_resource_manager(), *_provider())


def make_account(name: str) -> JsonObject:
    """Make a ServiceAccount in kube-system."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}


def make_rule(verbs: Sequence[str], resources: Sequence[str], *, group: str = "", names: Sequence[str] = ()) -> JsonObject:
    """Make one rule of a role: what may be done with which resources; without names, with all objects of them."""
    rule: JsonObject = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def make_grant(name: str, rules: Sequence[JsonObject], *accounts: str, namespace: str | None = None) -> tuple[JsonObject, ...]:
    """Make a role and its binding to ServiceAccounts of kube-system.

    Args:
        name: of both.
        rules: what is allowed.
        accounts: who may; without any, the account of the same name.
        namespace: where the rules hold; None: everywhere.
    """
    kind = "ClusterRole" if namespace is None else "Role"
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    head = {"apiVersion": f"{RBAC_GROUP}/v1"}
    role = {**head, "kind": kind, "metadata": metadata, "rules": list(rules)}
    binding = {
        **head,
        "kind": f"{kind}Binding",
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE} for account in accounts or (name,)],
    }
    return role, binding


def _route_controller() -> tuple[JsonObject, ...]:
    """Source: aws-custom-route-controller examples/rbac.yaml, less its events and leases, which the double does not write."""
    name = "aws-custom-route-controller"
    rules = [make_rule(("get", "list", "watch"), ["nodes"]), make_rule(["patch"], ["nodes/status"])]
    return make_account(name), *make_grant(name, rules)


def _resource_manager() -> tuple[JsonObject, ...]:
    """The objects that the Calico extension writes, by name; the real gardener-resource-manager may do everything."""
    name = "gardener-resource-manager"
    deployments = ("calico-kube-controllers", "calico-typha-deploy")
    inside = [
        make_rule(["create"], ["configmaps"]),
        make_rule(["patch"], ["configmaps"], names=[CALICO_CONFIG]),
        make_rule(["create"], ["daemonsets", "deployments"], group="apps"),
        make_rule(["patch"], ["daemonsets"], group="apps", names=["calico-node"]),
        make_rule(["patch"], ["deployments"], group="apps", names=deployments),
    ]
    pools = [make_rule(_CREATE, ["ippools"], group=CALICO_GROUP)]
    return make_account(name), *make_grant(name, inside, namespace=NAMESPACE), *make_grant(f"{name}-pools", pools, name)


def _provider() -> tuple[JsonObject, ...]:
    """The admission policy, and the one-off clean-up of conditions. Source: provider-aws controlplane/actuator.go."""
    name = "gardener-extension-provider-aws"
    group = "admissionregistration.k8s.io"
    policies = ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]
    rules = [
        make_rule(["update"], ["nodes/status"]),
        make_rule(["create"], policies, group=group),
        make_rule(["patch"], policies, group=group, names=[POLICY_NAME, BINDING_NAME]),
    ]
    return make_account(name), *make_grant(name, rules)

"""ServiceAccounts and their rights, for the parts that write to the API and for Calico.

**Parts.** They are doubles, but they write to a real API server under the names of the real parts and with the least privilege,
so that admission policy and RBAC treat them like the originals. Reads and deletions are the harness's own: it has an
administrator's kubeconfig. The Calico extension only reads, and has no account here.

**Calico.** The rights are those that gardener-extension-networking-calico grants for Calico v3.31 in every mode
(charts/internal/calico/templates, the files clusterrole-*.yaml, serviceaccount-*.yaml, service-calico-typha.yaml), except those
that only upgrades from v2.6 need. One difference: a pod gets its ServiceAccount's token by the kubelet's default mount, because
there is no webhook of gardener-resource-manager that adds one. The custom resource definitions are rendered by
clusters.kind.bring_up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gardener.manifests.admission import BINDING_NAME, POLICY_NAME
from hitless.calico import CALICO_CONFIG, CALICO_GROUP
from hitless.objects import make_object
from hitless.words import JsonObject

NAMESPACE: Final = "kube-system"
RBAC_GROUP: Final = "rbac.authorization.k8s.io"

_CREATE: Final = ("create", "patch")
"""Verbs of a server-side apply that may have to create the object. Source: Kubernetes API concepts, server-side apply."""


def part_objects() -> tuple[JsonObject, ...]:
    """Return the ServiceAccounts of the parts, with their roles, in apply order."""
    return (*_route_controller(), *_resource_manager(), *_provider())


def make_account(name: str) -> JsonObject:
    """Make a ServiceAccount in kube-system."""
    return make_object("v1", "ServiceAccount", name, NAMESPACE)


def make_rule(verbs: Sequence[str], resources: Sequence[str], *, group: str = "", names: Sequence[str] = ()) -> JsonObject:
    """Make one rule of a role: the verbs and the resources; without names, it holds for all their objects."""
    rule: JsonObject = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def make_grant(name: str, rules: Sequence[JsonObject], *accounts: str, namespace: str | None = None) -> tuple[JsonObject, ...]:
    """Make a role and its binding to ServiceAccounts of kube-system: by default to that of the same name.

    The rules hold in the namespace; None: everywhere.
    """
    kind, version = "ClusterRole" if namespace is None else "Role", f"{RBAC_GROUP}/v1"
    role = {"apiGroup": RBAC_GROUP, "kind": kind, "name": name}
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE} for account in accounts or (name,)]
    return (
        make_object(version, kind, name, namespace, rules=list(rules)),
        make_object(version, f"{kind}Binding", name, namespace, roleRef=role, subjects=subjects),
    )


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


_READ: Final = ("list", "watch")
_GET: Final = ("get", "list", "watch")
_OWN: Final = ("get", "list", "create", "update", "delete")

_WATCHED: Final = (
    *("bgpconfigurations", "bgpfilters", "bgppeers", "blockaffinities", "caliconodestatuses", "clusterinformations"),
    *("felixconfigurations", "globalbgpconfigs", "globalfelixconfigs", "globalnetworkpolicies", "globalnetworksets"),
    *("hostendpoints", "ipamblocks", "ippools", "ipreservations", "networkpolicies", "networksets"),
    *("stagedglobalnetworkpolicies", "stagedkubernetesnetworkpolicies", "stagednetworkpolicies", "tiers"),
)
"""Rights to Calico's configuration, which calico-node and Typha follow."""


def calico_objects() -> tuple[JsonObject, ...]:
    """Return accounts, roles, bindings and Typha's Service, in apply order."""
    accounts = ("calico-node", "calico-cni-plugin", "calico-typha", "calico-kube-controllers")
    return (
        *(make_account(name) for name in accounts),
        *make_grant("calico-node", _node_rules(), "calico-node", "calico-typha"),
        *make_grant("calico-cni-plugin", _cni_rules()),
        *make_grant("calico-kube-controllers", _kube_controllers_rules()),
        _typha_service(),
    )


def _node_rules() -> list[JsonObject]:
    """Rights of calico-node and Typha; nodes/status is what the admission policy watches over."""
    return [
        make_rule(["create"], ["serviceaccounts/token"], names=["calico-cni-plugin"]),
        make_rule(_GET, ["namespaces", "nodes", "pods"]),
        make_rule(_READ, ["serviceaccounts"]),
        make_rule(_GET, ["endpoints", "services"]),
        make_rule(_READ, ["endpointslices"], group="discovery.k8s.io"),
        make_rule(["get"], ["configmaps"]),
        make_rule(("patch", "update"), ["nodes/status"]),
        make_rule(["patch"], ["pods/status"]),
        make_rule(_READ, ["networkpolicies"], group="networking.k8s.io"),
        make_rule(_READ, ["adminnetworkpolicies", "baselineadminnetworkpolicies"], group="policy.networking.k8s.io"),
        make_rule(_GET, _WATCHED, group=CALICO_GROUP),
        make_rule(["create"], ["tiers"], group=CALICO_GROUP),
        make_rule(("create", "update"), ["clusterinformations", "felixconfigurations", "ippools"], group=CALICO_GROUP),
        make_rule(["update"], ["caliconodestatuses"], group=CALICO_GROUP),
        make_rule(_OWN, ["blockaffinities", "ipamblocks", "ipamhandles"], group=CALICO_GROUP),
        make_rule(("get", "create"), ["ipamconfigs"], group=CALICO_GROUP),
        make_rule(["get"], ["daemonsets"], group="apps"),
    ]


def _cni_rules() -> list[JsonObject]:
    """Rights of the CNI plugin, for which calico-node requests a token."""
    allocated = ("blockaffinities", "ipamblocks", "ipamhandles", "ipamconfigs")
    return [
        make_rule(["get"], ["namespaces", "nodes", "pods"]),
        make_rule(["patch"], ["pods/status"]),
        make_rule(_OWN, [*allocated, "clusterinformations", "ippools", "ipreservations"], group=CALICO_GROUP),
    ]


def _kube_controllers_rules() -> list[JsonObject]:
    """Rights of calico-kube-controllers; in native mode the Deployment is deleted, and its account is unused."""
    return [
        make_rule(_GET, ["namespaces", "nodes", "pods"]),
        make_rule((*_GET, "update"), ["services", "services/status"]),
        make_rule(["list"], ["ipreservations"], group=CALICO_GROUP),
        make_rule(_READ, ["ippools"], group=CALICO_GROUP),
        make_rule(
            (*_OWN, "watch"),
            ["blockaffinities", "hostendpoints", "ipamblocks", "ipamconfigs", "ipamhandles", "tiers"],
            group=CALICO_GROUP,
        ),
        make_rule((*_GET, "create", "update"), ["clusterinformations", "kubecontrollersconfigurations"], group=CALICO_GROUP),
    ]


def _typha_service() -> JsonObject:
    labels = {"k8s-app": "calico-typha"}
    ports = [{"name": "calico-typha", "port": 5473, "protocol": "TCP", "targetPort": "calico-typha"}]
    spec = {"ports": ports, "selector": labels}
    return make_object("v1", "Service", "calico-typha", NAMESPACE, labels=labels, spec=spec)

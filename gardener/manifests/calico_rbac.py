"""The objects that Calico needs in every mode: its ServiceAccounts with their rights, and Typha's Service.

The rights are those that gardener-extension-networking-calico grants for Calico v3.31 (charts/internal/calico/templates, the
files clusterrole-*.yaml, serviceaccount-*.yaml, service-calico-typha.yaml), except those that only upgrades from v2.6 need. One
difference: a pod gets its ServiceAccount's token by the kubelet's default mount, because there is no webhook of
gardener-resource-manager that adds one. The custom resource definitions are rendered by clusters.kind.calico.
"""

from __future__ import annotations

from typing import Final

from gardener.manifests.rbac import NAMESPACE, make_account, make_grant, make_rule
from hitless.calico import CALICO_GROUP
from hitless.words import JsonObject

_READ: Final = ("list", "watch")
_GET: Final = ("get", "list", "watch")
_OWN: Final = ("get", "list", "create", "update", "delete")

_WATCHED: Final = (
    *("bgpconfigurations", "bgpfilters", "bgppeers", "blockaffinities", "caliconodestatuses", "clusterinformations"),
    *("felixconfigurations", "globalbgpconfigs", "globalfelixconfigs", "globalnetworkpolicies", "globalnetworksets"),
    *("hostendpoints", "ipamblocks", "ippools", "ipreservations", "networkpolicies", "networksets"),
    *("stagedglobalnetworkpolicies", "stagedkubernetesnetworkpolicies", "stagednetworkpolicies", "tiers"),
)
"""Calico's configuration, which calico-node and Typha follow."""


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
    """Rights of the CNI plugin, which calico-node asks a token for."""
    allocated = ("blockaffinities", "ipamblocks", "ipamhandles", "ipamconfigs")
    return [
        make_rule(["get"], ["namespaces", "nodes", "pods"]),
        make_rule(["patch"], ["pods/status"]),
        make_rule(_OWN, [*allocated, "clusterinformations", "ippools", "ipreservations"], group=CALICO_GROUP),
    ]


def _kube_controllers_rules() -> list[JsonObject]:
    """Rights of calico-kube-controllers; in native mode the Deployment goes, and its account idles."""
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
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "calico-typha", "namespace": NAMESPACE, "labels": {"k8s-app": "calico-typha"}},
        "spec": {
            "ports": [{"name": "calico-typha", "port": 5473, "protocol": "TCP", "targetPort": "calico-typha"}],
            "selector": {"k8s-app": "calico-typha"},
        },
    }

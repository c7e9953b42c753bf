"""The Calico objects that the extension writes for a Shoot, in the order in which they reach the cluster.

gardener-resource-manager sorts by Helm's install order, kinds that Helm does not know last: ConfigMap, DaemonSet,
Deployments, IPPools. That order matters: the IPPools, which switch the routing of every node at once, come after the
DaemonSet has begun to roll. The modes differ in exactly the same fields as in gardener-extension-networking-calico's chart.
RBAC, CRDs and Services do not vary with the mode and are not rendered here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from gardener.feature_gates import FeatureGates
from gardener.manifests.calico_node import EVERY_TAINT, REACH, SYSTEM_COMPONENT, render_daemon_set
from gardener.manifests.chart_values import ChartValues, compute_values
from gardener.releases import calico_image, enabled_controllers
from gardener.shoot import Shoot
from hitless.calico import CALICO_CONFIG, CALICO_GROUP
from hitless.objects import make_object, name_of
from hitless.words import JsonObject, Kind

DEFAULT_POOL: Final = "default-ipv4-ippool"
"""Name of the pool that switches the routing."""
NODE_CIDR_POOL: Final = "no-snat-for-node-cidr"
"""Name of the disabled pool that only keeps pod-to-node traffic from being masqueraded."""

_APPLY_ORDER: Final = (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.DEPLOYMENT, Kind.IP_POOL)
"""Source: gardener pkg/resourcemanager managedresource/sort.go sortByKind over Helm's InstallOrder."""


def render(shoot: Shoot, feature_gates: FeatureGates) -> tuple[JsonObject, ...]:
    """Render the Calico objects of the Shoot, in apply order.

    Raises:
        UsageError: the Shoot needs an unsupported feature (eBPF).
    """
    values = compute_values(shoot, feature_gates)
    config = _config_map(values)
    checksum = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    documents = [
        config,
        render_daemon_set(values, checksum),
        *([_kube_controllers(values)] if values.backend != "none" else []),
        *([_typha(values)] if values.typha else []),
        *_ip_pools(values),
    ]
    return tuple(sorted(documents, key=lambda document: (_APPLY_ORDER.index(Kind(document["kind"])), name_of(document))))


def key_of(document: JsonObject) -> tuple[Kind, str]:
    """Return kind and name, which identify an object."""
    return Kind(document["kind"]), name_of(document)


def pool_from_environment(shoot: Shoot, feature_gates: FeatureGates) -> JsonObject:
    """Return the pool that calico-node creates if no IPPool exists: in a Shoot without an overlay section.

    Source: calico node startup.go:1033-1060, from CALICO_IPV4POOL_IPIP, CALICO_IPV4POOL_VXLAN and CALICO_IPV4POOL_CIDR.
    """
    values = compute_values(shoot, feature_gates)
    modes = {values.ipv4_pool: values.ipv4_mode}
    return _pool(DEFAULT_POOL, values.pod_cidr, ipip=modes.get("ipip", "Never"), vxlan=modes.get("vxlan", "Never"))


def _config_map(values: ChartValues) -> JsonObject:
    data = {
        "typha_service_name": "calico-typha" if values.typha else "none",
        "calico_backend": values.backend,
        "veth_mtu": values.veth_mtu,
        "cni_network_config": _cni_network_config(values),
    }
    return make_object("v1", "ConfigMap", CALICO_CONFIG, "kube-system", data=data)


def _cni_network_config(values: ChartValues) -> str:
    """Render the CNI configuration: JSON apart from the placeholder of the MTU, which the installer replaces."""
    ipam: JsonObject = {"type": values.ipam_type}
    if values.ipam_subnet is not None:
        ipam["subnet"] = values.ipam_subnet
    else:
        ipam["ranges"] = [[{"subnet": "usePodCidrIPv6"}], [{"subnet": "usePodCidr"}]]
    ipam["assign_ipv4"] = "true" if values.has_ipv4 else "false"
    ipam["assign_ipv6"] = "true" if values.has_ipv6 else "false"
    calico = {
        "type": "calico",
        "log_level": "error",
        "log_file_path": "/var/log/calico/cni/cni.log",
        "datastore_type": "kubernetes",
        "nodename": "__KUBERNETES_NODE_NAME__",
        "mtu": "__CNI_MTU__",
        "ipam": ipam,
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"},
    }
    portmap = {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}}
    network = {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [calico, portmap]}
    return json.dumps(network, indent=2).replace('"__CNI_MTU__"', "__CNI_MTU__")


def _typha(values: ChartValues) -> JsonObject:
    """Render Typha. Its pod template changes, and so Typha rolls, only if the switch changes the IPAM.

    Source: charts/internal/calico/templates/typha/deployment-calico-typha.yaml.
    """
    plain = {
        "TYPHA_PROMETHEUSMETRICSENABLED": "true",
        "TYPHA_PROMETHEUSMETRICSPORT": "9093",
        "TYPHA_LOGSEVERITYSCREEN": "info",
        "TYPHA_LOGFILEPATH": "none",
        "TYPHA_LOGSEVERITYSYS": "none",
        "TYPHA_CONNECTIONREBALANCINGMODE": "kubernetes",
        "TYPHA_DATASTORETYPE": "kubernetes",
        "TYPHA_HEALTHENABLED": "true",
        "TYPHA_SHUTDOWNTIMEOUTSECS": "300",
    }
    if values.ipam_type == "host-local":
        plain = {"USE_POD_CIDR": "true", **plain}

    def probe(path: str, period: int) -> JsonObject:
        return {"httpGet": {"path": path, "port": 9098, "host": "localhost"}, "periodSeconds": period, "timeoutSeconds": 10}

    container = {
        "name": "calico-typha",
        "image": calico_image("typha", values.calico_version),
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"containerPort": 5473, "name": "calico-typha", "protocol": "TCP"},
            {"containerPort": 9093, "name": "metrics", "protocol": "TCP"},
        ],
        "env": [{"name": name, "value": value} for name, value in plain.items()],
        "resources": {"requests": {"cpu": "200m", "memory": "100Mi"}},
        "livenessProbe": {**probe("/liveness", 30), "initialDelaySeconds": 30},
        "readinessProbe": probe("/readiness", 10),
        "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
    }
    pod: JsonObject = {
        "tolerations": EVERY_TAINT,
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 300,
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "calico-typha",
        "securityContext": {
            "runAsUser": 65534,
            "fsGroup": 65534,
            "supplementalGroups": [1],
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "100%"}}
    return _deployment("calico-typha-deploy", "calico-typha", strategy, pod, preserve_resources=True)


def _kube_controllers(values: ChartValues) -> JsonObject:
    """Render calico-kube-controllers, which backend none removes.

    Source: charts/internal/calico/templates/kube-controller/deployment-calico-kube-controllers.yaml, utils.go:350-351.
    """
    container = {
        "name": "calico-kube-controllers",
        "image": calico_image("kube-controllers", values.calico_version),
        "env": [
            {"name": "ENABLED_CONTROLLERS", "value": enabled_controllers(values.calico_version)},
            {"name": "DATASTORE_TYPE", "value": "kubernetes"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "50Mi"}},
        "livenessProbe": {
            "exec": {"command": ["/usr/bin/check-status", "-l"]},
            "periodSeconds": 10,
            "initialDelaySeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 10,
        },
        "readinessProbe": {"exec": {"command": ["/usr/bin/check-status", "-r"]}, "periodSeconds": 10, "timeoutSeconds": 10},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": False, "runAsNonRoot": True},
    }
    pod: JsonObject = {
        "tolerations": [{"effect": "NoSchedule", "operator": "Exists"}],
        "serviceAccountName": "calico-kube-controllers",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    document = _deployment("calico-kube-controllers", "calico-kube-controllers", {"type": "Recreate"}, pod)
    document["spec"]["replicas"] = 1
    return document


def _deployment(name: str, app: str, strategy: JsonObject, pod: JsonObject, *, preserve_resources: bool = False) -> JsonObject:
    labels = {"k8s-app": app, **SYSTEM_COMPONENT}
    template: JsonObject = {"labels": {**labels, **REACH, "origin": "gardener"}}
    annotations = None
    if preserve_resources:
        annotations = {"resources.gardener.cloud/preserve-resources": "true"}
        template["annotations"] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    spec = {
        "revisionHistoryLimit": 2,
        "strategy": strategy,
        "selector": {"matchLabels": {"k8s-app": app}},
        "template": {"metadata": template, "spec": pod},
    }
    return make_object("apps/v1", "Deployment", name, "kube-system", labels=labels, annotations=annotations, spec=spec)


def _ip_pools(values: ChartValues) -> list[JsonObject]:
    """Render the pools. Source: charts/internal/calico/templates/ippool/ippool.yaml.

    Without an overlay section none is rendered; the IPv6 pool does not take part in the switch and is not rendered either.
    """
    if values.overlay_enabled is None or not values.has_ipv4:
        return []
    if values.overlay_enabled:
        modes = ("Never", "Always") if values.vxlan_enabled else ("Always", "Never")
        return [_pool(DEFAULT_POOL, values.pod_cidr, ipip=modes[0], vxlan=modes[1])]
    pools = [_pool(DEFAULT_POOL, values.pod_cidr, ipip="Never", vxlan="Never")]
    if values.node_cidr:
        pools.append(_ip_pool(NODE_CIDR_POOL, {"cidr": values.node_cidr, "disabled": True, "disableBGPExport": True}))
    return pools


def _pool(name: str, cidr: str, *, ipip: str, vxlan: str) -> JsonObject:
    spec = {
        "allowedUses": ["Workload", "Tunnel"],
        "blockSize": 26,
        "cidr": cidr,
        "ipipMode": ipip,
        "natOutgoing": True,
        "nodeSelector": "all()",
        "vxlanMode": vxlan,
    }
    return _ip_pool(name, spec)


def _ip_pool(name: str, spec: JsonObject) -> JsonObject:
    return make_object(f"{CALICO_GROUP}/v1", "IPPool", name, spec=spec)

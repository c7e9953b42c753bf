"""The DaemonSet calico-node as Gardener renders it; the switch rolls it.

Source: gardener-extension-networking-calico charts/internal/calico/templates/node/daemonset-calico-node.yaml at v1.60.0-dev.
bird-exporter, eBPF, Multus and the autoscalers' resource requests are not rendered, because no mode changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gardener.manifests.chart_values import ChartValues
from gardener.releases import calico_image
from hitless.calico import CALICO_CONFIG
from hitless.objects import make_object
from hitless.words import JsonObject

CLEANUP_ROUTES: Final = "cleanup-routes"
"""Name of the init container that deletes BIRD's routes: present exactly where the overlay is explicitly off."""
_NODE_NAME: Final[JsonObject] = {"fieldRef": {"fieldPath": "spec.nodeName"}}
_API_ENDPOINT: Final = [{"configMapRef": {"name": "kubernetes-services-endpoint", "optional": True}}]
SYSTEM_COMPONENT: Final = {"gardener.cloud/role": "system-component"}
"""Label of everything that Gardener puts into a Shoot's kube-system."""
REACH: Final = {f"networking.gardener.cloud/to-{where}": "allowed" for where in ("public-networks", "apiserver", "dns")}
"""Labels by which Gardener's network policies allow a pod to reach these."""
EVERY_TAINT: Final = [{"effect": effect, "operator": "Exists"} for effect in ("NoSchedule", "NoExecute")]
# The shell scripts are copied from the chart verbatim.
_IPTABLES_BACKEND: Final = """\
nft_kubelet_rules=$( (iptables-nft-save -t mangle; ip6tables-nft-save -t mangle ) 2>/dev/null | grep -E '^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY)')
if [ -n "$nft_kubelet_rules" ]; then
  backend="nft"
else
  backend="legacy"
fi
"""  # noqa: E501 - the chart's own line

_LOG_MTU_ISSUES: Final = (
    _IPTABLES_BACKEND
    + """\
rulespecV4=("-p" "icmp" "--icmp-type" "fragmentation-needed" "-m" "comment" "--comment" "gardener log mtu problems for ipv4" "-j" "LOG" "--log-prefix" "PACKET-TOO-BIG ")
rulespecV6=("-p" "ipv6-icmp" "--icmpv6-type" "packet-too-big" "-m" "comment" "--comment" "gardener log mtu problems for ipv6" "-j" "LOG" "--log-prefix" "PACKET-TOO-BIG ")
if iptables-$backend -t filter -C OUTPUT "${rulespecV4[@]}" 2>/dev/null; then
  echo "IPv4 MTU logging rule already exists"
else
  iptables-$backend -t filter -I OUTPUT "${rulespecV4[@]}"
fi
if ip6tables-$backend -t filter -C OUTPUT "${rulespecV6[@]}" 2>/dev/null; then
  echo "IPv6 MTU logging rule already exists"
else
  ip6tables-$backend -t filter -I OUTPUT "${rulespecV6[@]}"
fi
"""  # noqa: E501 - the chart's own lines
)

_SNAT_TO_UPSTREAM_DNS: Final = (
    _IPTABLES_BACKEND
    + """\
sleep 15
trap 'echo Received SIGTERM, exiting...' TERM
(while true; do
  for i in $(cat /etc/resolv.conf | grep nameserver | sed -n -e 's/^.*nameserver //p' ); do
    if [[ $i =~ .*:.* ]] && [[ ${POD_CIDR} =~ .*:.* ]]; then
      ip6tables-$backend -t nat -C POSTROUTING -s ${POD_CIDR} -d $i/128 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE 2>/dev/null \\
      || ip6tables-$backend -t nat -I POSTROUTING 1 -s ${POD_CIDR} -d $i/128 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE
    elif [[ $i =~ ^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$ ]] && [[ ${POD_CIDR} =~ ^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+ ]]; then
      iptables-$backend -t nat -C POSTROUTING -s ${POD_CIDR} -d $i/32 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE 2>/dev/null \\
      || iptables-$backend -t nat -I POSTROUTING 1 -s ${POD_CIDR} -d $i/32 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE
    fi
  done
  sleep 60
done)&
wait
"""  # noqa: E501 - the chart's own lines
)

_ENSURE_CONDITION: Final = """\
echo "Waiting 30s for initialization to complete..."
sleep 30
echo "Ensuring NetworkUnavailable condition is set correctly..."
calico-node -startup
echo "Finished ensuring NetworkUnavailable condition is set correctly. Going to sleep."
trap 'echo "Got terminated"' TERM
sleep infinity&
wait $!
"""
"""With Calico v3.31 and later `-startup` no longer touches the condition, so the sidecar has no effect. Source:
calico v3.31.6 node startup.go:257-354."""

_CLEANUP_BIRD_ROUTES: Final = "IFS=$'\n';for i in $(ip route | grep 'proto bird');do unset IFS;ip route del $i;done"
"""Only the main table, only IPv4, and only routes of protocol bird; it fails if the last line ends with linkdown."""


def render_daemon_set(values: ChartValues, config_checksum: str) -> JsonObject:
    """Render the DaemonSet; a changed ConfigMap rolls it, by its checksum in an annotation."""
    labels = {"k8s-app": "calico-node", **SYSTEM_COMPONENT, "node.gardener.cloud/critical-component": "true"}
    spec = {
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": {"k8s-app": "calico-node"}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
        "template": {
            "metadata": {"labels": {**labels, **REACH}, "annotations": {"checksum/configmap-calico": config_checksum}},
            "spec": _pod_spec(values),
        },
    }
    kept = {"resources.gardener.cloud/preserve-resources": "true"}
    return make_object("apps/v1", "DaemonSet", "calico-node", "kube-system", labels=labels, annotations=kept, spec=spec)


def _pod_spec(values: ChartValues) -> JsonObject:
    return {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "hostNetwork": True,
        "tolerations": EVERY_TAINT,
        "serviceAccountName": "calico-node",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        # Grace 0 deletes the pod object at once; the DaemonSet controller replaces it without waiting for its end.
        "terminationGracePeriodSeconds": 0,
        "priorityClassName": "system-node-critical",
        "initContainers": _init_containers(values),
        "containers": [
            *([_snat_sidecar(values)] if values.snat_to_upstream_dns else []),
            *([_ensurer(values)] if values.backend != "none" else []),
            _calico_node(values),
        ],
        "volumes": _volumes(values),
    }


def _init_containers(values: ChartValues) -> list[JsonObject]:
    privileged = {"privileged": True}
    cleanup = {
        "name": CLEANUP_ROUTES,
        "image": calico_image("node", values.calico_version),
        "command": ["sh", "-c", _CLEANUP_BIRD_ROUTES],
        "securityContext": privileged,
    }
    log_mtu = {
        "name": "log-mtu-issues",
        "image": calico_image("node", values.calico_version),
        "command": ["/bin/sh", "-c", _LOG_MTU_ISSUES],
        "securityContext": privileged,
    }
    host_paths = {
        "name": "hostpath-init",
        "image": calico_image("node", values.calico_version),
        "command": ["sh", "-c", "calico-node -hostpath-init"],
        "env": _env({"NODE_USER_ID": "999"}),
        "securityContext": {"allowPrivilegeEscalation": False, "runAsUser": 0},
        "volumeMounts": [_mount(f"/var/{name}", f"var-{name}") for name in ("run", "lib", "log")],
    }
    return [
        *([cleanup] if values.overlay_enabled is False else []),
        log_mtu,
        _install_cni(values),
        *([host_paths] if values.non_privileged else []),
    ]


def _install_cni(values: ChartValues) -> JsonObject:
    return {
        "name": "install-cni",
        "image": calico_image("cni", values.calico_version),
        "command": ["/opt/cni/bin/install"],
        "envFrom": _API_ENDPOINT,
        "env": _env(
            {
                "CNI_CONF_NAME": "10-calico.conflist",
                "CNI_NETWORK_CONFIG": _from_config("cni_network_config"),
                "KUBERNETES_NODE_NAME": _NODE_NAME,
                "CNI_MTU": _from_config("veth_mtu"),
                "SLEEP": "false",
            }
        ),
        "volumeMounts": [_mount("/host/etc/cni/net.d", "cni-net-dir"), _mount("/host/secondary-bin-dir", "cni-bin-dir")],
        "securityContext": {"privileged": True},
    }


def _snat_sidecar(values: ChartValues) -> JsonObject:
    confined = {"privileged": False, "allowPrivilegeEscalation": False, "capabilities": {"add": ["NET_ADMIN"]}}
    return {
        "name": "add-snat-rule-to-upstream-dns",
        "image": calico_image("node", values.calico_version),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": confined if values.non_privileged else {"privileged": True},
        "env": _env({"POD_CIDR": values.pod_cidr}),
        "command": ["/bin/sh", "-c", _SNAT_TO_UPSTREAM_DNS],
        "volumeMounts": [_mount("/run/xtables.lock", "xtables-lock")],
    }


def _ensurer(values: ChartValues) -> JsonObject:
    return {
        "name": "network-unavailable-condition-ensurer",
        "image": calico_image("node", values.calico_version),
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"privileged": False, "allowPrivilegeEscalation": False},
        "env": _env(
            {
                "CALICO_NETWORKING_BACKEND": _from_config("calico_backend"),
                **_autodetection(values),
                "NO_DEFAULT_POOLS": "true",
                "NODENAME": _NODE_NAME,
            }
        ),
        "command": ["/bin/bash", "-c", _ENSURE_CONDITION],
    }


def _calico_node(values: ChartValues) -> JsonObject:
    has_bird = values.backend == "bird"
    probe: JsonObject = {"periodSeconds": 10, "timeoutSeconds": 10}

    def ask(question: str) -> JsonObject:
        birds = [f"-bird-{question}"] if has_bird else []
        return {"exec": {"command": ["/bin/calico-node", f"-felix-{question}", *birds]}, **probe}

    return {
        "name": "calico-node",
        "image": calico_image("node", values.calico_version),
        "envFrom": _API_ENDPOINT,
        "ports": [{"containerPort": 9091, "name": "metrics", "protocol": "TCP"}],
        "env": _env(_calico_node_env(values)),
        "securityContext": _calico_node_security(values),
        "resources": {"requests": {"cpu": "250m", "memory": "100Mi"}},
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/calico-node", "-shutdown"]}}},
        "livenessProbe": {**ask("live"), "initialDelaySeconds": 10, "failureThreshold": 6},
        "readinessProbe": ask("ready"),
        "volumeMounts": _calico_node_mounts(values),
    }


def _calico_node_security(values: ChartValues) -> JsonObject:
    """Privilege, or the three capabilities of NonPrivilegedCalicoNode."""
    if not values.non_privileged:
        return {"privileged": True}
    return {
        "runAsUser": 999,
        "runAsGroup": 0,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_RAW", "NET_ADMIN", "NET_BIND_SERVICE"]},
    }


def _calico_node_env(values: ChartValues) -> dict[str, str | JsonObject]:
    """Return the environment in the chart's order; what stands there twice has the last value, as for the kubelet."""
    return {
        **({"USE_POD_CIDR": "true"} if values.ipam_type == "host-local" else {}),
        "FELIX_PROMETHEUSMETRICSENABLED": "true",
        "FELIX_PROMETHEUSMETRICSPORT": "9091",
        "DATASTORE_TYPE": "kubernetes",
        "FELIX_TYPHAK8SSERVICENAME": _from_config("typha_service_name"),
        "WAIT_FOR_DATASTORE": "true",
        "NODENAME": _NODE_NAME,
        "CALICO_NETWORKING_BACKEND": _from_config("calico_backend"),
        "CLUSTER_TYPE": "k8s,bgp",
        **_address_env(values),
        "FELIX_IPV6SUPPORT": _boolean(value=values.has_ipv6),
        **{f"FELIX_{tunnel}MTU": _from_config("veth_mtu") for tunnel in ("IPINIP", "VXLAN", "WIREGUARD")},
        "CALICO_DISABLE_FILE_LOGGING": "true",
        "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
        # Explicitly "false" in native mode: the tunnel device stays then, because Felix cleans up only where it is unset.
        **({} if values.vxlan_enabled else {"FELIX_IPINIPENABLED": _boolean(value=values.felix_ipip)}),
        "FELIX_BPFENABLED": "false",
        "FELIX_BPFKUBEPROXYIPTABLESCLEANUPENABLED": "false",
        "FELIX_HEALTHENABLED": "true",
        "FELIX_NATPORTRANGE": "32768:65535",
        **({"FELIX_SERVICELOOPPREVENTION": values.service_loop_prevention} if values.service_loop_prevention else {}),
        **({"FELIX_NFTABLESMODE": "Enabled"} if values.nftables else {}),
        **({"FELIX_CHAININSERTMODE": "Append"} if values.snat_to_upstream_dns else {}),
        **({"FELIX_WIREGUARDENABLED": "true", "FELIX_WIREGUARDENABLEDV6": "true"} if values.wireguard else {}),
        "CALICO_MANAGE_CNI": "true",
        **({"CALICO_IPV4POOL_IPIP": "Never", "FELIX_VXLANENABLED": "true"} if values.vxlan_enabled else {}),
    }


def _address_env(values: ChartValues) -> dict[str, str]:
    """Return addresses and pools; the pools' variables have no effect once any pool exists."""
    ipv4 = {f"CALICO_IPV4POOL_{values.ipv4_pool.upper()}": values.ipv4_mode, "CALICO_IPV4POOL_CIDR": values.pod_cidr}
    ipv6 = {
        "CALICO_IPV6POOL_VXLAN": values.ipv6_mode,
        "CALICO_IPV6POOL_NAT_OUTGOING": _boolean(value=values.ipv6_nat_outgoing),
        "CALICO_ROUTER_ID": "hash",
    }
    return {**_autodetection(values), **(ipv4 if values.has_ipv4 else {}), **(ipv6 if values.has_ipv6 else {})}


def _autodetection(values: ChartValues) -> dict[str, str]:
    found = {
        "IP": "autodetect" if values.has_ipv4 else "none",
        "IP_AUTODETECTION_METHOD": values.ipv4_autodetection if values.has_ipv4 else None,
        "IP6": "autodetect" if values.has_ipv6 else None,
        "IP6_AUTODETECTION_METHOD": values.ipv6_autodetection if values.has_ipv6 else None,
    }
    return {name: value for name, value in found.items() if value}


def _calico_node_mounts(values: ChartValues) -> list[JsonObject]:
    state = (
        [_mount(f"/var/{name}", f"var-{name}") for name in ("run", "lib", "log")]
        if values.non_privileged
        else [_mount("/var/run/calico", "var-run-calico"), _mount("/var/lib/calico", "var-lib-calico")]
    )
    return [
        _mount("/host/etc/cni/net.d", "cni-net-dir"),
        _mount("/lib/modules", "lib-modules", read_only=True),
        _mount("/run/xtables.lock", "xtables-lock"),
        *state,
        {"name": "policysync", "mountPath": "/var/run/nodeagent"},
        _mount("/var/log/calico/cni", "cni-log-dir", read_only=True),
    ]


def _volumes(values: ChartValues) -> list[JsonObject]:
    state = (
        [_volume(f"var-{name}", f"/var/{name}") for name in ("run", "lib", "log")]
        if values.non_privileged
        else [_volume(f"var-{name}-calico", f"/var/{name}/calico", "DirectoryOrCreate") for name in ("run", "lib")]
    )
    return [
        _volume("lib-modules", "/lib/modules"),
        *state,
        _volume("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
        _volume("cni-bin-dir", "/opt/cni/bin", "DirectoryOrCreate"),
        _volume("cni-net-dir", "/etc/cni/net.d"),
        _volume("cni-log-dir", "/var/log/calico/cni"),
        _volume("policysync", "/var/run/nodeagent", "DirectoryOrCreate"),
    ]


def _env(variables: Mapping[str, str | JsonObject]) -> list[JsonObject]:
    """Return environment variables, each with its value or its source."""
    return [{"name": name, "value" if isinstance(one, str) else "valueFrom": one} for name, one in variables.items()]


def _from_config(key: str) -> JsonObject:
    return {"configMapKeyRef": {"name": CALICO_CONFIG, "key": key}}


def _mount(path: str, volume: str, *, read_only: bool = False) -> JsonObject:
    return {"mountPath": path, "name": volume, "readOnly": read_only}


def _volume(name: str, path: str, kind: str | None = None) -> JsonObject:
    host_path: dict[str, Any] = {"path": path} if kind is None else {"path": path, "type": kind}
    return {"name": name, "hostPath": host_path}


def _boolean(*, value: bool) -> str:
    return "true" if value else "false"

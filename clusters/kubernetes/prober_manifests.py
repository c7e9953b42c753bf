"""The Kubernetes objects of the probers: all objects that hitless creates in a cluster that it only watches.

Two pods per node in the pod network (every other node probes `mesh`, its neighbour on the same node probes `control`), and one
in the node's own network (`host`). They hold no token of the API, no privilege and no capability, open one port (UDP, and TCP
where a flow is of TCP), and write into one emptyDir with a limit. Deleting the namespace and the priority class removes all of
it.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from hitless.objects import make_object
from hitless.words import JsonObject
from probes.pod import SOCKET
from probes.stamp import PORT

NAMESPACE: Final = "hitless"
PRIORITY_CLASS: Final = "hitless-prober"
ROLE_LABEL: Final = "hitless.dev/role"
OWNER_LABEL: Final = "app.kubernetes.io/managed-by"
OWNER: Final = "hitless"
"""Value of that label on a namespace that hitless may delete."""
CONTAINER: Final = "prober"
RECORDS: Final = "/records"
"""Where the pod's supervisor has its emptyDir."""
_RECORDS_LIMIT: Final = "2Gi"
"""Size of that volume: a probe takes 62 octets at its sender and 27 at its reflector."""
USER_ID: Final = 65_532
"""Numeric, so that the kubelet can see that it is not root; the image's user."""
_PING_GROUPS: Final = f"{USER_ID} {USER_ID}"
"""Groups that may open ping sockets. A safe sysctl, which `restricted` allows. Source: Linux ip-sysctl.rst ping_group_range;
kubernetes.io/docs/concepts/security/pod-security-standards."""
_PORTS: Final = {"stamp": "UDP", "messages": "TCP"}
_PRIORITY: Final = 1_000_000
"""Above ordinary pods, far below the system's classes; it never preempts."""


@unique
class PodRole(StrEnum):
    """Which pod of a node."""

    MESH = "mesh"
    """Probed by the mesh pods of all other nodes."""
    CONTROL = "control"
    """Probed by its neighbour only: no switch can affect that path."""
    HOST = "host"
    """In the node's own network: it sees the node's routes, and its flows never take the overlay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberSpec:
    """What is to be deployed."""

    image: str
    """Reference of the image made from probes/image/Dockerfile."""
    pull_policy: str = "IfNotPresent"
    """`Never` where the image was loaded into the nodes."""
    namespace: str = NAMESPACE
    roles: tuple[PodRole, ...] = tuple(PodRole)


def render_probers(spec: ProberSpec) -> tuple[JsonObject, ...]:
    """Return the objects in the order in which they are applied."""
    return (
        _namespace(spec),
        _priority_class(),
        make_object(*("v1", "ServiceAccount", "prober", spec.namespace), labels=_labels(), automountServiceAccountToken=False),
        _service(spec),
        *(_daemon_set(spec, role) for role in spec.roles),
    )


def render_owned(spec: ProberSpec) -> tuple[JsonObject, ...]:
    """Return the objects to delete at the end: the others are deleted with the namespace."""
    return _namespace(spec), _priority_class()


def _labels(role: PodRole | None = None) -> dict[str, str]:
    labels = {"app.kubernetes.io/name": "hitless-prober", OWNER_LABEL: OWNER}
    return labels if role is None else {**labels, ROLE_LABEL: role.value}


def _namespace(spec: ProberSpec) -> JsonObject:
    # A pod in the node's network is never a `baseline` pod.
    level = "privileged" if PodRole.HOST in spec.roles else "restricted"
    labels = {**_labels(), "pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/warn": level}
    return make_object("v1", "Namespace", spec.namespace, labels=labels)


def _priority_class() -> JsonObject:
    return make_object(
        *("scheduling.k8s.io/v1", "PriorityClass", PRIORITY_CLASS),
        labels=_labels(),
        value=_PRIORITY,
        globalDefault=False,
        preemptionPolicy="Never",  # probers must not displace the pods under test
        description="Connectivity probers: evicted after ordinary pods, never at the cost of another pod.",
    )


def _service(spec: ProberSpec) -> JsonObject:
    """A headless Service: the probers' addresses by name, no virtual address on any path."""
    service = {
        "clusterIP": "None",
        "ipFamilyPolicy": "PreferDualStack",  # where the cluster has one family, that one
        "publishNotReadyAddresses": True,
        "selector": _labels(),
        "ports": [{"name": name, "port": PORT, "protocol": protocol} for name, protocol in _PORTS.items()],
    }
    return make_object("v1", "Service", "prober", spec.namespace, labels=_labels(), spec=service)


def _daemon_set(spec: ProberSpec, role: PodRole) -> JsonObject:
    selector = {"app.kubernetes.io/name": "hitless-prober", ROLE_LABEL: role.value}
    daemon_set = {
        "selector": {"matchLabels": selector},
        # A prober that is replaced while it measures has lost its records.
        "updateStrategy": {"type": "OnDelete"},
        "template": {"metadata": {"labels": _labels(role)}, "spec": _pod_spec(spec, role)},
    }
    name = f"prober-{role.value}"
    return make_object("apps/v1", "DaemonSet", name, spec.namespace, labels=_labels(role), spec=daemon_set)


def _pod_spec(spec: ProberSpec, role: PodRole) -> JsonObject:
    return {
        **({"hostNetwork": True} if role is PodRole.HOST else {}),
        "serviceAccountName": "prober",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        # Every node, even one that is tainted because its route is missing: that node matters most.
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": PRIORITY_CLASS,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
            # Ping sockets for the prober's group; hitless must not change the node's own network.
            **({} if role is PodRole.HOST else {"sysctls": [{"name": "net.ipv4.ping_group_range", "value": _PING_GROUPS}]}),
        },
        "containers": [_container(spec)],
        "volumes": [{"name": "records", "emptyDir": {"sizeLimit": _RECORDS_LIMIT}}],
    }


def _container(spec: ProberSpec) -> JsonObject:
    """No kubelet probe runs after the start, because it would cost CPU. A CPU limit would make ticks late."""
    return {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": spec.pull_policy,
        "args": ["serve", RECORDS],
        # Ready only when the supervisor listens: on a busy machine Python's start takes seconds.
        "startupProbe": {
            "exec": {"command": ["test", "-S", f"{RECORDS}/{SOCKET}"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 60,
        },
        "ports": [{"name": name, "containerPort": PORT, "protocol": protocol} for name, protocol in _PORTS.items()],
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"memory": "512Mi", "ephemeral-storage": _RECORDS_LIMIT},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "records", "mountPath": RECORDS}],
    }

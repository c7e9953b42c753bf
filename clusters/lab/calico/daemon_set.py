"""The double of the DaemonSet controller: it replaces the calico-node pods when their template changes.

At most maxUnavailable pods are not Ready at a time because of it; a pod that is not Ready anyway is replaced without counting.
With a grace period of 0 a deleted pod is gone at once and its successor is created at once.

Source: kubernetes pkg/controller/daemon/update.go rollingUpdate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clusters.lab.calico.datastore import (
    HASH_LABEL,
    make_pod,
    make_status,
    read_pod,
    read_pools,
    template_hash,
)
from clusters.lab.calico.writers import publish_tunnel_address
from clusters.lab.kube import MemoryKube
from gardener.conditions import calico_is_up, dated
from gardener.manifests.admission import CALICO_NODE_USER
from hitless.calico import CALICO_CONFIG, CALICO_NODE, is_calico_pod
from hitless.clock import read_wall_time
from hitless.errors import ApiUnavailableError, UsageError
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.objects import is_ready
from hitless.words import JsonObject, Kind, Nanoseconds, Overlay

_ACTOR = "system:serviceaccount:kube-system:daemon-set-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    """The fields that the controller reads."""

    name: str
    template: str
    """Hash of its template."""
    is_ready: bool


class DaemonSetRoll:
    """The DaemonSet controller, for calico-node alone; a Participant."""

    name: Final = "daemon-set-controller"
    watches: Final = frozenset({Kind.POD, Kind.DAEMON_SET, Kind.NODE})

    def __init__(self, *, kube: MemoryKube, recorder: Recorder) -> None:
        self._kube = kube
        self._recorder = recorder
        self._watch = kube.watch(*self.watches)
        self._daemon_set: JsonObject | None = None
        self._wanted = ""
        """Hash of the template that the DaemonSet has now."""
        self._nodes: set[str] = set()
        self._pods: dict[str, _Pod] = {}
        self._last_names: dict[str, str] = {}
        self._is_rolling = False
        self._refresh()
        is_uniform = all(pod.template == self._wanted for pod in self._pods.values())
        self._template = self._wanted if is_uniform else None

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:  # noqa: ARG002 - it acts on changes, never on time
        """Replace what may be replaced now; see Participant."""
        if not self._refresh() or self._daemon_set is None:
            return None
        daemon_set, template = self._daemon_set, self._wanted
        generation = daemon_set["metadata"]["generation"]
        if template != self._template:
            self._template = template
            self._is_rolling = True
            self._recorder.record("roll.started", generation=generation)
        for node in sorted(self._pods.keys() - self._nodes):
            self._delete(node)
        for node in self._in_order(self._nodes - self._pods.keys()):
            self._create(daemon_set, node)
        for node in self._replaceable(template, max_unavailable(daemon_set, len(self._nodes))):
            self._delete(node)
            self._create(daemon_set, node)
        self._write_status(daemon_set)
        if self._is_rolling and self._is_rolled(template):
            self._is_rolling = False
            self._recorder.record("roll.finished", generation=generation)
        return None

    def is_settled(self) -> bool:
        """Return whether every node has a Ready pod of the present template, and the status says so."""
        if not self._refresh():
            return False
        daemon_set = self._daemon_set
        if daemon_set is None:
            return True
        observed = daemon_set.get("status", {}).get("observedGeneration")
        is_noticed = observed == daemon_set["metadata"]["generation"] and self._template == self._wanted
        return is_noticed and not self._is_rolling and self._is_rolled(self._wanted)

    def _refresh(self) -> bool:
        """Read what changed. Returns False while the API is away."""
        try:
            changes = self._watch.take()
        except ApiUnavailableError:
            return False
        if CALICO_NODE in changes.get(Kind.DAEMON_SET, {}):
            self._daemon_set = changes[Kind.DAEMON_SET][CALICO_NODE]
            self._wanted = template_hash(self._daemon_set) if self._daemon_set else ""
        for name, content in changes.get(Kind.NODE, {}).items():
            (self._nodes.add if content else self._nodes.discard)(name)
        pods = changes.get(Kind.POD, {})
        for name, pod in pods.items():
            if pod is None:
                for node in [node for node, held in self._pods.items() if held.name == name]:
                    # Another writer deleted it. Its successor needs another name, or the node would treat it as the same pod.
                    self._last_names[node] = name
                    self._recorder.record("pod.deleted", node=node, pod=name)
                self._pods = {node: held for node, held in self._pods.items() if held.name != name}
        for name, pod in pods.items():
            if pod is not None and is_calico_pod(pod):
                template = pod["metadata"]["labels"][HASH_LABEL]
                self._pods[pod["spec"]["nodeName"]] = _Pod(name=name, template=template, is_ready=is_ready(pod))
        return True

    def _replaceable(self, template: str, limit: int) -> list[str]:
        """Return the nodes whose pods are replaced now: old and not Ready at once, old and Ready as the budget allows."""
        old = {node for node, pod in self._pods.items() if pod.template != template}
        broken = {node for node in old if not self._pods[node].is_ready}
        unavailable = sum(node not in self._pods or not self._pods[node].is_ready for node in self._nodes)
        budget = max(0, limit - unavailable)
        return [*self._in_order(broken), *self._in_order(old - broken)[:budget]]

    def _in_order(self, nodes: set[str]) -> list[str]:
        """Return nodes in the order of the roll: the same in every run, and not the order of zones."""
        return sorted(nodes, key=lambda node: hashlib.sha256(node.encode()).digest())

    def _delete(self, node: str) -> None:
        pod = self._pods.pop(node)
        self._last_names[node] = pod.name
        self._kube.delete(Kind.POD, pod.name)
        self._recorder.record("pod.deleted", node=node, pod=pod.name)

    def _create(self, daemon_set: JsonObject, node: str) -> None:
        pod = make_pod(daemon_set, node, self._last_names.get(node))
        name = pod["metadata"]["name"]
        self._kube.apply(pod, actor=_ACTOR)
        self._pods[node] = _Pod(name=name, template=self._wanted, is_ready=False)
        self._recorder.record("pod.created", node=node, pod=name)

    def _is_rolled(self, template: str) -> bool:
        pods = self._pods.values()
        return self._pods.keys() == self._nodes and all(pod.template == template and pod.is_ready for pod in pods)

    def _write_status(self, daemon_set: JsonObject) -> None:
        ready = sum(pod.is_ready for pod in self._pods.values())
        status = {
            "desiredNumberScheduled": len(self._nodes),
            "currentNumberScheduled": len(self._pods),
            "updatedNumberScheduled": sum(pod.template == self._wanted for pod in self._pods.values()),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberUnavailable": len(self._nodes) - ready,
            "numberMisscheduled": 0,
            "observedGeneration": daemon_set["metadata"]["generation"],
        }
        if status != daemon_set.get("status"):
            self._daemon_set = self._kube.replace_status({**daemon_set, "status": status}, actor=_ACTOR)


def max_unavailable(daemon_set: JsonObject, nodes: int) -> int:
    """Return how many pods may be away at a time, of a percentage rounded up; 0: none, the strategy is OnDelete.

    Raises UsageError: neither a number nor a percentage. Source: kubernetes pkg/controller/daemon/util UnavailableCount; the
    default is 1.
    """
    strategy = daemon_set["spec"].get("updateStrategy", {})
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0
    found = strategy.get("rollingUpdate", {}).get("maxUnavailable", 1)
    if isinstance(found, int):
        return found
    if isinstance(found, str) and found.endswith("%") and found[:-1].isdigit():
        return math.ceil(nodes * int(found[:-1]) / 100)
    place = "spec.updateStrategy.rollingUpdate.maxUnavailable"
    raise UsageError(where=f"DaemonSet {CALICO_NODE}", place=place, found=repr(found), expected="a number or a percentage")


def start_pods(kube: MemoryKube, nodes: Sequence[NodeFacts]) -> None:
    """Create the calico-node pods of a cluster that has been up for long: Ready, with the present template.

    They have left their marks: the condition CalicoIsUp where the backend is not none, a tunnel address where VXLAN is on.
    Node, ConfigMap, IPPool and DaemonSet objects must be there. Raises NotFoundError: an object is missing.
    """
    daemon_set = kube.get(Kind.DAEMON_SET, CALICO_NODE)
    config = kube.get(Kind.CONFIG_MAP, CALICO_CONFIG)
    pools = read_pools(kube.list(Kind.IP_POOL))
    for node in nodes:
        document = kube.apply(make_pod(daemon_set, node.name, None), actor=_ACTOR)
        kube.replace_status({**document, "status": make_status(is_ready=True)}, actor=f"system:node:{node.name}")
        pod = read_pod(document, config)
        if pod.backend != "none":
            kube.merge_condition(node.name, dated(calico_is_up(), read_wall_time()), actor=CALICO_NODE_USER)
        if pod.backend != "none" and pools.overlay is Overlay.VXLAN:
            publish_tunnel_address(kube, node, present=True)

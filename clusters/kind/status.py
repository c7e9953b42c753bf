"""The state of a running kind cluster: its containers, nodes and Calico."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker
from clusters.kind.nodes import read_state
from hitless.calico import CALICO_NODE, is_tunnel_route
from hitless.errors import WorldError
from hitless.facts import NodeState
from hitless.objects import is_ready, name_of
from hitless.plural import plural
from hitless.words import JsonObject

_KUBECTL: Final = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "--output", "json")
"""kubectl on the control plane, as kubeadm installs it, so this machine needs no program and no kubeconfig."""


def read_status(docker: Docker, cluster: str) -> dict[str, str]:
    """Return a description of the state of each node and of the router, in order of their names.

    It is the state of the container, of the Node, of Calico there, and where its routes to other nodes lead.

    Raises:
        WorldError: docker failed.
    """
    nodes = docker.find_containers(f"{KIND_LABEL}={cluster}")
    others = docker.find_containers(f"{LABEL_CLUSTER}={cluster}")
    running = {name for name in (*nodes, *others) if docker.is_running(name)}
    said: Mapping[str, str] = {}
    trouble = ""
    try:
        said = _ask(docker, cluster, [name for name in nodes if name in running])
    except WorldError as error:
        trouble = f"; the API server does not answer: {error}"
    return {
        name: f"running{said.get(name, trouble if name in nodes else '')}" if name in running else "not running"
        for name in sorted({*nodes, *others})
    }


def _ask(docker: Docker, cluster: str, nodes: Sequence[str]) -> dict[str, str]:
    control_plane = f"{cluster}-control-plane"
    objects = docker.execute_json(control_plane, *_KUBECTL, "nodes")["items"]
    selector = ("--namespace", "kube-system", "--selector", f"k8s-app={CALICO_NODE}")
    pods = docker.execute_json(control_plane, *_KUBECTL, "pods", *selector)["items"]
    states = [read_state(docker, name) for name in nodes]
    return describe_nodes(objects, pods, states)


def describe_nodes(nodes: Sequence[JsonObject], pods: Sequence[JsonObject], states: Sequence[NodeState]) -> dict[str, str]:
    """Return the rest of a sentence for each node. Pure.

    The pods are those of calico-node.
    """
    ready = {name_of(node): is_ready(node) for node in nodes}
    calico = {pod["spec"].get("nodeName"): is_ready(pod) for pod in pods}
    told: dict[str, str] = {}
    for state in states:
        node = _say(ready.get(state.node), "Ready", "not Ready", "no Node object")
        pod = _say(calico.get(state.node), "calico-node ready", "calico-node not ready", "no calico-node")
        told[state.node] = f", {node}, {pod}, {_describe_routes(state)}"
    return told


def _say(is_so: bool | None, yes: str, no: str, absent: str) -> str:  # noqa: FBT001 - three words for three values
    return absent if is_so is None else yes if is_so else no


def _describe_routes(state: NodeState) -> str:
    count = sum(1 for route in state.routes if is_tunnel_route(route))
    return f"{plural(count, 'route')} into the tunnel" if count else "no route into a tunnel"

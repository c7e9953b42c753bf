"""What `hitless kind status` says of a node: its Node object, Calico there, and where its routes lead."""

from __future__ import annotations

from clusters.kind.status import describe_nodes, read_status
from hitless.errors import WorldError
from hitless.facts import NodeState
from hitless.words import JsonObject


def ready(*, is_so: bool) -> JsonObject:
    return {"conditions": [{"type": "Ready", "status": "True" if is_so else "False"}]}


def test_nodes_are_described_by_their_objects_and_their_routes() -> None:
    nodes = [
        {"metadata": {"name": "a"}, "status": ready(is_so=True)},
        {"metadata": {"name": "b"}, "status": ready(is_so=False)},
    ]
    pods = [{"metadata": {"name": "calico-node-1"}, "spec": {"nodeName": "a"}, "status": ready(is_so=True)}]
    tunnelled = {"dst": "100.96.1.0/26", "type": "unicast", "protocol": 80, "dev": "vxlan.calico", "via": "100.96.1.0"}
    states = [NodeState(node="a", routes=(tunnelled,), devices=()), NodeState(node="b", routes=(), devices=())]
    assert describe_nodes(nodes, pods, states) == {
        "a": ", Ready, calico-node ready, 1 route into the tunnel",
        "b": ", not Ready, no calico-node, no route into a tunnel",
    }


class BrokenCluster:
    """An engine with a node that runs, one that does not, and no API server."""

    def find_containers(self, label: str) -> tuple[str, ...]:
        return ("c-router",) if label.startswith("hitless.") else ("c-control-plane", "c-worker")

    def is_running(self, container: str) -> bool:
        return container != "c-worker"

    def execute_json(self, container: str, *_: str) -> object:
        raise WorldError(f"{container}: connection refused")


def test_a_cluster_whose_api_server_is_away_is_described_as_far_as_docker_knows() -> None:
    told = read_status(BrokenCluster(), "c")  # type: ignore[arg-type]  # as far as it is asked
    assert told == {
        "c-control-plane": "running; the API server does not answer: c-control-plane: connection refused",
        "c-router": "running",
        "c-worker": "not running",
    }

"""The parts of a cluster that need real nodes, in memory: an API for Calico's start, and a prober to be placed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clusters.kind.spec import KindPlan
from clusters.lab.kube import MemoryKube
from gardener.manifests.admission import admit
from hitless.clock import RunClock
from hitless.errors import NotFoundError
from hitless.facts import Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.records import ProbeRecords
from hitless.words import JsonObject, Kind

READY = {"type": "Ready", "status": "True"}
NODE_INFO = {"kubeletVersion": "v1.36.7", "kernelVersion": "6.8.0-of-the-node"}


class StartedApi(MemoryKube):
    """An API with kubelets and a DaemonSet controller that act at once."""

    def __init__(self, plan: KindPlan) -> None:
        super().__init__(admit=admit, clock=RunClock())
        self.installed: list[tuple[str, str]] = []
        self.started = 0
        for number, node in enumerate(plan.nodes):
            spec = {"podCIDR": f"100.96.{number}.0/24", "providerID": node.provider_id}
            document = {"kind": "Node", "metadata": {"name": node.name}, "spec": spec}
            self.apply(document, actor="kubelet")
            self.replace_status({**document, "status": {"conditions": [READY], "nodeInfo": NODE_INFO}}, actor="kubelet")

    def read_log(self, namespace: str, pod: str, container: str, *, lines_max: int, is_previous: bool) -> str:
        raise NotFoundError(f"{namespace}/{pod}/{container} has no log of {lines_max} lines, previous {is_previous}")

    def install(self, documents: Sequence[JsonObject]) -> None:
        for document in documents:
            kind, name = document["kind"], document["metadata"]["name"]
            self.installed.append((kind, name))
            if kind not in set(Kind):
                continue
            stored = self.apply(document, actor="administrator")
            if kind == Kind.DAEMON_SET.value:
                count, generation = len(self.list(Kind.NODE)), stored["metadata"]["generation"]
                told = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable")
                status = dict.fromkeys(told, count)
                self.replace_status({**document, "status": {**status, "observedGeneration": generation}}, actor="controller")

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        self.started = 0


class PlacedProber:
    """A prober that only reports where its pods would be."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def deploy(self, nodes: Sequence[NodeFacts]) -> tuple[Endpoint, ...]:
        self.told.append("deploy")
        return tuple(
            Endpoint(
                name=f"{node.name}-{role}",
                node=node.name,
                zone=node.zone,
                address=f"{node.pod_cidr.removesuffix('0/24')}{last}",
            )
            for node in nodes
            for last, role in ((2, "mesh"), (3, "control"))
        )

    def remove(self) -> None:
        self.told.append("remove")

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        raise NotImplementedError

    def is_live(self) -> bool:
        return False

    def stop(self) -> None:
        self.told.append("stop")

    def collect(self) -> ProbeRecords:
        raise NotImplementedError

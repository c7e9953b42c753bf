"""The lab's own faults: of nodes, of their interfaces, of calico-node's pods. Names and options: `hitless.faults`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from clusters.faults import common_faults, find_node, node_faults
from clusters.lab.calico.node import CalicoNode
from clusters.lab.kube import MemoryKube
from clusters.lab.network import LabNetwork
from gardener.conditions import other_conditions
from gardener.doubles.cloud import Cloud
from hitless.errors import UsageError, attempting
from hitless.faults import CLOCK_STEPPED, Fault, Owner, faults_of
from hitless.words import MILLISECOND, JsonObject, Kind, Nanoseconds

LAB_FAULTS: Final = faults_of(Owner.CLUSTER, Owner.MACHINES, Owner.LAB)
"""What `lab_faults` returns."""

_KUBELET: Final = "system:node"


def lab_faults(kube: MemoryKube, cloud: Cloud, network: LabNetwork, calico: Mapping[str, CalicoNode]) -> dict[str, Fault]:
    """Return name to fault; `calico`, node to its double of calico-node, is filled once the run begins."""
    nodes, clock = _Nodes(kube, network, calico), _WallClock()
    return {
        **common_faults(kube, kube, cloud),
        **node_faults(network, kube, cloud),
        "node-prefix-lost": Fault(inject=nodes.lose_prefix, cure=nodes.delegate_prefix),
        "node-unregistered": Fault(inject=nodes.unregister, cure=nodes.register),
        "calico-node-lingers": Fault(inject=nodes.end_late, cure=nodes.end_in_time),
        CLOCK_STEPPED: Fault(inject=clock.step, cure=clock.step_back),
    }


class _Nodes:
    """The faults of single nodes."""

    def __init__(self, kube: MemoryKube, network: LabNetwork, calico: Mapping[str, CalicoNode]) -> None:
        self._kube, self._network, self._calico = kube, network, calico
        self._unregistered: dict[str, JsonObject] = {}

    def lose_prefix(self, options: JsonObject) -> None:
        """Take the node's IPv6 prefix out of every zone's table. Raises WorldError: the lab has no IPv6."""
        self._network.set_prefix(self._find(options), is_delegated=False)

    def delegate_prefix(self, options: JsonObject) -> None:
        """Put it back; having it already is no error."""
        if options.get("node", "") in self._network.planes and self._network.spec.has_ipv6:
            self._network.set_prefix(options["node"], is_delegated=True)

    def unregister(self, options: JsonObject) -> None:
        """Delete the Node object. Calico's pod follows; the kernel keeps its routes, and peers keep theirs for a while."""
        name = self._find(options)
        if name not in self._unregistered:
            self._unregistered[name] = self._kube.get(Kind.NODE, name)
            self._kube.delete(Kind.NODE, name)

    def register(self, options: JsonObject) -> None:
        """Create the Node again, as kubelet does: without NetworkUnavailable."""
        document = self._unregistered.pop(options.get("node", ""), None)
        if document is None:
            return
        metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
        status = {**document["status"], "conditions": list(other_conditions(document))}
        node = {**document, "metadata": metadata, "status": status}
        self._kube.apply(node, actor=_KUBELET)
        self._kube.replace_status(node, actor=_KUBELET)

    def end_late(self, options: JsonObject) -> None:
        """Have the containers of a replaced calico-node pod end late."""
        self._calico[self._find(options)].is_lingering = True

    def end_in_time(self, options: JsonObject) -> None:
        """Have them end in time."""
        if (node := self._calico.get(options.get("node", ""))) is not None:
            node.is_lingering = False

    def _find(self, options: JsonObject) -> str:
        return find_node(options, [node.name for node in self._network.plan.nodes])


class _WallClock:
    """CLOCK_REALTIME of the machine. It has no namespace, so a step reaches every program."""

    def __init__(self) -> None:
        self._ahead_ns = Nanoseconds(0)

    def step(self, options: JsonObject) -> None:
        """Set the clock ahead, or back. Raises UsageError: nothing would change; WorldError: the machine forbids it."""
        if options["ms"] == 0:
            raise UsageError(where=f"fault {CLOCK_STEPPED}", place="options.ms", found="0", expected="a number other than 0")
        self._move(Nanoseconds(options["ms"] * MILLISECOND))

    def step_back(self, _: JsonObject) -> None:
        """Undo the step."""
        if self._ahead_ns:
            self._move(Nanoseconds(-self._ahead_ns))

    def _move(self, by_ns: Nanoseconds) -> None:
        with attempting("set the wall clock"):
            time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + by_ns)
        self._ahead_ns = Nanoseconds(self._ahead_ns + by_ns)

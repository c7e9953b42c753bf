"""The lab's own faults: of nodes, of their interfaces, of calico-node's pods. Names and options: `scenarios.faults`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from clusters.faults import COMMON_FAULTS, common_faults
from clusters.lab.addresses import UNDERLAY_DEVICE, NodePlan
from clusters.lab.calico.node import CalicoNode
from clusters.lab.kube import MemoryKube
from clusters.lab.network import LabNetwork
from clusters.lab.services import run_nft
from gardener.conditions import other_conditions
from gardener.doubles.cloud import Cloud
from hitless.errors import UsageError, WorldError
from hitless.fault_table import Fault
from hitless.words import MILLISECOND, JsonObject, Kind, Nanoseconds

CLOCK_STEPPED: Final = "wall-clock-stepped"
"""Breaks what every program of the machine reads, so it needs a machine of its own: see `has_own_wall_clock`."""

LAB_FAULTS: Final = COMMON_FAULTS | {
    "node-prefix-lost",
    "node-unregistered",
    "node-leaves",
    "calico-node-lingers",
    "source-check-on",
    "connections-refused",
    "mtu-lowered",
    CLOCK_STEPPED,
}
"""What `lab_faults` returns."""

NEEDS_NFT: Final = frozenset({"source-check-on", "connections-refused"})
"""Faults that are rules of nftables in a node."""

_SOURCE_CHECK: Final = "source-check"
_CONNECTIONS: Final = "connections"
_KUBELET: Final = "system:node"


def lab_faults(kube: MemoryKube, cloud: Cloud, network: LabNetwork, calico: Mapping[str, CalicoNode]) -> dict[str, Fault]:
    """Return name to fault.

    Args:
        kube: the lab's API.
        cloud: the route tables and the API around them.
        network: nodes and their interfaces.
        calico: node to its double of calico-node; filled once the run begins.
    """
    nodes, clock = _Nodes(kube, cloud, network, calico), _WallClock()
    return {
        **common_faults(kube, kube, cloud),
        "node-prefix-lost": Fault(inject=nodes.lose_prefix, cure=nodes.delegate_prefix),
        "node-unregistered": Fault(inject=nodes.unregister, cure=nodes.register),
        "node-leaves": Fault(inject=nodes.leave, cure=lambda _: None),
        "calico-node-lingers": Fault(inject=nodes.end_late, cure=nodes.end_in_time),
        "source-check-on": Fault(inject=nodes.check_sources, cure=lambda options: nodes.drop_rules(options, _SOURCE_CHECK)),
        "connections-refused": Fault(
            inject=nodes.refuse_connections, cure=lambda options: nodes.drop_rules(options, _CONNECTIONS)
        ),
        "mtu-lowered": Fault(inject=nodes.lower_mtu, cure=nodes.restore_mtu),
        CLOCK_STEPPED: Fault(inject=clock.step, cure=clock.step_back),
    }


class _Nodes:
    """The faults of single nodes."""

    def __init__(self, kube: MemoryKube, cloud: Cloud, network: LabNetwork, calico: Mapping[str, CalicoNode]) -> None:
        self._kube, self._cloud, self._network, self._calico = kube, cloud, network, calico
        self._unregistered: dict[str, JsonObject] = {}
        self._ruled: set[tuple[str, str]] = set()

    def lose_prefix(self, options: JsonObject) -> None:
        """Take the node's IPv6 prefix out of every zone's table. Raises WorldError: the lab has no IPv6."""
        self._network.set_prefix(self._find(options).name, is_delegated=False)

    def delegate_prefix(self, options: JsonObject) -> None:
        """Put it back; having it already is no error."""
        if options.get("node", "") in self._network.planes and self._network.spec.has_ipv6:
            self._network.set_prefix(options["node"], is_delegated=True)

    def unregister(self, options: JsonObject) -> None:
        """Delete the Node object. Calico's pod follows; the kernel keeps its routes, and peers keep theirs for a while."""
        name = self._find(options).name
        if name not in self._unregistered:
            self._unregistered[name] = self._kube.get(Kind.NODE, name)
            self._kube.delete(Kind.NODE, name)

    def register(self, options: JsonObject) -> None:
        """Create the Node anew, as kubelet does: nothing has written NetworkUnavailable on it."""
        document = self._unregistered.pop(options.get("node", ""), None)
        if document is None:
            return
        metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
        status = {**document["status"], "conditions": list(other_conditions(document))}
        node = {**document, "metadata": metadata, "status": status}
        self._kube.apply(node, actor=_KUBELET)
        self._kube.replace_status(node, actor=_KUBELET)

    def leave(self, options: JsonObject) -> None:
        """Delete the Node object and switch the machine off; the cloud does not find it any more."""
        name = self._find(options).name
        self._kube.delete(Kind.NODE, name)
        self._cloud.unknown.add(name)
        self._network.set_underlay_down(name)

    def end_late(self, options: JsonObject) -> None:
        """Have the containers of a replaced calico-node pod end late."""
        self._calico[self._find(options).name].is_lingering = True

    def end_in_time(self, options: JsonObject) -> None:
        """Have them end in time."""
        if (node := self._calico.get(options.get("node", ""))) is not None:
            node.is_lingering = False

    def check_sources(self, options: JsonObject) -> None:
        """Drop at the node's interface what is neither from nor to its own address, after a masquerade."""
        node = self._find(options)
        self._load_rules(
            node,
            _SOURCE_CHECK,
            f"""
  chain incoming {{
    type filter hook prerouting priority -310; policy accept;
    iifname "{UNDERLAY_DEVICE}" ip daddr != {node.address} drop
  }}
  chain outgoing {{
    type filter hook postrouting priority 310; policy accept;
    oifname "{UNDERLAY_DEVICE}" ip saddr != {node.address} drop
  }}""",
        )

    def refuse_connections(self, options: JsonObject) -> None:
        """Drop what conntrack has not confirmed (IPS_CONFIRMED): known flows pass, as they do where the table is full."""
        self._load_rules(
            self._find(options),
            _CONNECTIONS,
            """
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    ct status & 0x8 == 0x0 drop
  }""",
        )

    def drop_rules(self, options: JsonObject, table: str) -> None:
        """Delete the table that a fault made; a missing one is no error."""
        name = options.get("node", "")
        if (name, table) in self._ruled:
            self._ruled.discard((name, table))
            run_nft(self._network.namespace_path(name), f"delete table ip {table}\n")

    def lower_mtu(self, options: JsonObject) -> None:
        """Change the MTU of the node's interface."""
        self._network.set_underlay_mtu(self._find(options).name, options["octets"])

    def restore_mtu(self, options: JsonObject) -> None:
        """Give the interface the underlay's MTU."""
        if options.get("node", "") in self._network.planes:
            self._network.set_underlay_mtu(options["node"], self._network.underlay_mtu)

    def _load_rules(self, node: NodePlan, table: str, chains: str) -> None:
        if (node.name, table) not in self._ruled:
            run_nft(self._network.namespace_path(node.name), f"table ip {table} {{{chains}\n}}\n")
            self._ruled.add((node.name, table))

    def _find(self, options: JsonObject) -> NodePlan:
        nodes = {node.name: node for node in self._network.plan.nodes}
        if options["node"] not in nodes:
            raise UsageError(where="fault", place="options.node", found=repr(options["node"]), expected=", ".join(nodes))
        return nodes[options["node"]]


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
        try:
            time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + by_ns)
        except OSError as error:
            raise WorldError(f"cannot set the wall clock: {error.strerror}") from error
        self._ahead_ns = Nanoseconds(self._ahead_ns + by_ns)

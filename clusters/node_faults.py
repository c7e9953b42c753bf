"""The faults of a node's machine: of its interface, of its packet filter, its end. The lab and kind break them in the same way.

Names and options: `hitless.faults`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final, Protocol

from gardener.doubles.cloud import Cloud
from hitless.errors import UsageError
from hitless.faults import MTU_LOWERED, NODE_LEAVES, Fault
from hitless.ports import KubeApi
from hitless.words import JsonObject, Kind

_SOURCE_CHECK: Final = "source-check"
_CONNECTIONS: Final = "connections"
"""Names of the tables of nftables."""


class Machines(Protocol):
    """The machines of a cluster's nodes, by the nodes' names. Each call raises WorldError where a machine does not do it."""

    @property
    def names(self) -> Collection[str]:
        """The names of all nodes; empty while the cluster is down."""
        ...

    def interface(self, node: str) -> tuple[str, str]:
        """Return name and address of a node's interface in its zone."""
        ...

    def run_nft(self, node: str, commands: str) -> None:
        """Run commands of nftables in a node."""
        ...

    def set_mtu(self, node: str, octets: int | None) -> None:
        """Change the MTU of a node's interface in its zone; None: back to the first value."""
        ...

    def cut_off(self, node: str) -> None:
        """Disconnect a node from the network permanently."""
        ...


def node_faults(machines: Machines, kube: KubeApi, cloud: Cloud) -> dict[str, Fault]:
    """Return name to fault.

    Args:
        machines: of the nodes.
        kube: the API, which has their Node objects.
        cloud: finds a machine until it has left.
    """
    faults = _NodeFaults(machines, kube, cloud)
    return {
        "source-check-on": Fault(inject=faults.check_sources, cure=partial(faults.drop_rules, _SOURCE_CHECK)),
        "connections-refused": Fault(inject=faults.refuse_connections, cure=partial(faults.drop_rules, _CONNECTIONS)),
        MTU_LOWERED: Fault(inject=faults.lower_mtu, cure=faults.restore_mtu),
        NODE_LEAVES: Fault(inject=faults.leave, cure=lambda _: None),
    }


def find_node(options: JsonObject, names: Collection[str]) -> str:
    """Return the node that the options of a fault name. Raises UsageError: there is no such node."""
    node: str = options["node"]
    if node not in names:
        raise UsageError(where="fault", place="options.node", found=repr(node), expected=", ".join(names))
    return node


def restore(machines: Machines, node: str) -> None:
    """Take away what a run that was killed may have left on a node. Raises WorldError."""
    machines.run_nft(node, _drop(_SOURCE_CHECK) + _drop(_CONNECTIONS))
    machines.set_mtu(node, None)


class _NodeFaults:
    """What the faults do."""

    def __init__(self, machines: Machines, kube: KubeApi, cloud: Cloud) -> None:
        self._machines, self._kube, self._cloud = machines, kube, cloud

    def check_sources(self, options: JsonObject) -> None:
        """Drop at the node's interface what is neither from nor to its own address, after a masquerade."""
        node = self._find(options)
        device, address = self._machines.interface(node)
        self._load_rules(
            node,
            _SOURCE_CHECK,
            f"""
  chain incoming {{
    type filter hook prerouting priority -310; policy accept;
    iifname "{device}" ip daddr != {address} drop
  }}
  chain outgoing {{
    type filter hook postrouting priority 310; policy accept;
    oifname "{device}" ip saddr != {address} drop
  }}""",
        )

    def refuse_connections(self, options: JsonObject) -> None:
        """Drop packets that conntrack has not confirmed (IPS_CONFIRMED): known flows pass, as with a full table."""
        self._load_rules(
            self._find(options),
            _CONNECTIONS,
            """
  chain forwarded {
    type filter hook forward priority 0; policy accept;
    ct status & 0x8 == 0x0 drop
  }""",
        )

    def drop_rules(self, table: str, options: JsonObject) -> None:
        """Delete the table that a fault made; a missing one is no error."""
        if options.get("node") in self._machines.names:
            self._machines.run_nft(options["node"], _drop(table))

    def lower_mtu(self, options: JsonObject) -> None:
        """Change the MTU of the node's interface."""
        self._machines.set_mtu(self._find(options), options["octets"])

    def restore_mtu(self, options: JsonObject) -> None:
        """Give the interface the MTU that it had."""
        if options.get("node") in self._machines.names:
            self._machines.set_mtu(options["node"], None)

    def leave(self, options: JsonObject) -> None:
        """Take the machine off the network and delete the Node object; the cloud does not find the machine any more."""
        node = self._find(options)
        self._machines.cut_off(node)
        self._kube.delete(Kind.NODE, node)
        self._cloud.unknown.add(node)

    def _load_rules(self, node: str, table: str, chains: str) -> None:
        self._machines.run_nft(node, f"{_drop(table)}table ip {table} {{{chains}\n}}\n")

    def _find(self, options: JsonObject) -> str:
        return find_node(options, self._machines.names)


def _drop(table: str) -> str:
    """Return commands that delete a table: it is made first, because a missing one cannot be deleted."""
    return f"add table ip {table}\ndelete table ip {table}\n"

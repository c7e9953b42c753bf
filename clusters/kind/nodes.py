"""The network of a node's container: routes, links, the kernel's counters, and packets on the management network.

The counters cannot be balanced here: a node's counters also count kubelet, containerd and the API server, and the pods'
namespaces are not read. So only the counters that give a reason are offered, and there is no ledger.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from clusters.kind.docker import Docker
from clusters.kind.router import UNDERLAY_MTU, CloudNetwork, find_device, find_management_device
from clusters.kind.spec import KindPlan, NodePlan
from clusters.kubernetes.prober import Rescue
from clusters.linux.counters import parse_counters
from hitless.errors import WorldError
from hitless.facts import NodeState
from hitless.words import JsonObject
from probes.netlink import RouteType
from probes.stamp import PORT

MANAGEMENT_NETWORK: Final = "kind"
"""Docker network to which kind connects every node. Source: kind pkg/cluster/internal/providers/docker/network.go."""
REASONS: Final = (
    "IpExt.InNoRoutes",
    "TcpExt.IPReversePathFilter",
    "Ip.InHdrErrors",
    "Ip.InAddrErrors",
    "Ip.OutNoRoutes",
    "Udp.NoPorts",
    "Udp.RcvbufErrors",
)
"""Counters that move only if something is wrong, whatever else runs on a node."""
STRAY_PROBES: Final = "Management.probes"
"""Probes and answers that arrived at a node's management interface: one is enough to doubt the topology."""
STRAY_TUNNELS: Final = "Management.tunnels"
"""Encapsulated packets (IPIP, VXLAN) that arrived there."""

_API_PORT: Final = "6443"
"""Source: kind's kubeadm configuration, bindPort."""
_ROUTE_TYPES: Final = {one.value: one.name.lower() for one in RouteType}
_COMMENT: Final = "hitless-{}"
_STRAYS: Final = {
    STRAY_PROBES: tuple((protocol, side, str(PORT)) for protocol in ("udp", "tcp") for side in ("--dport", "--sport")),
    STRAY_TUNNELS: (("4",), ("udp", "--dport", "4789")),
}
_COUNTED: Final = re.compile(r'--comment "?hitless-([^\s"]+)"? -c (\d+) \d+')
"""iptables puts a comment with a dot into quotation marks."""


def read_state(docker: Docker, node: str) -> NodeState:
    """Return a node's main table and the links that are up. Raises WorldError."""
    # Numbers, because the names of protocols depend on a file of the image.
    routes = docker.execute_json(node, "ip", "-N", "-d", "-json", "-4", "route", "show", "table", "main")
    links = docker.execute_json(node, "ip", "-json", "link", "show")
    devices = sorted(link["ifname"] for link in links if "UP" in link.get("flags", ()))
    return NodeState(node=node, routes=tuple(one for route in routes for one in describe_route(route)), devices=tuple(devices))


def describe_route(route: JsonObject) -> tuple[JsonObject, ...]:
    """Return a route of `ip -N -d -json` in the form of NodeState; with several next hops, one route for each.

    Args:
        route: {type, dst, gateway, dev, protocol, nexthops}, numbers as text.
    """
    destination = str(route["dst"])
    described: JsonObject = {
        "dst": destination if destination == "default" or "/" in destination else f"{destination}/32",
        "type": _ROUTE_TYPES.get(int(route.get("type", 1)), str(route.get("type"))),
        "protocol": int(route["protocol"]),
    }
    hops = route.get("nexthops") or [route]
    keys = {"dev": "dev", "via": "gateway"}
    return tuple(described | {key: hop[name] for key, name in keys.items() if name in hop} for hop in hops)


def read_counters(docker: Docker, container: str, *, is_node: bool) -> dict[str, int]:
    """Return a container's counters that give a reason, and a node's packets on management. Raises WorldError."""
    text = docker.execute(container, "cat", "/proc/net/snmp", "/proc/net/netstat")
    every = parse_counters(text)
    found: dict[str, int] = {name: every[name] for name in REASONS if name in every}
    if is_node:
        found |= parse_strays(docker.execute(container, "iptables", "-t", "raw", "-v", "-S", "PREROUTING"))
    return found


def parse_strays(text: str) -> dict[str, int]:
    """Add up the counts of hitless's rules, from `iptables -v -S`; all 0 if the rules are missing."""
    counts = dict.fromkeys(_STRAYS, 0)
    for line in text.splitlines():
        match = _COUNTED.search(line)
        if match:
            counts[match[1]] = counts.get(match[1], 0) + int(match[2])
    return counts


def count_strays(docker: Docker, network: CloudNetwork, plan: KindPlan, node: NodePlan) -> None:
    """Make a node count the probes and encapsulated packets that arrive at its management interface. Raises WorldError."""
    device = find_management_device(network.interfaces(node.name), plan, node.name)
    present = docker.execute(node.name, "iptables", "-t", "raw", "-S", "PREROUTING")
    for name, matches in _STRAYS.items():
        comment = _COMMENT.format(name)
        if comment in present:
            continue
        for match in matches:
            rule = ("-i", device, "-p", *match, "-m", "comment", "--comment", comment)
            docker.execute(node.name, "iptables", "-t", "raw", "-A", "PREROUTING", *rule)


class KindMachines:
    """The containers of the nodes: `clusters.faults.Machines` and `clusters.faults.SwitchableApi`."""

    def __init__(self, docker: Docker, network: CloudNetwork, plan: KindPlan) -> None:
        self._docker, self._network, self._plan = docker, network, plan
        self._nodes = {node.name: node for node in plan.nodes}
        self.left: set[str] = set()
        """Nodes that were cut off."""

    def set_away(self, is_away: bool, /) -> None:  # noqa: FBT001 - as the lab's API
        """Reset connections of other nodes to the API server, and refuse new ones, or let them pass again.

        The container is not paused, because the probes of its node would stop, too. Programs on the node itself keep the API,
        because the kubelet would otherwise restart the API server during the fault. Raises WorldError.
        """
        node = self._plan.nodes[0].name
        device = find_management_device(self._network.interfaces(node), self._plan, node)
        rule = ("INPUT", "-i", device, "-p", "tcp", "--dport", _API_PORT, "-j", "REJECT", "--reject-with", "tcp-reset")
        if is_away and not self._has_rule(node, rule):
            self._docker.execute(node, "iptables", "-I", *rule)
        while not is_away and self._has_rule(node, rule):
            self._docker.execute(node, "iptables", "-D", *rule)

    def _has_rule(self, node: str, rule: Sequence[str]) -> bool:
        try:
            self._docker.execute(node, "iptables", "-C", *rule)
        except WorldError as error:
            if "does a matching rule exist" in str(error) or "Bad rule" in str(error):
                return False
            raise
        return True

    @property
    def names(self) -> Collection[str]:
        """The names of all nodes."""
        return self._nodes

    def interface(self, node: str) -> tuple[str, str]:
        """Return name and address of a node's interface in its zone. Raises WorldError: it has none."""
        address = self._nodes[node].address
        return find_device(self._network.interfaces(node), address, node), address

    def run_nft(self, node: str, commands: str) -> None:
        """Run commands of nftables in a node. Raises WorldError."""
        self._docker.execute(node, "nft", "-f", "-", stdin=commands)

    def set_mtu(self, node: str, octets: int | None) -> None:
        """Change the MTU of a node's interface in its zone; None: back to docker's. Raises WorldError."""
        device, _ = self.interface(node)
        self._docker.execute(node, "ip", "link", "set", "dev", device, "mtu", str(octets or UNDERLAY_MTU))

    def cut_off(self, node: str) -> None:
        """Disconnect a node from every network permanently; its programs keep running and reach nothing. Raises WorldError."""
        for network in (self._plan.network_of(self._nodes[node]), MANAGEMENT_NETWORK):
            self._docker.run("network", "disconnect", "--force", network, node)
        self.left.add(node)


def make_docker_rescue(docker: Docker) -> Rescue:
    """Return a rescue for kind: the node is a container, and a pod's emptyDir is a folder on its disk.

    Source: kubelet's layout, pods/UID/volumes/kubernetes.io~empty-dir/NAME.
    """

    def rescue(pod: JsonObject, directory: Path) -> None:
        volume = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~empty-dir/records"
        docker.run("cp", f"{pod['spec']['nodeName']}:{volume}/.", str(directory))

    return rescue

"""The ledger: where the kernel dropped packets, from its own counters.

Conservation gives the place of every loss. Packets that entered a namespace's IP layer and were neither delivered nor forwarded
were dropped on input; packets that were to be sent and were not, on output; packets that were sent but not received were lost
on a link (or at a tunnel device, a bridge, a neighbour that did not answer). A packet that reached its host may find no socket
or a full one. Named counters only give the reason, if one moves.

An encapsulated packet counts twice: the outer packet is dropped at some place, and the inner one was sent into the tunnel and
received nowhere, which is a drop on a link. So losses inside tunnels are in the books twice. If nodes send and receive nothing
of their own but outer packets and ICMP, their number is outer packets sent minus outer packets that a tunnel received. If nodes
have traffic of their own, the tunnel devices tell it: packets sent minus packets received.

Only datagrams are balanced: a connection retransmits, and a reset loses no packet. Dropped segments appear as surplus.

Measured on Linux 6.18 with 100 datagrams a case from a pod's namespace over node, router and node to another pod's, and exact
in each: native and tunnelled without loss; blackhole, unreachable and no route in the router; under a tunnel a blackhole, a
failed ARP and no route; the receiver's tunnel device gone; strict rp_filter; TTL; link down; pod gone; no socket.

Linux before 6.8 has no OutTransmits; the reader derives it. The sums hold with two differences of place: packets that netfilter
refuses when forwarding (forward) are under input instead of output, and after routing (postrouting) under links. If a node has
a tunnel device, the packets that it refuses to the node's own senders (output) are unknown; `refusals_unknown` is their bound.
Measured on Linux 6.1 with the same drops.

Source: RFC 4293 3.2.3 (the IP statistics case diagram); Linux net/ipv4/{ip_input,ip_forward,ip_output}.c. The counters'
names are those of /proc/net/snmp and /proc/net/netstat.

The kernel counts every IPv4 packet, not only probes: other packets that are dropped in these namespaces appear as surplus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from analysis.measure import Measures
from hitless.history import MACHINE, History
from hitless.words import FlowRole, IpFamily

_NEEDED: Final = ("Ip.InReceives", "Ip.InDelivers", "Ip.ForwDatagrams", "Ip.OutRequests", "Ip.OutTransmits")

REASONS: Final = (
    "IpExt.InNoRoutes",
    "TcpExt.IPReversePathFilter",
    "Ip.InHdrErrors",
    "Ip.InAddrErrors",
    "Ip.InUnknownProtos",
    "Ip.InDiscards",
    "Ip.OutDiscards",
    "Ip.OutNoRoutes",
    "Ip.FragFails",
    "Udp.NoPorts",
    "Udp.RcvbufErrors",
    "Udp.SndbufErrors",
    "Link.InDrops",
)
"""Counters that give a reason, shown if they move. Blackhole and unreachable routes, nft and failed ARP move none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The drops of one namespace during the run."""

    namespace: str
    input_drops: int
    """Received, neither delivered nor forwarded."""
    output_drops: int
    """Forwarded or sent, not transmitted."""
    socket_drops: int
    """Delivered to UDP, which had no socket for it or no room in it."""
    reasons: Mapping[str, int]
    """Those of REASONS that moved."""

    @property
    def drops(self) -> int:
        """All drops of the namespace."""
        return self.input_drops + self.output_drops + self.socket_drops


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Lost probes on one side, the kernel's drops on the other."""

    places: tuple[Place, ...]
    """The namespaces where something was dropped or a reason moved, most drops first."""
    link_drops: int
    """Transmitted somewhere and received nowhere; negative: more was received than sent (something made copies)."""
    tunnel_drops: int
    """Drops of encapsulated packets, which are in the books twice: at their place and on the tunnel."""
    refusals_unknown: int
    """Further packets that may have been dropped in namespaces whose kernel does not count them; 0 since Linux 6.8."""
    lost: int
    """Lost probes of all IPv4 flows that did not come late: something dropped them."""

    @property
    def dropped(self) -> int:
        """Drops that the kernel counted."""
        return sum(place.drops for place in self.places) + self.link_drops - self.tunnel_drops

    @property
    def lost_unexplained(self) -> int:
        """Lost probes that the kernel does not account for."""
        return max(0, self.lost - self.dropped)

    @property
    def surplus(self) -> int:
        """Packets that the kernel dropped beyond the lost probes: traffic other than probes, or answers to copies."""
        return max(0, self.dropped - self.lost)


def make_ledger(history: History, measures: Measures) -> Ledger | None:
    """Balance the books of one run, of IPv4: IPv6 has separate counters, which include neighbour discovery.

    Returns:
        The ledger, or None if the cluster has no such counters.
    """
    deltas = _deltas(history)
    if not deltas:
        return None
    places = (_make_place(namespace, delta) for namespace, delta in deltas.items())
    sent = sum(delta["Ip.OutTransmits"] for delta in deltas.values())
    received = sum(delta["Ip.InReceives"] for delta in deltas.values())
    moved = (place for place in places if place.drops or place.reasons)
    return Ledger(
        places=tuple(sorted(moved, key=lambda place: (-place.drops, place.namespace))),
        link_drops=sent - received,
        tunnel_drops=_tunnel_drops(history, deltas),
        refusals_unknown=sum(delta.get("Ip.OutRequestsUnknown", 0) for delta in deltas.values()),
        lost=sum(
            measures[flow.id].lost - measures[flow.id].late
            for flow in history.flows
            if not flow.flow_class.is_tcp and flow.ip_family is IpFamily.IPV4
        ),
    )


def _deltas(history: History) -> dict[str, dict[str, int]]:
    """Return namespace to counter to its change, of the namespaces read before and after; empty if one lacks what is needed."""
    deltas: dict[str, dict[str, int]] = {}
    for namespace, after in history.counters_after.items():
        if namespace == MACHINE:
            continue
        before = history.counters_before.get(namespace)
        if before is None or any(name not in counters for name in _NEEDED for counters in (before, after)):
            return {}
        deltas[namespace] = {name: value - before.get(name, 0) for name, value in after.items()}
    return deltas


def _tunnel_drops(history: History, deltas: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many encapsulated packets were sent by one node and taken in by none.

    A tunnel device does not count packets that netfilter refuses after it as sent, so it is the second choice.
    """
    nodes = [node.name for node in history.facts.nodes if node.name in deltas]
    has_own_traffic = bool(history.flows_of(FlowRole.HOST, FlowRole.SERVICE))
    if not has_own_traffic or any("Tunnel.OutPackets" not in history.counters_after[node] for node in nodes):
        return sum(_outer_balance(deltas[node]) for node in nodes)
    # A device that did not exist before started at 0, so its difference is its count.
    return sum(deltas[node]["Tunnel.OutPackets"] - deltas[node]["Tunnel.InPackets"] for node in nodes)


def _outer_balance(delta: Mapping[str, int]) -> int:
    """Return the outer packets that a node sent, less those that a tunnel device of it took in.

    Encapsulating counts in OutRequests and receiving in InDelivers (Linux ip_tunnel_core.c iptunnel_xmit, ip_input.c). ICMP
    goes the same way and is taken off; so are outer packets that reached UDP and found no tunnel.
    """
    sent = delta.get("Ip.OutRequests", 0) - delta.get("Icmp.OutMsgs", 0)
    received = delta.get("Ip.InDelivers", 0) - delta.get("Icmp.InMsgs", 0)
    return sent - (received - _socket_drops(delta))


def _socket_drops(delta: Mapping[str, int]) -> int:
    # InErrors holds RcvbufErrors and InCsumErrors already (Linux net/ipv4/udp.c).
    return delta.get("Udp.NoPorts", 0) + delta.get("Udp.InErrors", delta.get("Udp.RcvbufErrors", 0))


def _make_place(namespace: str, delta: Mapping[str, int]) -> Place:
    return Place(
        namespace=namespace,
        input_drops=delta["Ip.InReceives"] - delta["Ip.InDelivers"] - delta["Ip.ForwDatagrams"],
        output_drops=delta["Ip.ForwDatagrams"] + delta["Ip.OutRequests"] - delta["Ip.OutTransmits"],
        socket_drops=_socket_drops(delta),
        reasons={name: delta[name] for name in REASONS if delta.get(name, 0)},
    )

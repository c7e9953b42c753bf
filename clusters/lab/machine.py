"""Features of this machine's kernel and Python, the lab's capabilities that follow, and the largest mesh that it carries.

A mesh of n pods has n * (n - 1) flows. Four limits bound n at a probe rate r per flow:

- **cores**: a round trip through the lab costs 42-52 us of CPU by tunnel. Two cores carried 21,750 round trips per second, none
  late. So n * (n - 1) * r <= 10,875 per core.
- **rmem_max**: the agents ask for a receive buffer of that size and the kernel doubles it. A probe takes 768 octets of it. A
  pod gets n - 1 probes per tick, and the reader may be one tick late: 2 * (n - 1) * 768 <= 2 * rmem_max.
- **netdev_max_backlog**: packets that wait on one CPU between two ends of a veth. In the worst case a whole tick of all pods
  waits there: n * (n - 1) <= netdev_max_backlog.
- **gc_thresh3**: entries of the machine's neighbour table. Up to 20 nodes use ARP: a node knows the other nodes of its zone,
  the router and two pods, the router knows the node, each pod its gateway. Above 20 nodes the entries are permanent and do
  not count.

Source: measured on a machine with two cores, Linux 6.18.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from clusters.lab.load import has_locust
from clusters.lab.spec import PERMANENT_NEIGHBOURS_ABOVE, ZONES_MAX
from clusters.linux.machine import Feature, examine_machine
from clusters.linux.netlink import Netlink, read_neighbour_table
from hitless.words import Capability, IpipCarrier
from probes.inner_loop import INNER_LOOP, InnerLoop

_ROUND_TRIPS_PER_CORE: Final = 10_875
_PROBE_OCTETS: Final = 768
_ZONES: Final = 2


def examine_lab() -> tuple[Feature, ...]:
    """Return every feature that the lab knows how to use, the necessary ones first. See `examine_machine`."""
    locust = "pip install 'hitless[load]', or -e '.[load]' in a checkout: for scenarios with application load"
    compiler = "install a C compiler (Debian: gcc, libc6-dev) and hitless again: the agents then need a fraction of the CPU"
    not_built = None if INNER_LOOP is InnerLoop.COMPILED else "not built: agents handle datagrams in Python"
    return (
        *examine_machine(),
        Feature.of("locust", None if has_locust() else "not installed", "looked for the library", locust),
        Feature.of("compiled-loop", not_built, "imported it", compiler),
    )


@cache
def _present() -> frozenset[str]:
    """Return the names of the features that are there; tried once per process."""
    return frozenset(feature.name for feature in examine_lab() if feature.is_present)


def ipip_carriers() -> tuple[IpipCarrier, ...]:
    """Return what can carry the overlay ipip on this kernel, the preferred one first."""
    needed = {IpipCarrier.IPIP: {"ipip"}, IpipCarrier.VXLAN_GPE: {"vxlan-gpe", "lwtunnel-ip"}}
    return tuple(carrier for carrier, features in needed.items() if features <= _present())


def capabilities() -> frozenset[Capability]:
    """Return what a lab on this machine offers to scenarios."""
    present = _present()
    if not {"namespaces", "veth", "bridge"} <= present:
        return frozenset()
    offered = {
        Capability.OVERLAY_IPIP: bool(ipip_carriers()),
        Capability.OVERLAY_VXLAN: "vxlan" in present,
        Capability.ROUTE_TABLES: "policy-routing" in present,
        Capability.KERNEL_COUNTERS: True,
        Capability.NFT: "nft" in present,
        Capability.IPV6: "ipv6" in present,
        Capability.NETEM: "netem" in present,
        Capability.LOCUST: "locust" in present,
        Capability.FLOW_CLASSES: True,
        Capability.HOST_ENDPOINTS: True,
        Capability.REAL_CALICO: False,
    }
    return frozenset(capability for capability, is_offered in offered.items() if is_offered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The machine's limits."""

    cores: int
    """Cores that this process may use."""
    rmem_max: int | None
    """Octets; None: not readable inside the sandbox."""
    netdev_max_backlog: int | None
    """Packets; None: not readable inside the sandbox."""
    gc_thresh3: int
    """Entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The largest mesh at one rate."""

    nodes: int
    """In all zones, one mesh pod each."""
    nodes_per_zone: int
    """With two zones."""
    bound_by: str
    """Name of the tightest limit."""


def read_limits() -> Limits:
    """Read the machine's limits."""
    with Netlink() as netlink:
        table = read_neighbour_table(netlink)
    return Limits(
        cores=len(os.sched_getaffinity(0)),
        rmem_max=_read_setting("rmem_max"),
        netdev_max_backlog=_read_setting("netdev_max_backlog"),
        gc_thresh3=table.gc_thresh3,
    )


def estimate_capacity(limits: Limits, probes_per_second: float) -> Capacity:
    """Return the largest mesh that the limits allow at a probe rate per flow."""
    bounds = {"cores": _largest_mesh(limits.cores * _ROUND_TRIPS_PER_CORE / probes_per_second)}
    if limits.rmem_max is not None:
        bounds["rmem_max"] = 1 + limits.rmem_max // _PROBE_OCTETS
    if limits.netdev_max_backlog is not None:
        bounds["netdev_max_backlog"] = _largest_mesh(limits.netdev_max_backlog)
    if count_neighbours(PERMANENT_NEIGHBOURS_ABOVE) > limits.gc_thresh3:
        fitting = (nodes for nodes in range(PERMANENT_NEIGHBOURS_ABOVE, 0, -1) if count_neighbours(nodes) <= limits.gc_thresh3)
        bounds["gc_thresh3"] = next(fitting, 0)
    tightest = min(bounds, key=lambda name: bounds[name])
    nodes = bounds[tightest]
    return Capacity(nodes=nodes, nodes_per_zone=nodes // _ZONES, bound_by=tightest)


def count_neighbours(nodes: int, zones: int = _ZONES) -> int:
    """Return the entries of the machine's neighbour table once every pod has sent to every other."""
    nodes_per_zone = math.ceil(nodes / min(zones, ZONES_MAX))
    known_by_node = (nodes_per_zone - 1) + 1 + 2
    known_by_router_and_pods = 1 + 2
    return nodes * (known_by_node + known_by_router_and_pods)


def _largest_mesh(flows: float) -> int:
    """Return the largest n with n * (n - 1) <= flows."""
    return math.floor((1 + math.sqrt(1 + 4 * flows)) / 2)


def _read_setting(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/net/core/{name}").read_text(encoding="ascii"))
    except OSError:
        return None

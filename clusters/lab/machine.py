"""Features of this machine's kernel and Python, and the lab's capabilities that follow."""

from __future__ import annotations

from functools import cache

from clusters.lab.load import has_locust
from clusters.linux.machine import Feature, examine_machine
from hitless.words import Capability, IpipCarrier
from probes.inner_loop import INNER_LOOP, InnerLoop


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

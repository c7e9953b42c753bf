"""What this machine offers the lab: features of its kernel and of its Python, and the capabilities that follow."""

from __future__ import annotations

from functools import cache

from clusters.lab.load import has_locust
from clusters.linux.machine import Feature, examine_machine
from hitless.words import Capability


def examine_lab() -> tuple[Feature, ...]:
    """Return every feature that the lab knows how to use, the necessary ones first. See `examine_machine`."""
    is_present = has_locust()
    remedy = "pip install 'hitless[load]', or -e '.[load]' in a checkout: for scenarios with application load"
    detail = "looked for the library" if is_present else "not installed"
    return (
        *examine_machine(),
        Feature(name="locust", is_present=is_present, detail=detail, remedy="" if is_present else remedy),
    )


@cache
def capabilities() -> frozenset[Capability]:
    """Return what a lab on this machine offers to scenarios; tried once a process."""
    present = {feature.name for feature in examine_lab() if feature.is_present}
    if not {"namespaces", "veth", "bridge"} <= present:
        return frozenset()
    offered = {
        Capability.OVERLAY_IPIP: "ipip" in present or {"vxlan-gpe", "lwtunnel-ip"} <= present,
        Capability.OVERLAY_VXLAN: "vxlan" in present,
        Capability.ROUTE_TABLES: "policy-routing" in present,
        Capability.KERNEL_COUNTERS: True,
        Capability.NFT: "nft" in present,
        Capability.LOCUST: "locust" in present,
        Capability.FLOW_CLASSES: True,
        Capability.HOST_ENDPOINTS: True,
    }
    return frozenset(capability for capability, is_offered in offered.items() if is_offered)

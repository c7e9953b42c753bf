"""The fields of Node and Pod objects that the probers need. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from hitless.calico import TUNNEL_ANNOTATIONS
from hitless.words import IpFamily, JsonObject, Overlay

TUNNEL_OCTETS: Final = {Overlay.IPIP: 20, Overlay.VXLAN: 50}
"""What the overlay takes off the pods' MTU. Source: calico felix int_dataplane.go:448-457 (docs/mechanics.md 4.6)."""


def pick_address(addresses: Iterable[str], family: IpFamily) -> str:
    """Return the first address of a family; empty: there is none."""
    return next((address for address in addresses if (":" in address) is (family is IpFamily.IPV6)), "")


def read_pod_addresses(pod: JsonObject) -> tuple[str, ...]:
    """Return the addresses of a pod, the first one of its primary family; none: it has none yet."""
    status = pod.get("status") or {}
    entries = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return tuple(str(entry["ip"]) for entry in entries if entry.get("ip"))


def read_tunnel_address(node: JsonObject, overlay: Overlay) -> str:
    """Return the address of a node's tunnel device: as annotated, else (IPIP) the first of its podCIDR; empty: not known.

    With host-local IPAM and USE_POD_CIDR nothing is annotated for IPIP, and the address never changes. That of VXLAN comes and
    goes with the overlay. Source: calico node.go:563-580, allocateip.go:78-87 and 260-275 (docs/mechanics.md 4.2, 4.4).
    """
    annotated = (node["metadata"].get("annotations") or {}).get(TUNNEL_ANNOTATIONS[overlay], "")
    cidr = (node.get("spec") or {}).get("podCIDR") or ""
    if annotated or overlay is not Overlay.IPIP or ":" in cidr or not cidr:
        return str(annotated)
    return str(IPv4Address(int(IPv4Network(cidr).network_address) + 1))

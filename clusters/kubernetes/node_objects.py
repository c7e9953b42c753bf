"""What hitless reads from a real cluster's objects: addresses for the probers, and the programs that run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from hitless.calico import CALICO_NODE, TUNNEL_ANNOTATIONS
from hitless.facts import Part, PartIdentity
from hitless.objects import containers_of
from hitless.words import IpFamily, JsonObject, Overlay

TUNNEL_OCTETS: Final = {Overlay.IPIP: 20, Overlay.VXLAN: 50}
"""Octets by which the overlay reduces the pods' MTU. Source: calico felix int_dataplane.go:448-457 (docs/mechanics.md 4.6)."""


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

    With host-local IPAM and USE_POD_CIDR nothing is annotated for IPIP, and the address never changes. The address for VXLAN
    exists only while the overlay is on. Source: calico node.go:563-580, allocateip.go:78-87 and 260-275 (docs/mechanics.md 4.2,
    4.4).
    """
    annotated = (node["metadata"].get("annotations") or {}).get(TUNNEL_ANNOTATIONS[overlay], "")
    cidr = (node.get("spec") or {}).get("podCIDR") or ""
    if annotated or overlay is not Overlay.IPIP or ":" in cidr or not cidr:
        return str(annotated)
    return str(IPv4Address(int(IPv4Network(cidr).network_address) + 1))


def read_parts(nodes: Sequence[JsonObject], daemon_set: JsonObject | None, overlay: Overlay) -> tuple[PartIdentity, ...]:
    """Return the parts under test that the cluster brings.

    Kubernetes is the kubelets' version and the kernel the nodes' own; where nodes differ, all versions are named. Calico is the
    tag of calico-node's image, and the digest where the image is pinned by one. Source: Kubernetes API, NodeSystemInfo.
    """
    kernel = _versions_of(nodes, "kernelVersion")
    version, digest = read_calico_image(daemon_set)
    tunnel = f"{overlay}, Linux {kernel}" if kernel else overlay.value
    return (
        PartIdentity(name=Part.CALICO, is_double=False, version=version, digest=digest or None),
        PartIdentity(name=Part.TUNNEL, is_double=False, version=tunnel),
        PartIdentity(name=Part.KUBERNETES, is_double=False, version=_versions_of(nodes, "kubeletVersion")),
        PartIdentity(name=Part.KERNEL, is_double=False, version=kernel),
    )


def _versions_of(nodes: Sequence[JsonObject], key: str) -> str:
    """Return a version of the nodes, or all of them where they differ; empty: no node states it."""
    infos = [(node.get("status") or {}).get("nodeInfo") or {} for node in nodes]
    return ", ".join(sorted({info[key] for info in infos if info.get(key)}))


def read_calico_image(daemon_set: JsonObject | None) -> tuple[str, str]:
    """Return tag and digest of calico-node's image; empty: it has none. A port, as in `host:5000/node`, is no tag."""
    image = next((one.get("image", "") for one in containers_of(daemon_set) if one.get("name") == CALICO_NODE), "")
    named, _, digest = image.partition("@")
    return named.rpartition("/")[2].partition(":")[2], digest

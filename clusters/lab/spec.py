"""The frozen description of a lab. `addresses` derives its names and addresses.

Pure: nothing here touches the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from hitless.errors import UsageError
from hitless.words import IpipCarrier, Mode, Overlay

ZONES_MAX: Final = 26
NODES_PER_ZONE_MAX: Final = 200
ZONE_MASK: Final = 24
"""Prefix length of a zone's subnet."""
SERVICE_ADDRESSES_MIN: Final = 512
"""Smallest network of ClusterIPs, in addresses: the lab's Services begin at the 257th."""
PERMANENT_NEIGHBOURS_ABOVE: Final = 20
"""Nodes. All namespaces share one neighbour table: 1,024 entries overflow at about 32 nodes per zone. Source: measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """The lab to build."""

    zones: int = 2
    """Number of zones, named a, b, ...; 1 to 26."""
    nodes_per_zone: int = 2
    """1 to 200."""
    overlay: Overlay = Overlay.IPIP
    start_mode: Mode = Mode.OVERLAY
    rp_filter: int = 2
    """On the nodes, for all, default and every interface: 0 off, 1 strict, 2 loose."""
    has_bird: bool = False
    """Whether BIRD programs routes in NATIVE; in OVERLAY by IPIP it always does."""
    carrier: IpipCarrier | None = None
    """Of the overlay ipip; None: ipip, or vxlan-gpe if the kernel has no ipip."""
    has_services: bool = False
    """Whether the nodes have Services and natOutgoing, by nftables. Conntrack then follows every packet."""
    pods: str = "100.96.0.0/11"
    """CIDR of the pod network, which is cut into podCIDRs."""
    nodes: str = "10.250.0.0/16"
    """CIDR of the nodes, which is cut into zones."""
    services: str = "100.64.0.0/13"
    """CIDR of the ClusterIPs."""
    node_mask: int = 24
    """Prefix length of a podCIDR."""
    block_mask: int | None = None
    """Prefix length of the blocks in which calico-ipam keeps pods, outside any podCIDR; None: pods live in podCIDRs."""
    has_ipv6: bool = False
    """Whether nodes, pods and Services have IPv6 addresses as well. IPv6 is never encapsulated."""
    veth_mtu: int = 0
    """MTU of the pods' interface, octets; 0: the underlay's less the encapsulation."""

    def __post_init__(self) -> None:
        """Refuse a lab that cannot be built. Raises UsageError."""
        limits = (("zones", self.zones, 1, ZONES_MAX), ("nodes_per_zone", self.nodes_per_zone, 1, NODES_PER_ZONE_MAX))
        for place, value, least, most in (*limits, ("rp_filter", self.rp_filter, 0, 2)):
            if not least <= value <= most:
                raise UsageError(where="lab", place=place, found=str(value), expected=f"{least} to {most}")
        if self.carrier is not None and self.overlay is not Overlay.IPIP:
            problem = f"{self.carrier} carries IPIP and the overlay is {self.overlay}; leave out the carrier"
            raise UsageError(problem, where="lab", place="carrier")
        self._check_networks()

    def _check_networks(self) -> None:
        """Refuse networks that are too small, naming the fields of the Shoot. Raises UsageError."""
        number = self.zones * self.nodes_per_zone
        pods = number << (32 - self.node_mask)
        wanted = f"{number} podCIDRs with a /{self.node_mask} each"
        if self.block_mask is not None:
            pods = 4 * max(-(-pods // 3), number << (32 - self.block_mask))
            wanted += f" and, apart from them, {number} blocks of calico-ipam with a /{self.block_mask} each"
        rooms = (
            ("pods", self.pods, pods, wanted),
            ("nodes", self.nodes, self.zones << (32 - ZONE_MASK), f"{self.zones} zones with a /{ZONE_MASK} each"),
            ("services", self.services, SERVICE_ADDRESSES_MIN if self.has_services else 0, "the lab's Services"),
        )
        for name, cidr, addresses, purpose in rooms:
            if IPv4Network(cidr).num_addresses < addresses:
                allowed = f"/{32 - (addresses - 1).bit_length()} or larger, to fit {purpose}"
                raise UsageError(where="lab", place=f"spec.networking.{name}", found=cidr, expected=allowed)

    @property
    def has_permanent_neighbours(self) -> bool:
        """Whether neighbour entries are permanent instead of resolved by ARP."""
        return self.zones * self.nodes_per_zone > PERMANENT_NEIGHBOURS_ABOVE

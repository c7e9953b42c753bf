r"""The frozen description of a lab, and the names, addresses, MACs and interface indices that follow from it alone. Pure.

    zone a 10.250.0.0/24            zone b 10.250.1.0/24
    node-a1 node-a2 ...             node-b1 node-b2 ...        nodes: network namespaces, eth0
        \    |                          |    /                 pods: namespaces, veth cali*, /32 routes, 169.254.1.1
         bridge ──────── vpc router ──── bridge                router: one route table per zone

Zone z has /24 number z of the node network, its node n the address .(10+n); the router has .1 in every zone. Node number i of
the lab (from 0) has podCIDR number i of the pod network, and with calico-ipam block number i of its last quarter, which no
podCIDR reaches. In a block .1 is the tunnel's address, .2 the mesh pod's, .3 the control pod's.

A dual-stack lab has unique local addresses, too (RFC 4193). Zone z is /64 number z of fd00:10:250::/48, with the router at
::1 and node n at ::(10+n). Node number i has /80 number i of fd00:10:96::/64 for its pods, as a cloud delegates a prefix to a
node, with the mesh pod at ::2 and the control pod at ::3. ClusterIPs are in fd00:10:64::/112.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from string import ascii_lowercase
from typing import Final

from hitless.errors import UsageError
from hitless.facts import Endpoint, NodeFacts
from hitless.words import IpipCarrier, Mode, Overlay

ZONES_MAX: Final = 26
NODES_PER_ZONE_MAX: Final = 200
ZONE_MASK: Final = 24
"""Prefix length of a zone's subnet."""
SERVICE_ADDRESSES_MIN: Final = 512
"""Smallest network of ClusterIPs, in addresses: the lab's Services begin at the 257th."""
PERMANENT_NEIGHBOURS_ABOVE: Final = 20
"""Nodes. All namespaces share one neighbour table: 1,024 entries overflow at about 32 nodes per zone. Source: measured."""
ROUTER: Final = "vpc"
"""Name of the router's namespace."""
UNDERLAY_DEVICE: Final = "eth0"
UNDERLAY_INDEX: Final = 100
"""Indices are fixed, so that one encoded message fits every node. They start at 100, because the kernel's own fallback tunnels
take the first ones."""
POD_DEVICE: Final = "eth0"
POD_INDEX: Final = 100
TUNNEL_INDEX: Final = 110
POD_GATEWAY: Final = "169.254.1.1"
"""Next hop of every pod. Source: calico cni-plugin dataplane_linux.go."""
POD_GATEWAY_MAC: Final = "ee:ee:ee:ee:ee:ee"
"""MAC of every cali* interface. Source: the same file."""
POD_GATEWAY6: Final = "fe80::ecee:eeff:feee:eeee"
"""IPv6 next hop of every pod: the link-local address that the kernel makes of POD_GATEWAY_MAC. Source: the same file."""
SERVICES6: Final = "fd00:10:64::/112"
"""CIDR of the IPv6 ClusterIPs."""
PODS6: Final = IPv6Network("fd00:10:96::/64")
"""Where the nodes' IPv6 prefixes come from."""
_NODES6: Final = IPv6Network("fd00:10:250::/48")
_NODE_MASK6: Final = 80
"""Prefix length that AWS delegates to a network interface. Source: AWS, EC2 User Guide, prefix delegation."""
_TABLE_FIRST: Final = 101
_BRIDGE_INDEX_FIRST: Final = 10
_CALI_INDEX_FIRST: Final = 101
_PORT_INDEX_FIRST: Final = 1000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlan:
    """One pod."""

    name: str
    """Of the pod and of its namespace."""
    address: str
    address6: str
    """Empty: none."""
    mac: str
    """Of its eth0."""
    device: str
    """The node's end of its veth: `cali` and 11 hexadecimal digits."""
    device_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan(NodeFacts):
    """One node: what the run knows of it, and what the lab alone does. Its tunnel address is that of tunl0 or vxlan.calico."""

    number: int
    """From 0, over all zones."""
    mac: str
    """Of its eth0."""
    port_index: int
    """Of the other end of its eth0, a port of the router's bridge that has the node's name."""
    block: str
    """Where its pods live: the podCIDR, or a block of its own with calico-ipam."""
    tunnel_mac: str
    """Of vxlan.calico."""
    mesh: PodPlan
    control: PodPlan

    @property
    def pods(self) -> tuple[PodPlan, PodPlan]:
        """Its two pods."""
        return self.mesh, self.control

    @property
    def facts(self) -> NodeFacts:
        """The node as the run knows it."""
        return NodeFacts(**{one.name: getattr(self, one.name) for one in fields(NodeFacts)})

    @property
    def host(self) -> Endpoint:
        """The prober in its own network."""
        return Endpoint(
            name=f"{self.name}-host",
            node=self.name,
            zone=self.zone,
            address=self.address,
            address6=self.address6,
            is_host=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePlan:
    """One zone: a subnet with a route table of its own."""

    name: str
    subnet: str
    gateway: str
    """The router's address."""
    subnet6: str
    """Empty: none."""
    gateway6: str
    """Empty: none."""
    mac: str
    """Of the bridge."""
    bridge: str
    bridge_index: int
    table: int
    """Number of the kernel's route table."""
    nodes: tuple[NodePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlan:
    """All names and addresses of a lab."""

    zones: tuple[ZonePlan, ...]
    pods: str
    """CIDR of the pod network."""
    services: str
    """CIDR of the ClusterIPs."""

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        """All nodes, zone by zone."""
        return tuple(node for zone in self.zones for node in zone.nodes)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All pods: mesh and control pod of the first node, of the second, ..."""
        return tuple(
            Endpoint(name=pod.name, node=node.name, zone=node.zone, address=pod.address, address6=pod.address6)
            for node in self.nodes
            for pod in node.pods
        )

    @property
    def others(self) -> tuple[Endpoint, ...]:
        """Endpoints that are no pods: every node's own network, and the router as a client outside."""
        router = self.zones[0]
        outside = Endpoint(
            name="outside",
            node=ROUTER,
            zone=router.name,
            address=router.gateway,
            address6=router.gateway6,
            is_outside=True,
        )
        return (*(node.host for node in self.nodes), outside)


def make_plan(spec: LabSpec) -> LabPlan:
    """Return the names and addresses of a lab."""
    zones = tuple(_make_zone(spec, index) for index in range(spec.zones))
    return LabPlan(zones=zones, pods=spec.pods, services=spec.services)


def _make_zone(spec: LabSpec, index: int) -> ZonePlan:
    name = ascii_lowercase[index]
    first = index * spec.nodes_per_zone
    network = IPv4Network(spec.nodes).network_address + index * 2**8
    network6 = _NODES6.network_address + (index << 64) if spec.has_ipv6 else None
    return ZonePlan(
        name=name,
        subnet=f"{network}/{ZONE_MASK}",
        gateway=str(network + 1),
        subnet6=f"{network6}/64" if network6 else "",
        gateway6=_number(network6, 1),
        mac=_make_mac(0, index),
        bridge=f"br-{name}",
        bridge_index=_BRIDGE_INDEX_FIRST + index,
        table=_TABLE_FIRST + index,
        nodes=tuple(
            _make_node(spec, name, (network, network6), first + place, place + 1) for place in range(spec.nodes_per_zone)
        ),
    )


def _make_node(
    spec: LabSpec, zone: str, subnets: tuple[IPv4Address, IPv6Address | None], number: int, ordinal: int
) -> NodePlan:
    subnet, subnet6 = subnets
    name = f"node-{zone}{ordinal}"
    pods = IPv4Network(spec.pods)
    pod_network = pods.network_address + number * 2 ** (32 - spec.node_mask)
    network, mask = pod_network, spec.node_mask
    if spec.block_mask is not None:
        mask = spec.block_mask
        network = pods.network_address + pods.num_addresses * 3 // 4 + number * 2 ** (32 - mask)
    network6 = PODS6.network_address + (number << (128 - _NODE_MASK6)) if spec.has_ipv6 else None
    return NodePlan(
        number=number,
        name=name,
        zone=zone,
        address=str(subnet + 10 + ordinal),
        address6=_number(subnet6, 10 + ordinal),
        mac=_make_mac(1, number),
        port_index=_PORT_INDEX_FIRST + number,
        gateway=str(subnet + 1),
        pod_cidr=f"{pod_network}/{spec.node_mask}",
        pod_cidr6=f"{network6}/{_NODE_MASK6}" if network6 else "",
        block=f"{network}/{mask}",
        tunnel_address=str(network + 1),
        tunnel_mac=_make_mac(2, number),
        mesh=_make_pod(f"{name}-mesh", (str(network + 2), _number(network6, 2)), 3, number, 0),
        control=_make_pod(f"{name}-control", (str(network + 3), _number(network6, 3)), 4, number, 1),
    )


def _make_pod(name: str, addresses: tuple[str, str], kind: int, number: int, position: int) -> PodPlan:
    # Calico names the interface after a digest of namespace and pod name. Source: calico libcalico-go names.go.
    digest = hashlib.sha1(f"default.{name}".encode(), usedforsecurity=False).hexdigest()
    return PodPlan(
        name=name,
        address=addresses[0],
        address6=addresses[1],
        mac=_make_mac(kind, number),
        device=f"cali{digest[:11]}",
        device_index=_CALI_INDEX_FIRST + position,
    )


def _number(network: IPv6Address | None, number: int) -> str:
    """Return an address of a network by its number; empty: there is no network."""
    return str(network + number) if network else ""


def _make_mac(kind: int, number: int) -> str:
    """Return a locally administered address, unique by kind and number (below 65,536)."""
    return f"02:00:00:{kind:02x}:{number >> 8:02x}:{number & 0xFF:02x}"

"""The overlay's carriers: device, MTU and netlink messages. Pure.

| carrier | device | wire | cost | route to a peer's block |
|---|---|---|---|---|
| ipip | tunl0 | IP in IP | 20 octets | `via NODE dev tunl0 onlink proto 12` |
| vxlan-gpe | tunl0 | IP in VXLAN-GPE, UDP port 4790 | 36 octets | `encap ip id 42 dst NODE dev tunl0 proto 12` |
| vxlan | vxlan.calico | Ethernet in VXLAN, UDP port 4789 | 50 octets | `via VTEP dev vxlan.calico onlink proto 80` |

vxlan-gpe replaces ipip on kernels without it: a layer-3 tunnel device that stays up like tunl0 and takes its far end from the
route. Its underlay MTU is 16 octets larger, so that pods keep Calico's MTU (1480).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Final

from clusters.lab.addresses import TUNNEL_INDEX, UNDERLAY_INDEX, NodePlan
from clusters.linux.netlink import Message
from clusters.linux.netlink_links import Link, add_vxlan, add_vxlan_gpe, set_forwarding_entry, set_neighbour
from clusters.linux.netlink_routes import Route
from hitless.calico import PROTOCOL_BIRD, PROTOCOL_FELIX, TUNNEL_DEVICES
from hitless.words import Overlay

VXLAN_PORT: Final = 4789
"""Source: calico felix config_params.go, VXLANPort."""
VXLAN_IDENTIFIER: Final = 4096
"""Source: calico felix config_params.go, VXLANVNI."""
GPE_PORT: Final = 4790
"""Source: IANA, vxlan-gpe."""
GPE_IDENTIFIER: Final = 42
_UNDERLAY_MTU: Final = 1500


@unique
class Carrier(StrEnum):
    """The encapsulation of the overlay on the wire."""

    IPIP = "ipip"
    VXLAN_GPE = "vxlan-gpe"
    VXLAN = "vxlan"

    @property
    def device(self) -> str:
        """Name of the tunnel device."""
        return TUNNEL_DEVICES[Overlay.VXLAN if self is Carrier.VXLAN else Overlay.IPIP]

    @property
    def underlay_mtu(self) -> int:
        """MTU of the nodes' eth0, octets."""
        return _UNDERLAY_MTU + 16 if self is Carrier.VXLAN_GPE else _UNDERLAY_MTU

    @property
    def tunnel_mtu(self) -> int:
        """MTU of the tunnel device, and of pods that were made in OVERLAY, octets. Source: mechanics 4.6."""
        return _UNDERLAY_MTU - 50 if self is Carrier.VXLAN else _UNDERLAY_MTU - 20

    @property
    def native_pod_mtu(self) -> int:
        """MTU of pods that were made in NATIVE, octets."""
        return _UNDERLAY_MTU

    @property
    def protocol(self) -> int:
        """Route protocol of the program that writes its routes."""
        return PROTOCOL_FELIX if self is Carrier.VXLAN else PROTOCOL_BIRD


def make_overlay_route(carrier: Carrier, peer: NodePlan, tunnel_index: int) -> Route:
    """Return the route to a peer's block through the tunnel; the same on every node."""
    encapsulation, via, is_on_link = None, None, True
    match carrier:
        case Carrier.IPIP:
            via = peer.address
        case Carrier.VXLAN:
            via = peer.tunnel_address
        case Carrier.VXLAN_GPE:
            encapsulation, is_on_link = (GPE_IDENTIFIER, peer.address), False
    return Route(
        destination=peer.block,
        protocol=carrier.protocol,
        device=tunnel_index,
        via=via,
        is_on_link=is_on_link,
        encapsulation=encapsulation,
    )


def make_native_route(node: NodePlan, peer: NodePlan) -> Route:
    """Return BIRD's route without encapsulation: a peer in the zone directly, another by the gateway (mechanics 4.3)."""
    via = peer.address if peer.zone == node.zone else node.gateway
    return Route(destination=peer.block, protocol=PROTOCOL_BIRD, device=UNDERLAY_INDEX, via=via)


def add_vxlan_device(carrier: Carrier, node: NodePlan) -> Message:
    """Make vxlan.calico, or tunl0 as a VXLAN-GPE device."""
    mac = node.tunnel_mac if carrier is Carrier.VXLAN else None
    link = Link(name=carrier.device, index=TUNNEL_INDEX, mtu=carrier.tunnel_mtu, mac=mac)
    if carrier is Carrier.VXLAN_GPE:
        return add_vxlan_gpe(link, port=GPE_PORT)
    return add_vxlan(link, identifier=VXLAN_IDENTIFIER, port=VXLAN_PORT, local=node.address, lower=UNDERLAY_INDEX)


def set_vtep(peer: NodePlan) -> Iterable[Message]:
    """Tell vxlan.calico of a peer's end: its MAC behind the VTEP's address, its node behind the MAC."""
    yield set_neighbour(peer.tunnel_address, peer.tunnel_mac, TUNNEL_INDEX)
    yield set_forwarding_entry(peer.tunnel_mac, peer.address, TUNNEL_INDEX)

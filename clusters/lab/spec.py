"""What a lab looks like: a frozen description. The names and addresses that follow from it stand in `addresses`.

Pure: nothing here touches the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hitless.errors import UsageError
from hitless.words import Mode, Overlay

ZONES_MAX: Final = 26
NODES_PER_ZONE_MAX: Final = 200
PERMANENT_NEIGHBOURS_ABOVE: Final = 20
"""Nodes. The neighbour table is the machine's: 1,024 entries overflow at about 32 nodes a zone. Source: measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """What the lab is asked to build."""

    zones: int = 2
    """Number of zones, named a, b, ...; 1 to 26."""
    nodes_per_zone: int = 2
    """1 to 200."""
    overlay: Overlay = Overlay.IPIP
    start_mode: Mode = Mode.OVERLAY
    rp_filter: int = 2
    """Of the nodes' all, default and every interface: 0 off, 1 strict, 2 loose."""
    has_services: bool = False
    """Whether the nodes have Services and natOutgoing, by nftables; conntrack follows every packet then."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built. Raises UsageError."""
        limits = (("zones", self.zones, 1, ZONES_MAX), ("nodes_per_zone", self.nodes_per_zone, 1, NODES_PER_ZONE_MAX))
        for place, value, least, most in (*limits, ("rp_filter", self.rp_filter, 0, 2)):
            if not least <= value <= most:
                raise UsageError(where="lab", place=place, found=str(value), allowed=f"{least} to {most}")

    @property
    def has_permanent_neighbours(self) -> bool:
        """Whether neighbour entries are written by hand instead of being asked for by ARP."""
        return self.zones * self.nodes_per_zone > PERMANENT_NEIGHBOURS_ABOVE

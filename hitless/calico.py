"""Facts about Calico that more than one room needs: the names of its devices.

Source: docs/mechanics.md 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hitless.words import Overlay

TUNNEL_DEVICES: Final[Mapping[Overlay, str]] = {Overlay.IPIP: "tunl0", Overlay.VXLAN: "vxlan.calico"}
"""Overlay to the name of its tunnel device."""

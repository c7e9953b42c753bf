"""How to tell from objects and routes which mode Calico is in: shared reading, no judgement.

The objects are those that the switch writes; the facts about them are in docs/mechanics.md 1.6 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hitless.history import History
from hitless.words import JsonObject, Kind, Mode

TUNNEL_DEVICES: Final = ("tunl0", "vxlan.calico")
"""Calico's tunnel devices. Source: calico felix dataplane/linux; docs/mechanics.md 4.2."""

VXLAN_DEVICE: Final = "vxlan.calico"
"""The one that goes away with its mode; tunl0 stays. Source: docs/mechanics.md 4.4."""

PROTOCOL_BIRD: Final = 12
"""Route protocol of BIRD. Source: linux/rtnetlink.h RTPROT_BIRD."""

PROTOCOL_FELIX: Final = 80
"""Route protocol of Felix for tunnels and blackholes. Source: calico felix route_mgr.go:116-130."""

_TUNNEL_SWITCHES: Final = ("FELIX_IPINIPENABLED", "FELIX_VXLANENABLED")
"""Environment of calico-node that turns a tunnel on. Source: networking-calico actuator_reconcile.go:409-423."""


def is_tunnel_route(route: JsonObject) -> bool:
    """Return whether packets that take this route are encapsulated."""
    return route.get("dev") in TUNNEL_DEVICES and ("via" in route or "encap_dst" in route)


def pool_mode(pool: JsonObject) -> Mode | None:
    """Return the mode that an IPPool asks for; None for a disabled one, which gives no pod an address."""
    spec = pool.get("spec", {})
    if spec.get("disabled"):
        return None
    is_encapsulated = any(spec.get(key, "Never") != "Never" for key in ("ipipMode", "vxlanMode"))
    return Mode.OVERLAY if is_encapsulated else Mode.NATIVE


def template_mode(daemon_set: JsonObject) -> Mode:
    """Return the mode of the calico-node DaemonSet's pod template, as the gate reads it: by the containers' environment."""
    containers = daemon_set.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    is_tunnelling = any(
        entry.get("name") in _TUNNEL_SWITCHES and entry.get("value") == "true"
        for container in containers
        for entry in container.get("env", [])
    )
    return Mode.OVERLAY if is_tunnelling else Mode.NATIVE


def objects_of(history: History, kind: Kind) -> Iterator[JsonObject]:
    """Yield the final objects of one kind."""
    return (document for document in history.final_objects if document.get("kind") == kind.value)


def name_of(document: JsonObject) -> str:
    """Return an object's name."""
    name: str = document.get("metadata", {}).get("name", "?")
    return name

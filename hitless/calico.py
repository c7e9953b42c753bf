"""Facts about Calico that several packages need: names, devices, variables, route protocols, and how to read its mode.

Source: docs/mechanics.md 1.6, 4.2. Pure; no judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hitless.objects import containers_of, is_switched_on, name_of
from hitless.words import JsonObject, Kind, Mode, Overlay

CALICO_NODE: Final = "calico-node"
"""Name of the DaemonSet and of its main container. Source: networking-calico chart daemonset-calico-node.yaml."""
CALICO_CONFIG: Final = "calico-config"
"""Name of the ConfigMap from which calico-node takes its environment. Source: networking-calico chart configmap."""
CALICO_GROUP: Final = "crd.projectcalico.org"
"""API group of Calico's own objects."""
TUNNEL_ANNOTATIONS: Final[Mapping[Overlay, str]] = {
    Overlay.IPIP: "projectcalico.org/IPv4IPIPTunnelAddr",
    Overlay.VXLAN: "projectcalico.org/IPv4VXLANTunnelAddr",
}
"""Overlay to the annotation with the address of a Node's tunnel device. Source: calico
libcalico-go/lib/backend/k8s/resources/node.go."""
TUNNEL_DEVICES: Final[Mapping[Overlay, str]] = {Overlay.IPIP: "tunl0", Overlay.VXLAN: "vxlan.calico"}
"""Overlay to the name of its tunnel device. Source: calico felix dataplane/linux."""
OVERLAY_VARIABLES: Final = ("FELIX_IPINIPENABLED", "FELIX_VXLANENABLED")
"""Environment of calico-node that turns a tunnel on. Source: networking-calico actuator_reconcile.go:409-423."""
PROTOCOL_BOOT: Final = 3
"""Route protocol of workload routes. Source: calico felix DeviceRouteProtocol default."""
PROTOCOL_BIRD: Final = 12
"""Route protocol of BIRD. Source: linux/rtnetlink.h RTPROT_BIRD."""
PROTOCOL_FELIX: Final = 80
"""Route protocol of Felix for tunnels and blackholes. Source: calico felix route_mgr.go:116-130."""


def is_calico_node(document: JsonObject) -> bool:
    """Return whether an object is calico-node's DaemonSet, not kube-proxy's or another one."""
    return document.get("kind") == Kind.DAEMON_SET.value and name_of(document) == CALICO_NODE


def is_calico_pod(pod: JsonObject) -> bool:
    """Return whether a Pod belongs to calico-node's DaemonSet."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner.get("kind") == Kind.DAEMON_SET.value and owner.get("name") == CALICO_NODE for owner in owners)


def is_in_tunnel(route: JsonObject) -> bool:
    """Return whether a route uses a tunnel device."""
    return route.get("dev") in TUNNEL_DEVICES.values()


def is_tunnel_route(route: JsonObject) -> bool:
    """Return whether packets that take this route are encapsulated for another node."""
    return is_in_tunnel(route) and ("via" in route or "encap_dst" in route)


def routes_mode(routes: Iterable[JsonObject]) -> Mode:
    """Return the mode of a node by its routes."""
    return Mode.OVERLAY if any(map(is_tunnel_route, routes)) else Mode.NATIVE


def pool_mode(pool: JsonObject) -> Mode | None:
    """Return the mode of an IPPool; None: it is disabled and gives no pod an address."""
    spec = pool.get("spec") or {}
    if spec.get("disabled"):
        return None
    is_encapsulated = any(spec.get(key, "Never") != "Never" for key in ("ipipMode", "vxlanMode"))
    return Mode.OVERLAY if is_encapsulated else Mode.NATIVE


def template_mode(daemon_set: JsonObject | None) -> Mode:
    """Return the mode of calico-node's pod template, as the gate reads it: by the containers' environment."""
    return Mode.OVERLAY if is_switched_on(daemon_set, *OVERLAY_VARIABLES) else Mode.NATIVE


def has_bird(daemon_set: JsonObject | None) -> bool:
    """Return whether calico-node runs BIRD: its readiness probe includes it. Source: docs/mechanics.md 1.6."""
    probes = (container.get("readinessProbe") or {} for container in containers_of(daemon_set))
    return any("-bird-ready" in ((probe.get("exec") or {}).get("command") or ()) for probe in probes)

"""Felix of one node in a VXLAN lab: the tunnel device, the routes through it, and the node's tunnel address.

Felix programs VXLAN itself. When the pool stops encapsulating it removes its routes and the blackhole at once, and nothing
programs routes then. The device stays and goes on receiving until the node's own roll: the Felix that starts then deletes it.
Source: observed, Calico 3.28; for the start of VXLAN, mechanics 4.3.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from clusters.lab.calico.bird import POOL_CHANGED
from clusters.lab.calico.plane import NodePlane, WrittenRoutes
from clusters.lab.kube import MemoryKube
from gardener.manifests.admission import CALICO_NODE_USER
from hitless.calico import TUNNEL_ANNOTATIONS
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.words import Kind, Mode, Nanoseconds, Overlay

VTEP_FOUND = "VTEP found"
"""Cause of `calico.repointed`: a peer's tunnel address appeared."""


class FelixVxlan(WrittenRoutes):
    """The VXLAN part of one node's Felix.

    Args:
        kube: where the node's tunnel address is published.
        restart_ns: Felix notices, restarts and syncs within this time when VXLAN begins on the node.
    """

    def __init__(
        self,
        plane: NodePlane,
        peers: frozenset[str],
        recorder: Recorder,
        node: NodeFacts,
        kube: MemoryKube,
        restart_ns: Nanoseconds,
    ) -> None:
        super().__init__(plane, peers, recorder)
        self._node, self._kube, self._restart_ns = node, kube, restart_ns
        self._has_device = False
        self._device_due_ns: Nanoseconds | None = None

    def adopt(self, *, is_enabled: bool, has_device: bool) -> None:
        """Take over a Felix that has been running for long: every route is there."""
        self.routes = dict.fromkeys(self._peers, Mode.OVERLAY) if is_enabled else {}
        self._has_device = has_device
        self._has_blackhole = is_enabled

    def start(self, *, is_enabled: bool) -> None:
        """Make the first apply of a new Felix: it creates the device, or deletes the one of its predecessor.

        Source: calico felix int_dataplane.go:765-767, 1619-1654; mechanics 4.4.
        """
        self._device_due_ns = None
        if not is_enabled:
            self._set_routes(frozenset())  # they go with the device; removed separately, each has its own time
        self._set_device(present=is_enabled)
        self._set_blackhole(present=is_enabled)

    def reconcile(self, *, is_enabled: bool, vteps: frozenset[str], now_ns: Nanoseconds) -> Nanoseconds | None:
        """Bring routes and device to what the pool says.

        Args:
            is_enabled: whether VXLAN is on, as this node sees it.
            vteps: names of the nodes that have a tunnel address.
            now_ns: the present time.

        Returns:
            When the device is due to be made, or None.

        Raises:
            ApiUnavailableError: the tunnel address cannot be published now; the device has not changed.
        """
        self._set_blackhole(present=is_enabled and self._has_device)
        self._set_routes(self.routes.keys() | (vteps & self._peers) if is_enabled and self._has_device else frozenset())
        if self._has_device or not is_enabled:
            self._device_due_ns = None
            return None
        if self._device_due_ns is None:
            self._device_due_ns = Nanoseconds(now_ns + self._restart_ns)
        if now_ns < self._device_due_ns:
            return self._device_due_ns
        self.start(is_enabled=is_enabled)
        return self.reconcile(is_enabled=is_enabled, vteps=vteps, now_ns=now_ns)

    def is_settled(self, *, is_enabled: bool, vteps: frozenset[str]) -> bool:
        """Return whether routes and device already are what the pool and the tunnel addresses ask for."""
        return self._has_device >= is_enabled and self.routes.keys() == (vteps & self._peers if is_enabled else frozenset())

    def _set_device(self, *, present: bool) -> None:
        if present is not self._has_device:
            publish_tunnel_address(self._kube, self._node, present=present)
            self._plane.set_tunnel(present=present)
            self._has_device = present

    def _set_routes(self, wanted: AbstractSet[str]) -> None:
        self._withdraw(frozenset(self.routes) - wanted, POOL_CHANGED)
        self._repoint(Mode.OVERLAY, frozenset(wanted - self.routes.keys()), VTEP_FOUND)


def publish_tunnel_address(kube: MemoryKube, node: NodeFacts, *, present: bool) -> None:
    """Write or remove the annotation with a node's tunnel address.

    The lab writes the node's own address: peers only look whether there is one, the plane has the real one. Raises
    ApiUnavailableError: nothing was written.
    """
    document = kube.get(Kind.NODE, node.name)
    annotations = document["metadata"].setdefault("annotations", {})
    annotations.pop(TUNNEL_ANNOTATIONS[Overlay.VXLAN], None)
    if present:
        annotations[TUNNEL_ANNOTATIONS[Overlay.VXLAN]] = node.address
    kube.apply(document, actor=CALICO_NODE_USER)

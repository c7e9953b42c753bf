"""BIRD and Felix of one node: their routes to peers in the kernel, and the times at which they rewrite them.

BIRD carries IPIP and plain routes. It programs a route to a peer while it has a session with the peer's BIRD, keeps it for the
graceful restart time after that BIRD died, and then withdraws it. When BIRD itself dies, the kernel keeps its routes.

Felix programs VXLAN itself. When the pool stops encapsulating it removes its routes and the blackhole at once, and nothing
programs routes then. The device stays and goes on receiving until the node's own roll: the Felix that starts then deletes it.
Source: observed, Calico 3.28; for the start of VXLAN, mechanics 4.3.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from clusters.lab.calico.plane import NodePlane, RouteChange
from clusters.lab.kube import MemoryKube
from gardener.manifests.admission import CALICO_NODE_USER
from gardener.timings import Timings
from hitless.calico import TUNNEL_ANNOTATIONS
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.words import Kind, Mode, Nanoseconds, Overlay

POOL_CHANGED = "IPPool"
POOL_ADDED = "IPPool no-snat-for-node-cidr"
SESSION_UP = "BGP session up"
PEER_EXPIRED = "graceful-restart expired"
RECOVERED = "graceful restart ended"
SCANNED = "kernel scan"
VTEP_FOUND = "VTEP found"
"""Causes of `calico.repointed`; VTEP_FOUND: a peer's tunnel address appeared."""


class WrittenRoutes:
    """The routes to peers, and the blackhole, that one program of calico-node has written: BIRD, or Felix."""

    def __init__(self, plane: NodePlane, peers: frozenset[str], recorder: Recorder) -> None:
        self._plane, self._peers, self._recorder = plane, peers, recorder
        self.routes: dict[str, Mode] = {}
        """Peer to the mode of its route, of those that are still there, whether the program lives or not."""
        self._has_blackhole = False

    def forget_routes(self, peers: Collection[str]) -> None:
        """Note that the routes to these peers are gone."""
        self.routes = {peer: mode for peer, mode in self.routes.items() if peer not in peers}

    def _repoint(self, mode: Mode, peers: frozenset[str], cause: str) -> None:
        if peers:
            change = self._plane.repoint(mode, sorted(peers))
            self.routes.update(dict.fromkeys(peers, mode))
            self._record(change, mode, peers, cause)

    def _withdraw(self, peers: frozenset[str], cause: str) -> None:
        if peers:
            change = self._plane.withdraw(sorted(peers))
            self.forget_routes(peers)
            self._record(change, Mode.NATIVE, peers, cause)

    def _set_blackhole(self, *, present: bool) -> None:
        if present is not self._has_blackhole:
            self._plane.set_blackhole(present=present)
            self._has_blackhole = present

    def _record(self, change: RouteChange, mode: Mode, peers: frozenset[str], cause: str) -> None:
        """Record that the routes to these peers were written or withdrawn; it names the peers unless they are all."""
        which = {} if peers == self._peers else {"peers": sorted(peers)}
        self._recorder.record(
            "calico.repointed",
            t_ns=change.ended_ns,
            began_ns=int(change.began_ns),
            node=self._plane.node,
            mode=mode.value,
            cause=cause,
            routes=change.routes,
            **which,
        )


class Bird(WrittenRoutes):
    """One node's BIRD, whose mesh are all peers."""

    def __init__(self, plane: NodePlane, peers: frozenset[str], recorder: Recorder, timings: Timings) -> None:
        super().__init__(plane, peers, recorder)
        self._restart_ns = timings.bird_graceful_restart_ns
        self._rewrite_after_ns = timings.bird_rewrite_ns
        self._rewrite_ns: Nanoseconds | None = None
        self._scan_after_ns = timings.bird_scan_ns
        self._scan_ns: Nanoseconds | None = None
        """When it will miss what another program deleted, and write it again."""
        self._mode: Mode | None = None
        self._alive: frozenset[str] = frozenset()
        self._expiry_ns: dict[str, Nanoseconds] = {}
        self._recovery_end_ns: Nanoseconds | None = None

    @property
    def is_meshed(self) -> bool:
        """Whether there is a session with every peer."""
        return self._alive == self._peers

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._mode is not None

    def adopt(self, mode: Mode, birds: frozenset[str]) -> None:
        """Take over a BIRD that has been running for long: every route is there, and so is the blackhole."""
        self._mode = mode
        self._alive = birds & self._peers
        self.routes = dict.fromkeys(self._alive, mode) if self._exports else {}
        self._has_blackhole = self._exports

    def start(self, mode: Mode, now_ns: Nanoseconds) -> None:
        """Start the process with `-R`: it writes nothing until every peer has told its routes, or for long enough.

        Source: bird.cfg.template:93-106; BIRD proto.c:707-764 DEFAULT_GR_WAIT 240 s, which is twice the graceful restart time
        of 120 s and shrinks with it in the fast profile.
        """
        self._mode = mode
        self._recovery_end_ns = Nanoseconds(now_ns + 2 * self._restart_ns)

    def die(self) -> None:
        """End the process: SIGKILL with its PID namespace. The kernel's routes stay (`persist`), timers go."""
        self._mode = None
        self._alive = frozenset()
        self._expiry_ns = {}
        self._recovery_end_ns = self._rewrite_ns = self._scan_ns = None

    def plan_rewrite(self, now_ns: Nanoseconds) -> None:
        """Write every route again a little later, as BIRD does once the pool no-snat-for-node-cidr has appeared."""
        if self.is_running:
            self._rewrite_ns = Nanoseconds(now_ns + self._rewrite_after_ns)

    def lose_routes(self, peers: Collection[str] | None, now_ns: Nanoseconds) -> None:
        """Note that cleanup-routes deleted the routes to these peers; None: every one of its protocol, with the blackhole."""
        self.forget_routes(self.routes.keys() if peers is None else peers)
        self._has_blackhole &= peers is not None
        if self.is_running and self._scan_ns is None:
            self._scan_ns = Nanoseconds(now_ns + self._scan_after_ns)

    def reconcile(self, mode: Mode, birds: frozenset[str], now_ns: Nanoseconds) -> Nanoseconds | None:
        """Bring the kernel to what the sessions with the peers in `birds`, whose BIRD runs, and the mode say.

        Returns when a timer ends, or None; `mode` is that of the pool, as this node sees it.
        """
        if self._mode is None:
            return None
        cause = SESSION_UP if mode is self._mode else POOL_CHANGED
        self._mode = mode
        self._watch_peers(birds & self._peers, now_ns)
        if self._recovery_end_ns is not None:
            if self._alive != self._peers and now_ns < self._recovery_end_ns:
                return self._recovery_end_ns
            self._recovery_end_ns = None
            cause = RECOVERED
        if self._scan_ns is not None:
            if now_ns < self._scan_ns:
                return self._scan_ns
            self._scan_ns, cause = None, SCANNED
        wanted = self._wanted
        self._withdraw(frozenset(self.routes) - wanted, PEER_EXPIRED if cause is SESSION_UP else cause)
        self._repoint(mode, frozenset(peer for peer in wanted if self.routes.get(peer) is not mode), cause)
        self._set_blackhole(present=self._exports)
        self._rewrite(mode, now_ns)
        return min((*self._expiry_ns.values(), *([] if self._rewrite_ns is None else [self._rewrite_ns])), default=None)

    def is_settled(self, mode: Mode, birds: frozenset[str]) -> bool:
        """Return whether nothing is left to do while the pool's mode is `mode` and the BIRDs of these nodes run."""
        if self._mode is None:
            return True
        is_quiet = self._recovery_end_ns is None and self._rewrite_ns is None and not self._expiry_ns
        is_told = self._mode is mode and self._alive == birds & self._peers
        return is_quiet and is_told and self.routes == dict.fromkeys(self._wanted, mode)

    @property
    def _exports(self) -> bool:
        """Whether BIRD programs the routes; in a VXLAN pool Felix does."""
        return self._mode is Mode.NATIVE or self._plane.overlay is Overlay.IPIP

    @property
    def _wanted(self) -> frozenset[str]:
        return (self._alive | self._expiry_ns.keys()) if self._exports else frozenset()

    def _watch_peers(self, alive: frozenset[str], now_ns: Nanoseconds) -> None:
        for peer in self._alive - alive:
            self._expiry_ns[peer] = Nanoseconds(now_ns + self._restart_ns)
        self._expiry_ns = {peer: due for peer, due in self._expiry_ns.items() if peer not in alive and due > now_ns}
        self._alive = alive

    def _rewrite(self, mode: Mode, now_ns: Nanoseconds) -> None:
        if self._rewrite_ns is None or now_ns < self._rewrite_ns:
            return
        self._rewrite_ns = None
        self._repoint(mode, frozenset(self.routes), POOL_ADDED)
        if self._has_blackhole:
            self._set_blackhole(present=False)
            self._set_blackhole(present=True)


class FelixVxlan(WrittenRoutes):
    """The VXLAN part of one node's Felix: within `restart_ns` it notices that VXLAN begins, restarts and syncs."""

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
        """Bring routes and device to what the pool, as this node sees it, and the nodes with a tunnel address ask for.

        Returns when the device is due to be made, or None. Raises ApiUnavailableError: the tunnel address cannot be published
        now; the device has not changed.
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

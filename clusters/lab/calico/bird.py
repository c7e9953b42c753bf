"""BIRD of one node: its routes to peers in the kernel, and the times at which it rewrites them.

BIRD carries IPIP and plain routes. It programs a route to a peer while it has a session with the peer's BIRD, keeps it for the
graceful restart time after that BIRD died, and then withdraws it. When BIRD itself dies, the kernel keeps its routes.
"""

from __future__ import annotations

from collections.abc import Collection

from clusters.lab.calico.plane import NodePlane, WrittenRoutes
from gardener.timings import Timings
from hitless.events import Recorder
from hitless.words import Mode, Nanoseconds, Overlay

POOL_CHANGED = "IPPool"
POOL_ADDED = "IPPool no-snat-for-node-cidr"
SESSION_UP = "BGP session up"
PEER_EXPIRED = "graceful-restart expired"
RECOVERED = "graceful restart ended"
SCANNED = "kernel scan"
"""Causes of `calico.repointed`."""


class Bird(WrittenRoutes):
    """One node's BIRD, whose mesh are all peers.

    Args:
        timings: graceful restart, the second rewrite, and the scan of the kernel's routes.
    """

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
        """Bring the kernel to what the configuration and the sessions say.

        Args:
            mode: the mode of the pool, as this node sees it.
            birds: names of the nodes whose BIRD runs.
            now_ns: the present time.

        Returns:
            When a timer ends, or None.
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

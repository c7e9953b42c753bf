"""The times at which each node's routes to its peers changed, from `ip monitor` on every node.

The lab's double of calico-node records these changes itself. Real Calico does not report them, and what its objects imply has
wide bounds.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Final

from analysis.route_history import OBSERVED
from clusters.kind.docker import Docker
from clusters.kind.nodes import read_state
from hitless.calico import TUNNEL_DEVICES
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.ports import Clock
from hitless.words import MILLISECOND, JsonObject, Kind, Mode, Nanoseconds

_LOOK_NS: Final = Nanoseconds(200 * MILLISECOND)
"""Changes within one look are one event, with the times of the first and the last."""
_MONITOR: Final = "ip -4 -ts monitor route link & read -r _; kill $!"
"""The monitor ends when its standard input is closed, because a docker client that is killed does not end the program that it
started."""
_TUNNELS: Final = frozenset(TUNNEL_DEVICES.values())
_LINE: Final = re.compile(r"\[(?P<at>[-0-9T:.]+)\] (?P<deleted>Deleted )?(?P<rest>.*)")
_LINK: Final = re.compile(r"\d+: (?P<device>[^:@ ]+)[:@]")
_ROUTE: Final = re.compile(r"(?:unicast )?(?P<dst>[0-9./]+) (?:via (?P<via>[0-9.]+) )?dev (?P<device>\S+)")


Reach = Mode | None
"""How a node's own routes reach a peer's pods: through the tunnel, by a route of its own, or (None) by the default route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChange:
    """One line of the monitor that concerns a peer."""

    at_ns: int
    """Wall clock."""
    peer: str
    before: Reach
    after: Reach


@dataclass(slots=True, kw_only=True)
class NodeRoutes:
    """A node's routes to its peers, from the reports of its kernel. Pure."""

    peers: Sequence[NodeFacts]
    routes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Destination to peer and device."""

    def load(self, routes: Sequence[JsonObject]) -> None:
        """Take the routes of a NodeState as they are."""
        for route in routes:
            peer = self._find_peer(str(route["dst"]), route.get("via"))
            if peer is not None and "dev" in route:
                self.routes[str(route["dst"])] = (peer, str(route["dev"]))

    def reach(self, peer: str) -> Reach:
        """Return how the node reaches a peer."""
        devices = {device for name, device in self.routes.values() if name == peer}
        if devices & _TUNNELS:
            return Mode.OVERLAY
        return Mode.NATIVE if devices else None

    def apply(self, line: str) -> tuple[RouteChange, ...]:
        """Apply a line of `ip -ts monitor route link`; return the change."""
        match = _LINE.match(line)
        if match is None:
            return ()
        before = {peer.name: self.reach(peer.name) for peer in self.peers}
        if link := _LINK.match(match["rest"]):
            # The routes of a deleted device disappear with it, and the kernel does not report them.
            if match["deleted"]:
                self.routes = {dst: found for dst, found in self.routes.items() if found[1] != link["device"]}
        elif route := _ROUTE.match(match["rest"]):
            peer = self._find_peer(route["dst"], route["via"])
            if match["deleted"] and self.routes.get(route["dst"], ("", ""))[1] == route["device"]:
                del self.routes[route["dst"]]
            elif peer is not None and not match["deleted"]:
                self.routes[route["dst"]] = (peer, route["device"])
        at_ns = round(datetime.fromisoformat(match["at"]).replace(tzinfo=UTC).timestamp() * 1_000_000) * 1_000
        return tuple(
            RouteChange(at_ns=at_ns, peer=name, before=was, after=self.reach(name))
            for name, was in before.items()
            if self.reach(name) is not was
        )

    def _find_peer(self, destination: str, via: str | None) -> str | None:
        """Return the node whose pods a destination covers: by its podCIDR, else by the next hop."""
        if destination == "default":
            return None
        block = IPv4Network(destination)
        for peer in self.peers:
            if block.subnet_of(IPv4Network(peer.pod_cidr)) or (via is not None and via in {peer.address, peer.tunnel_address}):
                return peer.name
        return None


class RouteWatch:
    """Records the reports of the nodes' kernels; a Participant that only observes.

    Args:
        recorder: gets `calico.repointed` and `calico.cleanup_routes`.
        left: nodes that have left so far; neither their routes nor those to them are followed any more.
    """

    name: Final = "route-watch"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(
        self, docker: Docker, nodes: Sequence[NodeFacts], recorder: Recorder, clock: Clock, left: AbstractSet[str] = frozenset()
    ) -> None:
        self._recorder, self._clock, self._left = recorder, clock, left
        self._monitors = {node.name: docker.start("exec", "-i", node.name, "sh", "-c", _MONITOR) for node in nodes}
        self._unfinished = dict.fromkeys(self._monitors, b"")
        self._routes = {one.name: NodeRoutes(peers=[peer for peer in nodes if peer is not one]) for one in nodes}
        for monitor in self._monitors.values():
            if monitor.stdout is not None:
                os.set_blocking(monitor.stdout.fileno(), False)
        for name, routes in self._routes.items():
            routes.load(read_state(docker, name).routes)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Record what has changed since the last look; see Participant."""
        offset_ns = self._clock.now_ns() - time.time_ns()
        for node in self._monitors:
            changes = [change for line in self._read(node) for change in self._routes[node].apply(line)]
            self._record(node, [one for one in changes if self._left.isdisjoint({node, one.peer})], offset_ns)
        return Nanoseconds(now_ns + _LOOK_NS)

    def is_settled(self) -> bool:
        """Return True: the checks judge where routes should lead."""
        return True

    def close(self) -> None:
        """End the monitors. Safe to call twice."""
        for monitor in self._monitors.values():
            monitor.kill()
            monitor.communicate()
        self._monitors = {}

    def _read(self, node: str) -> list[str]:
        stream = self._monitors[node].stdout
        data = self._unfinished[node]
        with contextlib.suppress(BlockingIOError):
            while stream is not None and (read := os.read(stream.fileno(), 65_536)):
                data += read
        *lines, self._unfinished[node] = data.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _record(self, node: str, changes: Sequence[RouteChange], offset_ns: int) -> None:
        """Record changes of one look, one event for each way in which peers are reached now."""
        for after in (Mode.OVERLAY, Mode.NATIVE, None):
            mine = [change for change in changes if change.after is after and self._routes[node].reach(change.peer) is after]
            if not mine:
                continue
            facts: dict[str, object] = {"node": node, "began_ns": mine[0].at_ns + offset_ns}
            at_ns = Nanoseconds(mine[-1].at_ns + offset_ns)
            peers = sorted({change.peer for change in mine})
            if len(peers) < len(self._routes.keys() - self._left) - 1:
                facts["peers"] = peers
            if after is None and mine[-1].before is Mode.NATIVE:
                self._recorder.record("calico.cleanup_routes", t_ns=at_ns, removed=len(peers), **facts)
                continue
            mode = after or Mode.NATIVE
            self._recorder.record("calico.repointed", t_ns=at_ns, mode=mode.value, cause=OBSERVED, routes=len(peers), **facts)

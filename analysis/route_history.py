"""The one timeline of the nodes' routes: each node's next hop for each other node at every time.

The next hop is the tunnel (mode OVERLAY), the wire of the node's zone, or the gateway (both NATIVE). Convergence, paths, causes
and the checks all read this timeline, so they cannot disagree.

**Nodes that report.** A recorder that sees a node's routes (the lab's calico-node, or `ip monitor route` on a node) records

- `calico.repointed` (node, mode, cause, began_ns; `peers` unless all): routes to peers were rewritten from `began_ns` to the
  event's time. The cause is POOL_CHANGED, EXPIRED, OBSERVED if the recorder sees only the kernel, or another word;
- `calico.cleanup_routes` (node, removed, began_ns): the routes of BIRD are gone and the default route is left.

**Nodes that do not report.** The objects imply, within wide bounds, what must have happened (docs/measuring.md, Path of a
probe).

**IPv6.** The switch does not touch it. The lab never encapsulates it and sends it by the gateway; elsewhere nothing tells its
next hop.

Source: mechanics 1.6, 4.3, 4.4, 5. Pure; reads no probes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag, unique
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.bounds import Interval, instant_of, make_interval
from hitless.calico import routes_mode
from hitless.events import Event
from hitless.history import History
from hitless.words import SECOND, IpFamily, Kind, Mode, Nanoseconds, Overlay

POOL_CHANGED: Final = "IPPool"
"""Cause of `calico.repointed`: the mode of the pool changed."""
EXPIRED: Final = "graceful-restart expired"
"""Cause of `calico.repointed`: BIRD withdrew routes instead of writing them."""
OBSERVED: Final = "observed"
"""Cause of `calico.repointed`: the kernel's routes changed for an unknown reason."""
LEAD_NS: Final = Nanoseconds(1 * SECOND)
"""A change by another program is seen at most this late. Chosen here: a watch tells within milliseconds, and after a lost
connection it is retried once a second."""
LAG_NS: Final = Nanoseconds(3 * SECOND)
"""All nodes re-point within this time after the pool's change. Source: mechanics 4.3, 1 to 3 s; measured on 4 real nodes: 48 to
277 ms."""

ModeBits = npt.NDArray[np.uint8]
"""RouteMode of every element."""
Times = npt.NDArray[np.int64]
"""Run clock, ns."""


@unique
class RouteMode(IntFlag):
    """What a node's route to a peer may be; both bits: it is not known which."""

    OVERLAY = 1
    NATIVE = 2
    UNKNOWN = 3


@unique
class NextHop(Enum):
    """The next hop for packets to a peer's pods."""

    TUNNEL = "by tunnel"
    WIRE = "directly"
    GATEWAY = "by the gateway"

    @property
    def mode(self) -> RouteMode:
        """The mode of such a route."""
        return RouteMode.OVERLAY if self is NextHop.TUNNEL else RouteMode.NATIVE


@unique
class Trigger(Enum):
    """Cause of a change of a node's routes."""

    REPOINTED = "the pool's mode changed"
    CLEANED = "cleanup-routes"
    WITHDRAWN = "the graceful restart of a peer was over"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStep:
    """A node's next hop for a peer changed."""

    at: Interval
    next_hop: NextHop
    """Afterwards."""
    trigger: Trigger
    text: str
    """What happened, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTimeline:
    """One node's next hop for one peer over time."""

    first: NextHop
    """Before the first step."""
    steps: tuple[RouteStep, ...]
    """In order of time; each changes something."""
    unknown_ns: int | None
    """From here on the mode is unknown, because the node's final routes contradict the steps; None: they do not, or were not
    read."""

    def between(self, since_ns: Times, until_ns: Times) -> ModeBits:
        """Return every mode that the route may have had from `since_ns` to `until_ns`, both included, element by element."""
        edges, modes = self._modes()
        first = np.searchsorted(edges, since_ns, "right")
        last = np.maximum(first, np.searchsorted(edges, until_ns, "right"))
        found = np.zeros(since_ns.size, dtype=np.uint8)
        for bit in (RouteMode.OVERLAY, RouteMode.NATIVE):
            count = np.concatenate(([0], np.cumsum((modes & bit) != 0)))
            found |= np.where(count[last + 1] > count[first], bit, 0).astype(np.uint8)
        return found

    def arrival(self, mode: Mode) -> Interval | None:
        """Return when the route took a mode permanently; None: never, or unknown."""
        edges, modes = self._modes()
        wanted = RouteMode[mode]
        if modes[-1] != wanted:
            return None
        other = np.flatnonzero(modes != wanted)
        if not other.size:
            return make_interval(0, 0)
        # From the last edge on only the wanted mode holds; it was possible since the last time at which it was not excluded.
        excluded = np.flatnonzero((modes & wanted) == 0)
        return make_interval(int(edges[excluded[-1]]) if excluded.size else 0, int(edges[other[-1]]))

    def _modes(self) -> tuple[Times, ModeBits]:
        """Return when the mode changes, rising, and the modes: before the first edge, between every two, and after the last."""
        edges: list[int] = []
        modes = [self.first.mode]
        for step in self.steps:
            began = max(step.at.earliest_ns, edges[-1]) if edges else step.at.earliest_ns
            edges += [began, max(began, step.at.latest_ns)]
            modes += [modes[-1] | step.next_hop.mode, step.next_hop.mode]
        if self.unknown_ns is not None:
            edges.append(max(self.unknown_ns, edges[-1]) if edges else self.unknown_ns)
            modes.append(RouteMode.UNKNOWN)
        return np.array(edges, dtype=np.int64), np.array(modes, dtype=np.uint8)


class RouteHistory:
    """The routes of all nodes in one run."""

    def __init__(self, history: History) -> None:
        self._zones = {node.name: node.zone for node in history.facts.nodes}
        self._members: dict[str | None, list[str]] = {}
        for name, zone in self._zones.items():
            self._members.setdefault(zone, []).append(name)
        self._is_native = history.header.start_mode is Mode.NATIVE
        self._is_vxlan = history.header.overlay is Overlay.VXLAN
        self.told = tuple(history.events_named("calico.repointed", "calico.cleanup_routes"))
        """What the nodes themselves told of their routes, in order of time."""
        self.is_inferred = not self.told
        """Whether no node told anything: then the bounds are wide."""
        self._changes: dict[str, list[tuple[Interval, Event]]] = {name: [] for name in self._zones}
        changes = [(str(event.facts["node"]), instant_of(event), event) for event in self.told] or list(_infer(history))
        for node, at, event in changes:
            self._changes.setdefault(node, []).append((at, event))
        self._final = {state.node: routes_mode(state.routes) for state in history.final_nodes if self.is_inferred}
        self._timelines: dict[tuple[str, str], RouteTimeline] = {}
        unknown_ns = None if history.facts.backend == "lab" else 0
        self._ipv6 = RouteTimeline(first=NextHop.GATEWAY, steps=(), unknown_ns=unknown_ns)

    def toward(self, node: str, peer: str, family: IpFamily = IpFamily.IPV4) -> RouteTimeline:
        """Return a node's next hop for a peer over time."""
        if family is IpFamily.IPV6:
            return self._ipv6
        key = (node, peer)
        if key not in self._timelines:
            self._timelines[key] = self._make(node, peer)
        return self._timelines[key]

    def followers(self, until_ns: int) -> frozenset[str]:
        """Return the nodes that told before a time that they rewrote routes."""
        repointed = (event for event in self.told if event.name == "calico.repointed")
        return frozenset(str(event.facts["node"]) for event in repointed if event.t_ns < until_ns)

    def timelines(self, node: str) -> tuple[RouteTimeline, ...]:
        """Return the timelines of a node toward all its peers, those that are alike once.

        A node's reports distinguish peers by zone, its own or another, and by the names in them: so a large cluster needs
        a few timelines per node, not one per peer.
        """
        named = {peer for _, event in self._changes.get(node, []) for peer in event.facts.get("peers", ())}
        peers = [peer for peer in self._zones if peer in named] if named else []
        own = self._zones.get(node)
        near = (peer for peer in self._members.get(own, ()) if peer not in named and peer != node)
        far = (peer for zone, members in self._members.items() if zone != own for peer in members if peer not in named)
        peers += [peer for peer in (next(near, None), next(far, None)) if peer is not None]
        return tuple(self.toward(node, peer) for peer in peers if peer != node)

    def departure(self) -> RouteStep | None:
        """Return the first step by which a node left the tunnel, as nodes told it; None: no node told of one."""
        nodes = () if self.is_inferred else self._zones
        steps = (step for node in nodes for line in self.timelines(node) for step in line.steps)
        left = (step for step in steps if step.next_hop is not NextHop.TUNNEL)
        return min(left, key=lambda step: step.at.earliest_ns, default=None)

    def _make(self, node: str, peer: str) -> RouteTimeline:
        first = now = NextHop.GATEWAY if self._is_native else NextHop.TUNNEL
        steps: list[RouteStep] = []
        changes = self._changes.get(node, [])
        for at, event in changes:
            step = self._step(node, peer, at, event)
            if step is not None and step.next_hop is not now:
                steps.append(step)
                now = step.next_hop
        final, unknown_ns = self._final.get(node), None
        if final is not None and now.mode is not RouteMode[final]:
            unknown_ns = int((steps[-1].at if steps else changes[0][0]).earliest_ns) if changes else 0
        return RouteTimeline(first=first, steps=tuple(steps), unknown_ns=unknown_ns)

    def _step(self, node: str, peer: str, at: Interval, event: Event) -> RouteStep | None:
        facts = event.facts
        if "peers" in facts and peer not in facts["peers"]:
            return None
        cause, trigger = str(facts.get("cause", POOL_CHANGED)), Trigger.REPOINTED
        if event.name in ("calico.cleanup_routes", "pod.deleted"):
            if facts.get("removed") == 0:
                return None  # There was no route of BIRD's: nothing changed.
            next_hop, trigger = NextHop.GATEWAY, Trigger.CLEANED
        elif facts.get("mode") == Mode.OVERLAY:
            next_hop = NextHop.TUNNEL
        elif cause == EXPIRED:
            next_hop, trigger = NextHop.GATEWAY, Trigger.WITHDRAWN
        else:
            # In a VXLAN pool no program writes native routes: the default route is left.
            is_alone = self._is_vxlan and cause in (POOL_CHANGED, OBSERVED)
            is_near = self._zones.get(node) == self._zones.get(peer)
            next_hop = NextHop.WIRE if is_near and not is_alone else NextHop.GATEWAY
        return RouteStep(at=at, next_hop=next_hop, trigger=trigger, text=_say(node, event))


def _infer(history: History) -> Iterator[tuple[str, Interval, Event]]:
    """Yield the changes that must have happened on nodes that do not report: the pool reached them, their pod was replaced."""
    names = sorted(node.name for node in history.facts.nodes)
    ordered, asked_ns = history.header.start_mode, 0
    cleaned: set[str] = set()
    for event in history.events:
        facts = event.facts
        if event.name.startswith("gate."):
            asked_ns = event.t_ns  # Nothing was written yet.
        elif event.name == "manifest.applied" and facts.get("mode"):
            ordered = Mode(facts["mode"])
            if facts.get("kind") != Kind.IP_POOL:
                continue
            earliest_ns = max(event.t_ns - LEAD_NS, asked_ns)
            for name in names:
                # A pod that was replaced under a native template has no BIRD that could follow the pool.
                if ordered is Mode.OVERLAY or name not in cleaned:
                    yield name, make_interval(earliest_ns, _followed_ns(history, name, ordered, event)), event
            if ordered is Mode.OVERLAY:
                cleaned.clear()
        elif event.name == "pod.deleted" and ordered is Mode.NATIVE and facts.get("node") in names:
            name = str(facts["node"])
            cleaned.add(name)
            yield name, make_interval(max(event.t_ns - LEAD_NS, asked_ns), _ready_ns(history, name, event.t_ns)), event


def _followed_ns(history: History, node: str, mode: Mode, applied: Event) -> int:
    """Return the latest time at which a node follows the pool.

    A node whose pod is being replaced may miss the change; it keeps its routes until the new pod is ready. After a change back
    to OVERLAY the new pods of all nodes must exchange their routes first. Source: measured on real Calico.
    """
    latest_ns = applied.t_ns + LAG_NS
    for deleted in history.events_named("pod.deleted"):
        is_meant = mode is Mode.OVERLAY or deleted.facts.get("node") == node
        if is_meant and (mode is Mode.OVERLAY or deleted.t_ns <= latest_ns):
            latest_ns = max(latest_ns, _ready_ns(history, str(deleted.facts.get("node")), deleted.t_ns))
    return latest_ns


def _ready_ns(history: History, node: str, deleted_ns: int) -> int:
    """Return when the pod that followed a deleted one was ready, on a node; until the last event where it never was."""
    ready = (event.t_ns for event in history.events_named("pod.ready") if event.facts.get("node") == node)
    return next((at_ns for at_ns in ready if at_ns >= deleted_ns), max(deleted_ns + LAG_NS, history.events[-1].t_ns))


def _say(node: str, event: Event) -> str:
    facts = event.facts
    if event.name == "manifest.applied":
        return f"the pool said {facts.get('mode')}"
    if event.name == "pod.deleted":
        return f"the roll of {node}"
    if event.name == "calico.cleanup_routes":
        return f"cleanup-routes on {node}"
    return f"{node} re-pointed to {facts.get('mode')} ({facts.get('cause')})"

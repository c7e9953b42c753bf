"""By what each node reached each other node, over time: the tunnel, the wire of its zone, or the gateway.

Only what goes by the gateway needs a cloud route. In native mode a peer of another zone is behind the gateway; a peer of the
same zone is on the wire as long as BIRD has a route to it, and behind the gateway once only the default route is left: after
cleanup-routes, after BIRD withdrew the routes of a peer that did not come back, and with VXLAN from the pool's change on, as
nobody programs routes then. Source: mechanics 4.3, 4.4, 5. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from analysis.causes.cloud_routes import span_of
from analysis.causes.troubles import CauseKind, Span, make_span
from hitless.events import Event
from hitless.history import History
from hitless.words import SECOND, Kind, Mode, Nanoseconds, Overlay

EXPIRED: Final = "graceful-restart expired"
"""Cause of `calico.repointed` where BIRD withdraws routes instead of writing them."""
POOL_CHANGED: Final = "IPPool"
"""Cause of `calico.repointed` where the pool's mode did it."""
LEAD_NS: Final = Nanoseconds(1 * SECOND)
LAG_NS: Final = Nanoseconds(3 * SECOND)
"""Where nodes do not tell when they re-point: from so long before the pool's apply is known to so long after it. Source:
mechanics 4.3, a changed pool reaches all nodes within 1 to 3 s; an event that is seen by looking is dated late."""


@unique
class NextHop(Enum):
    """What is asked to carry a packet for a peer's pods."""

    TUNNEL = "by tunnel"
    WIRE = "directly"
    GATEWAY = "by the gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class HopStep:
    """A node's next hop for a peer changed."""

    at: Span
    next_hop: NextHop
    """Afterwards."""
    kind: CauseKind
    """What is to blame where there is no cloud route then."""
    is_sure: bool
    """Whether it is known that this peer's route was among those that changed."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTimeline:
    """One node's next hop for one peer."""

    first: NextHop
    """Before the first step."""
    steps: tuple[HopStep, ...]
    """In order of time; each changes something."""


class NextHops:
    """The next hops of all nodes in one run.

    Args:
        history: of the run.
    """

    def __init__(self, history: History) -> None:
        self._zones = {node.name: node.zone for node in history.facts.nodes}
        self._is_native = history.header.start_mode is Mode.NATIVE
        self._is_vxlan = history.header.overlay is Overlay.VXLAN
        told = tuple(history.events_named("calico.repointed", "calico.cleanup_routes"))
        self._events: dict[str, list[tuple[Span, Event]]] = {name: [] for name in self._zones}
        for node, at, event in ((str(event.facts["node"]), span_of(event), event) for event in told):
            self._events.setdefault(node, []).append((at, event))
        self._has_report = bool(told)
        if not told:
            for node, at, event in _suspected(history):
                self._events[node].append((at, event))

    def toward(self, node: str, peer: str) -> HopTimeline:
        """Return by what a node reached a peer."""
        first = now = NextHop.GATEWAY if self._is_native else NextHop.TUNNEL
        steps = []
        for at, event in self._events.get(node, ()):
            step = self._step(node, peer, at, event)
            if step is not None and step.next_hop is not now:
                steps.append(step)
                now = step.next_hop
        return HopTimeline(first=first, steps=tuple(steps))

    def _step(self, node: str, peer: str, at: Span, event: Event) -> HopStep | None:
        facts, is_sure = event.facts, self._has_report
        if "peers" in facts and peer not in facts["peers"]:
            return None
        if event.name == "calico.repointed" and "peers" not in facts and "routes" in facts:
            is_sure = facts["routes"] >= len(self._zones) - 1
        if event.name in ("calico.cleanup_routes", "pod.deleted"):
            if facts.get("removed") == 0:
                return None  # Where nothing was BIRD's the node stays as it is.
            next_hop, kind = NextHop.GATEWAY, CauseKind.CLEANUP_BEFORE_ROUTES
        elif facts.get("mode") == Mode.OVERLAY:
            next_hop, kind = NextHop.TUNNEL, CauseKind.POOL_BEFORE_ROUTES
        else:
            next_hop, kind = self._native(node, peer, str(facts.get("cause", POOL_CHANGED)))
        return HopStep(at=at, next_hop=next_hop, kind=kind, is_sure=is_sure, text=_say(node, event))

    def _native(self, node: str, peer: str, cause: str) -> tuple[NextHop, CauseKind]:
        if cause == EXPIRED:
            return NextHop.GATEWAY, CauseKind.WITHDRAWAL_BEFORE_ROUTES
        has_route = self._zones.get(node) == self._zones.get(peer) and not (self._is_vxlan and cause == POOL_CHANGED)
        return (NextHop.WIRE if has_route else NextHop.GATEWAY), CauseKind.POOL_BEFORE_ROUTES


def _suspected(history: History) -> Iterator[tuple[str, Span, Event]]:
    """Yield what must have happened on nodes that tell nothing: the pool reached them, their pod was replaced."""
    ready = {str(event.facts["node"]): event.t_ns for event in history.events_named("pod.ready")}
    names = {node.name for node in history.facts.nodes}
    is_native = history.header.end_mode is Mode.NATIVE
    for event in history.events:
        if event.name == "manifest.applied" and event.facts.get("kind") == Kind.IP_POOL and event.facts.get("mode"):
            at = make_span(event.t_ns - LEAD_NS, event.t_ns + LAG_NS)
            yield from ((name, at, event) for name in sorted(names))
        elif event.name == "pod.deleted" and is_native and event.facts.get("node") in names:
            name = str(event.facts["node"])
            yield name, make_span(event.t_ns - LEAD_NS, max(event.t_ns, ready.get(name, event.t_ns + LAG_NS))), event


def _say(node: str, event: Event) -> str:
    facts = event.facts
    if event.name == "manifest.applied":
        return f"the pool said {facts.get('mode')}"
    if event.name == "pod.deleted":
        return f"the roll of {node}"
    if event.name == "calico.cleanup_routes":
        return f"cleanup-routes on {node}"
    return f"{node} re-pointed to {facts.get('mode')} ({facts.get('cause')})"

"""The main candidates: a packet is sent to the gateway, and the gateway has no route for it.

Two timelines meet: the sending node's next hop for the peer, and the route to the peer's podCIDR in the table of the sending
node's zone. The path is broken while the first says gateway and the second says missing; the later step is the cause. If the
time of a step is known only by bounds, the path may be broken from its earliest time on, or until its latest. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Final

from analysis.bounds import START, Interval, make_interval
from analysis.causes.candidates import MUST, Candidate, CauseKind, KernelCounter
from analysis.cloud_routes import CloudRoutes, RouteStep
from analysis.route_history import NextHop, RouteHistory, RouteTimeline, Trigger
from hitless.faults import NODE_ROUTE_LOST
from hitless.history import History
from hitless.words import Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of one of the two timelines."""

    at: Interval
    is_hop: bool
    """Whether it is one of the node's next hop; else of the cloud route."""
    is_bad: bool
    """Whether the node sends by the gateway afterwards, or the cloud has no route."""
    kind: CauseKind
    """The cause if this step broke the path."""
    is_sure: bool
    text: str


NO_ROUTE: Final = "IpExt.InNoRoutes"
GAP_NS_MAX: Final = Nanoseconds(100_000_000)
"""If re-pointing took longer, its time is too uncertain for a gap. Source: mechanics 4.3, microseconds a route."""
_MAYBE: Final = 0.3
"""Prior if the change of this peer's route is only inferred, or the cloud routes are unknown."""
_KINDS: Final = {
    Trigger.REPOINTED: CauseKind.POOL_BEFORE_ROUTES,
    Trigger.CLEANED: CauseKind.CLEANUP_BEFORE_ROUTES,
    Trigger.WITHDRAWN: CauseKind.WITHDRAWAL_BEFORE_ROUTES,
}
"""The cause if there is no cloud route once a node's next hop has changed."""


class RouteCandidates:
    """The route candidates of one run.

    Args:
        routers: namespaces with counters that are neither nodes nor endpoints.
    """

    def __init__(self, history: History, hops: RouteHistory, routes: CloudRoutes, routers: frozenset[str]) -> None:
        self._nodes = {node.name: node for node in history.facts.nodes}
        self._hops, self._routes = hops, routes
        self._reason = KernelCounter(name=NO_ROUTE, places=routers) if routers else None

    def toward(self, node: str, peer: str, address: str) -> Iterator[Candidate]:
        """Yield the times in which what `node` sent to an address of `peer`'s pods found no cloud route."""
        is_covered = _is_covered(address, self._nodes[peer].pod_cidr)
        hops, (is_missing, cloud_steps) = self._hops.toward(node, peer), self._routes.toward(self._nodes[node].zone, peer)
        if not is_covered or not self._routes.is_visible:
            is_missing, cloud_steps = True, ()
        is_bad = {True: hops.first is NextHop.GATEWAY, False: is_missing}
        began: Step | None = None
        before = START
        for step in _merge(hops, cloud_steps, is_sure=not self._hops.is_inferred):
            is_bad[step.is_hop] = step.is_bad
            is_broken = all(is_bad.values())
            if is_broken and began is None:
                # Where two steps overlap in time, both hold from the later one on.
                began = replace(step, at=step.at.later(before))
            elif began is not None and not is_broken:
                yield self._trouble(node, peer, began, step, is_covered=is_covered)
                began = None
            elif step.is_hop and not step.is_bad and is_bad[False] and step.at.length_ns <= GAP_NS_MAX:
                # A route is replaced by deleting and adding it: a packet in between finds only the default route.
                yield self._trouble(node, peer, replace(step, is_sure=False), step, is_covered=is_covered)
            if step.is_bad:
                before = step.at
        if began is not None:
            yield self._trouble(node, peer, began, None, is_covered=is_covered)

    def _trouble(self, node: str, peer: str, began: Step, ended: Step | None, *, is_covered: bool) -> Candidate:
        zone = self._nodes[node].zone
        route, text = f"route of zone {zone} to {peer}", f"{node} sent to {peer} through the gateway, and"
        is_known = self._routes.is_visible or not is_covered
        is_sure = is_known and began.is_sure and (ended is None or ended.is_sure)
        kind = began.kind
        if not is_covered:
            kind, route, text = CauseKind.POD_OUTSIDE_CIDR, f"pods of {peer}", f"{text} no cloud route covers its pod's address"
        elif is_known:
            text = f"{text} zone {zone} had no route to it"
        else:
            text = f"{text} the route table of zone {zone} is not visible"
        return Candidate(
            kind=kind,
            subject=f"{NODE_ROUTE_LOST}: {route}" if kind is CauseKind.FAULT else route,
            text=text,
            began=began.at if ended is None else _until(began.at, ended.at),
            ended=None if ended is None else ended.at,
            begin_text=began.text,
            end_text="" if ended is None else ended.text,
            is_end_free=not is_known,
            prior=MUST if is_sure else _MAYBE,
            counter=self._reason,
        )


def _merge(hops: RouteTimeline, cloud_steps: Iterable[RouteStep], *, is_sure: bool) -> list[Step]:
    """Return the steps of both timelines in order of time; `is_sure`: the node told of its own."""
    steps = []
    for step in hops.steps:
        is_bad, kind = step.next_hop is NextHop.GATEWAY, _KINDS[step.trigger]
        steps.append(Step(at=step.at, is_hop=True, is_bad=is_bad, kind=kind, is_sure=is_sure, text=step.text))
    for change in cloud_steps:
        kind = CauseKind.FAULT if change.is_fault else CauseKind.ROUTE_DELETED
        steps.append(Step(at=change.at, is_hop=False, is_bad=change.is_missing, kind=kind, is_sure=True, text=change.text))
    return sorted(steps, key=lambda step: step.at.earliest_ns if step.is_bad else step.at.latest_ns)


def _is_covered(address: str, cidr: str) -> bool:
    """Return whether a cloud route to a podCIDR reaches an address; True if they cannot be compared."""
    if not cidr or not address or (":" in cidr) != (":" in address):
        return True
    return ip_address(address) in ip_network(cidr)


def _until(began: Interval, ended: Interval) -> Interval:
    """Return the bounds of the beginning of something that had ended by then."""
    return make_interval(began.earliest_ns, min(began.latest_ns, ended.latest_ns))

"""Candidates on the path between two nodes: no cloud route, a strict reverse path filter, no tunnel device, too large a packet.

**No cloud route.** Two timelines meet: the sending node's next hop for the peer, and the route to the peer's podCIDR in the
table of the sending node's zone. The path is broken while the first says gateway and the second says missing; the later step
is the cause. If the time of a step is known only by bounds, the path may be broken from its earliest time on, or until its
latest.

**Tunnel.** A strict filter at its other end and a missing device last as long as the modes differ (or as the sender
encapsulates). In that time only a counter at the receiver shows whether they drop packets, because making the filter strict or
removing the device leaves no event. If the filter of the whole cluster is strict, the change of mode itself began it. Source:
mechanics 4.5.

**Size.** A packet may not fit into the tunnel, or through a node's interface whose MTU was lowered. What the kernel does with
it depends on its direction and on the encapsulation: docs/mechanics.md 4.6. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final

from analysis.bounds import START, Interval, make_interval
from analysis.causes.candidates import (
    MUST,
    Candidate,
    CauseKind,
    Condition,
    InjectedFault,
    KernelCounter,
    find_times,
    list_faults,
)
from analysis.cloud_routes import CloudRoutes, TableStep
from analysis.route_history import NextHop, RouteHistory, RouteStep, Trigger
from hitless.faults import MTU_LOWERED, NODE_ROUTE_LOST
from hitless.history import History
from hitless.words import Nanoseconds, Overlay

Step = RouteStep | TableStep
"""A step of one of the two timelines: of the node's next hop, or of the cloud's route."""
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
    """The route candidates of one run. `routers` are the namespaces with counters that are neither nodes nor endpoints."""

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
        needs_route = hops.first is NextHop.GATEWAY
        began: Step | None = None
        before = START
        steps: list[Step] = [*hops.steps, *cloud_steps]
        for step in sorted(steps, key=lambda step: step.at.earliest_ns if _breaks(step) else step.at.latest_ns):
            if isinstance(step, TableStep):
                is_missing = step.is_missing
            else:
                needs_route = _breaks(step)
            if needs_route and is_missing and began is None:
                # Where two steps overlap in time, both hold from the later one on.
                began = replace(step, at=step.at.later(before))
            elif began is not None and not (needs_route and is_missing):
                yield self._trouble(node, peer, began, step, is_covered=is_covered)
                began = None
            elif is_missing and not _breaks(step) and step.at.length_ns <= GAP_NS_MAX:
                # A route is replaced by deleting and adding it: a packet in between finds only the default route.
                yield self._trouble(node, peer, step, step, is_covered=is_covered)
            if _breaks(step):
                before = step.at
        if began is not None:
            yield self._trouble(node, peer, began, None, is_covered=is_covered)

    def _trouble(self, node: str, peer: str, began: Step, ended: Step | None, *, is_covered: bool) -> Candidate:
        zone = self._nodes[node].zone
        route, text = f"route of zone {zone} to {peer}", f"{node} sent to {peer} through the gateway, and"
        is_known = self._routes.is_visible or not is_covered
        is_inferred = self._hops.is_inferred and any(isinstance(step, RouteStep) for step in (began, ended))
        is_sure = is_known and not is_inferred and began is not ended
        kind = _kind_of(began)
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


def _breaks(step: Step) -> bool:
    """Return whether the node sends by the gateway after a step, or the cloud has no route."""
    return step.is_missing if isinstance(step, TableStep) else step.next_hop is NextHop.GATEWAY


def _kind_of(step: Step) -> CauseKind:
    """Return the cause if this step broke the path."""
    if isinstance(step, TableStep):
        return CauseKind.FAULT if step.is_fault else CauseKind.ROUTE_DELETED
    return _KINDS[step.trigger]


def _is_covered(address: str, cidr: str) -> bool:
    """Return whether a cloud route to a podCIDR reaches an address; True if they cannot be compared."""
    if not cidr or not address or (":" in cidr) != (":" in address):
        return True
    return ip_address(address) in ip_network(cidr)


def _until(began: Interval, ended: Interval) -> Interval:
    """Return the bounds of the beginning of something that had ended by then."""
    return make_interval(began.earliest_ns, min(began.latest_ns, ended.latest_ns))


REVERSE_PATH: Final = "TcpExt.IPReversePathFilter"
NO_PORTS: Final = "Udp.NoPorts"
STRICT: Final = 1
"""rp_filter. Source: Linux Documentation/networking/ip-sysctl.rst."""
_COUNTED: Final = 1.0
"""Prior of a candidate that a counter decides: neutral."""
_UNCOUNTED: Final = 0.5
"""Prior of a candidate of which only the end is known. Chosen here."""
"""The fault that lowers the MTU of a node's interface. Its event names node and octets in `options`."""
TOO_BIG: Final = "Ip.FragFails"
REFUSED: Final = "Link.InDrops"
IPIP: Final = "ipip"
"""Carrier of the kernel's IPIP."""
HEADERS: Final = {IPIP: 20, "vxlan-gpe": 36, "vxlan": 50}
"""Octets that a carrier adds to an IP packet. Source: RFC 2003 3, RFC 7348 5; VXLAN-GPE carries IP without Ethernet."""


class HopCandidates:
    """The candidates of one run at the nodes' next hops."""

    def __init__(self, history: History, hops: RouteHistory) -> None:
        self._hops, self._history = hops, history
        self._is_strict = history.facts.rp_filter == STRICT
        self._is_vxlan = history.header.overlay is Overlay.VXLAN
        self._tunnel_mtu = history.facts.overlay_pod_mtu
        self._carrier = history.facts.carrier
        self._lowered = tuple(fault for fault in list_faults(history) if fault.name == MTU_LOWERED)

    def at_tunnel(self, node: str, peer: str) -> Iterator[Candidate]:
        """Yield the times in which what `node` sent to pods of `peer` may have been dropped there."""
        yield from self._filtered(node, peer)
        yield from self._without_tunnel(node, peer)

    def by_size(self, node: str, peer: str, octets: int) -> Iterator[Candidate]:
        """Yield the times in which packets of that many octets, IP header included, from `node` to `peer` did not fit."""
        yield from self._into_the_tunnel(node, peer, octets)
        for fault in self._lowered:
            yield from self._through(fault, node, peer, octets)

    def _filtered(self, node: str, peer: str) -> Iterator[Candidate]:
        moved = self._history.moved(REVERSE_PATH, [peer])
        if moved == 0 or (moved is None and not self._is_strict):
            return
        for began, ended in find_times(self._hops, node, peer, _differ):
            yield Candidate(
                kind=CauseKind.REVERSE_PATH_FILTER,
                subject=f"rp_filter of {peer}",
                text=f"{node} and {peer} were in different modes: {peer} received packets on one device and answers by another",
                began=began,
                ended=ended,
                begin_text="their modes began to differ",
                end_text="their modes were the same again",
                is_begin_free=not self._is_strict,
                is_end_free=not self._is_strict,
                prior=MUST if self._is_strict else _COUNTED,
                counter=self._count(REVERSE_PATH, peer),
            )

    def _without_tunnel(self, node: str, peer: str) -> Iterator[Candidate]:
        moved = self._history.moved(NO_PORTS, [peer])
        if moved == 0 or (moved is None and not self._is_vxlan):
            return
        # Without a counter only Felix is known to remove the device, once the pool no longer encapsulates.
        for began, ended in find_times(self._hops, node, peer, _encapsulates if moved else _encapsulates_alone):
            yield Candidate(
                kind=CauseKind.TUNNEL_GONE,
                subject=f"tunnel device of {peer}",
                text=f"{node} encapsulated for {peer}, which may have had no tunnel device",
                began=began,
                ended=ended,
                begin_text=f"{node} encapsulated" if moved else f"{peer} stopped encapsulating",
                end_text=f"{node} stopped encapsulating",
                is_begin_free=True,
                is_end_free=True,
                prior=_COUNTED if moved else _UNCOUNTED,
                counter=self._count(NO_PORTS, peer),
            )

    def _into_the_tunnel(self, node: str, peer: str, octets: int) -> Iterator[Candidate]:
        """Source: mechanics 4.6, native to overlay is the dangerous direction."""
        if not 0 < self._tunnel_mtu < octets:
            return
        for began, ended in find_times(self._hops, node, peer, _encapsulates):
            yield Candidate(
                kind=CauseKind.TOO_LARGE,
                subject=f"packets of {octets} octets",
                text=f"{node} sent packets of {octets} octets to {peer} through a tunnel with an MTU of {self._tunnel_mtu}",
                began=began,
                ended=ended,
                begin_text=f"{node} encapsulated",
                end_text=f"{node} stopped encapsulating",
                counter=self._count(TOO_BIG, node),
            )

    def _through(self, fault: InjectedFault, node: str, peer: str, octets: int) -> Iterator[Candidate]:
        """Yield the times in which the interface of a node refused such packets."""
        place, mtu = fault.options["node"], fault.options["octets"]
        is_too_large, is_wrapped_too_large = octets > mtu, octets + HEADERS.get(self._carrier, 0) > mtu
        sent = f"{node} sent packets of {octets} octets to {peer}"
        refusals: list[tuple[KernelCounter | None, Condition]] = []
        if place == peer:
            counter = self._count(REFUSED, peer)
            refusals.append((counter, lambda here, _: is_wrapped_too_large if here is NextHop.TUNNEL else is_too_large))
        elif place == node:
            refusals.append((self._count(TOO_BIG, node), lambda here, _: is_too_large and here is not NextHop.TUNNEL))
            if self._carrier == IPIP:
                refusals.append((None, lambda here, _: is_wrapped_too_large and here is NextHop.TUNNEL))
        for counter, is_refused in refusals:
            for hop_began, hop_ended in find_times(self._hops, node, peer, is_refused):
                began, ended = hop_began.later(fault.began), _earlier(hop_ended, fault.ended)
                if ended is not None and ended.latest_ns < began.earliest_ns:
                    continue
                yield Candidate(
                    kind=CauseKind.TOO_LARGE,
                    subject=f"interface of {place}",
                    text=f"{sent}; the interface of {place} took {mtu}, headers included",
                    began=began,
                    ended=ended,
                    begin_text=f"fault.injected {fault.name}" if began == fault.began else f"{node} changed its next hop",
                    end_text=f"fault.cured {fault.name}" if ended == fault.ended else f"{node} changed its next hop",
                    counter=counter,
                )

    def _count(self, name: str, node: str) -> KernelCounter | None:
        places = frozenset({node})
        return None if self._history.moved(name, places) is None else KernelCounter(name=name, places=places)


def _differ(here: NextHop, there: NextHop) -> bool:
    return (here is NextHop.TUNNEL) is not (there is NextHop.TUNNEL)


def _encapsulates(here: NextHop, _there: NextHop) -> bool:
    return here is NextHop.TUNNEL


def _encapsulates_alone(here: NextHop, there: NextHop) -> bool:
    return here is NextHop.TUNNEL and there is not NextHop.TUNNEL


def _earlier(one: Interval | None, other: Interval | None) -> Interval | None:
    if one is None or other is None:
        return one or other
    return make_interval(min(one.earliest_ns, other.earliest_ns), min(one.latest_ns, other.latest_ns))

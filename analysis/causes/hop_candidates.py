"""Candidates at the next hops of two nodes: a strict reverse path filter, a missing tunnel device, packets that do not fit.

**Tunnel.** A strict filter at its other end and a missing device last as long as the modes differ (or as the sender
encapsulates). In that time only a counter at the receiver shows whether they drop packets, because making the filter strict or
removing the device leaves no event. If the filter of the whole cluster is strict, the change of mode itself began it. Source:
mechanics 4.5.

**Size.** A packet may not fit into the tunnel, or through a node's interface whose MTU was lowered. The size decides, so small
probes pass. What the kernel does with a packet that sets DF and is larger than the MTU of a node's interface depends on its
direction and on the encapsulation (mechanics 4.6):

- Toward the node, the interface drops the frame before IP sees it; the sender gets no ICMP message. `Link.InDrops` counts it.
- Away from it, not encapsulated: IP refuses to forward it, and the pod gets "fragmentation needed". `Ip.FragFails` counts it.
- Away from it, encapsulated: VXLAN's outer packet does not set DF, so it is cut in two and nothing is lost. IPIP copies DF, so
  the tunnel drops the packet, and the pod gets "fragmentation needed"; no counter of IP moves.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analysis.bounds import Interval, make_interval
from analysis.causes.candidates import (
    MUST,
    Candidate,
    CauseKind,
    Condition,
    InjectedFault,
    KernelCounter,
    encapsulates,
    find_times,
    list_faults,
)
from analysis.route_history import NextHop, RouteHistory
from hitless.faults import MTU_LOWERED
from hitless.history import History
from hitless.words import Overlay

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
        for began, ended in find_times(self._hops, node, peer, encapsulates if moved else _encapsulates_alone):
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
        for began, ended in find_times(self._hops, node, peer, encapsulates):
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


def _encapsulates_alone(here: NextHop, there: NextHop) -> bool:
    return here is NextHop.TUNNEL and there is not NextHop.TUNNEL


def _earlier(one: Interval | None, other: Interval | None) -> Interval | None:
    if one is None or other is None:
        return one or other
    return make_interval(min(one.earliest_ns, other.earliest_ns), min(one.latest_ns, other.latest_ns))

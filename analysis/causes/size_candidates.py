"""Candidates for packets that do not fit: into the tunnel, or through a node's interface whose MTU was lowered.

The size decides, so small probes pass. What the kernel does with a packet that sets DF and is larger than the MTU of a node's
interface depends on its direction and on the encapsulation (mechanics 4.6):

- Toward the node, the interface drops the frame before IP sees it; no ICMP message tells the sender. `Link.InDrops` counts it.
- Away from it, not encapsulated: IP refuses to forward it and tells the pod. `Ip.FragFails` counts it.
- Away from it, encapsulated: VXLAN's outer packet does not set DF, so it is cut in two and nothing is lost. IPIP copies DF, so
  the tunnel drops the packet and tells the pod; no counter of IP moves.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analysis.causes.broken_times import Condition, InjectedFault, encapsulates, find_times, list_faults
from analysis.causes.candidates import Candidate, CauseKind, KernelCounter
from analysis.causes.moved_counters import MovedCounters
from analysis.interval import Interval, make_interval
from analysis.route_history import NextHop, RouteHistory
from hitless.history import History

MTU_LOWERED: Final = "mtu-lowered"
"""The fault that lowers the MTU of a node's interface. Its event names node and octets in `options`."""
TOO_BIG: Final = "Ip.FragFails"
REFUSED: Final = "Link.InDrops"
IPIP: Final = "ipip"
"""Carrier of the kernel's IPIP."""
HEADERS: Final = {IPIP: 20, "vxlan-gpe": 36, "vxlan": 50}
"""Octets that a carrier adds to an IP packet. Source: RFC 2003 3, RFC 7348 5; VXLAN-GPE carries IP without Ethernet."""


class SizeCandidates:
    """The candidates of one run by the size of packets."""

    def __init__(self, history: History, hops: RouteHistory, moved: MovedCounters) -> None:
        self._hops, self._moved = hops, moved
        self._tunnel_mtu = history.facts.overlay_pod_mtu
        self._carrier = history.facts.carrier
        self._lowered = tuple(fault for fault in list_faults(history) if fault.name == MTU_LOWERED)

    def toward(self, node: str, peer: str, octets: int) -> Iterator[Candidate]:
        """Yield the times in which packets of that many octets, IP header included, from `node` to `peer` did not fit."""
        yield from self._into_the_tunnel(node, peer, octets)
        for fault in self._lowered:
            for counter, is_refused in self._refusals(fault, node, peer, octets):
                yield from self._through(fault, node, peer, octets, counter, is_refused)

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

    def _refusals(
        self, fault: InjectedFault, node: str, peer: str, octets: int
    ) -> Iterator[tuple[KernelCounter | None, Condition]]:
        """Yield the ways in which the interface refuses such packets: what counts them, and while which next hops."""
        place, mtu = fault.options["node"], fault.options["octets"]
        is_too_large = octets > mtu
        is_wrapped_too_large = octets + HEADERS.get(self._carrier, 0) > mtu
        if place == peer:
            counter = self._count(REFUSED, peer)
            yield counter, lambda here, _: is_wrapped_too_large if here is NextHop.TUNNEL else is_too_large
        elif place == node:
            yield self._count(TOO_BIG, node), lambda here, _: is_too_large and here is not NextHop.TUNNEL
            if self._carrier == IPIP:
                yield None, lambda here, _: is_wrapped_too_large and here is NextHop.TUNNEL

    def _through(
        self, fault: InjectedFault, node: str, peer: str, octets: int, counter: KernelCounter | None, is_refused: Condition
    ) -> Iterator[Candidate]:
        place, mtu = fault.options["node"], fault.options["octets"]
        for hop_began, hop_ended in find_times(self._hops, node, peer, is_refused):
            began, ended = _later(hop_began, fault.began), _earlier(hop_ended, fault.ended)
            if ended is not None and ended.latest_ns < began.earliest_ns:
                continue
            yield Candidate(
                kind=CauseKind.TOO_LARGE,
                subject=f"interface of {place}",
                text=f"{node} sent packets of {octets} octets to {peer}; the interface of {place} took {mtu}, headers included",
                began=began,
                ended=ended,
                begin_text=f"fault.injected {fault.name}" if began == fault.began else f"{node} changed its next hop",
                end_text=f"fault.cured {fault.name}" if ended == fault.ended else f"{node} changed its next hop",
                counter=counter,
            )

    def _count(self, name: str, node: str) -> KernelCounter | None:
        places = frozenset({node})
        return None if self._moved.of(name, places) is None else KernelCounter(name=name, places=places)


def _later(one: Interval, other: Interval) -> Interval:
    return make_interval(max(one.earliest_ns, other.earliest_ns), max(one.latest_ns, other.latest_ns))


def _earlier(one: Interval | None, other: Interval | None) -> Interval | None:
    if one is None or other is None:
        return one or other
    return make_interval(min(one.earliest_ns, other.earliest_ns), min(one.latest_ns, other.latest_ns))

"""Candidates at the tunnel: a strict reverse path filter at its other end, a missing tunnel device, packets that do not fit.

The first two last as long as the modes differ (or as the sender encapsulates). In that time only a counter at the receiver
tells whether they drop packets, because making the filter strict or removing the device leaves no event. If the filter of the
whole cluster is strict, the change of mode itself began it. Source: mechanics 4.5, 4.6. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from analysis.causes.candidates import MUST, Candidate, CauseKind, KernelCounter
from analysis.causes.moved_counters import MovedCounters
from analysis.interval import Interval, make_interval
from analysis.route_history import NextHop, RouteHistory, RouteStep
from hitless.history import History
from hitless.words import Overlay

REVERSE_PATH: Final = "TcpExt.IPReversePathFilter"
NO_PORTS: Final = "Udp.NoPorts"
TOO_BIG: Final = "Ip.FragFails"
STRICT: Final = 1
"""rp_filter. Source: Linux Documentation/networking/ip-sysctl.rst."""
_COUNTED: Final = 1.0
"""Prior of a candidate that a counter decides: neutral."""
_UNCOUNTED: Final = 0.5
"""Prior of a candidate of which only the end is known. Chosen here."""

Condition = Callable[[NextHop, NextHop], bool]
"""Takes a node's next hop for a peer and the peer's for the node; returns whether the path is broken."""


class TunnelCandidates:
    """The tunnel candidates of one run."""

    def __init__(self, history: History, hops: RouteHistory, moved: MovedCounters) -> None:
        self._hops, self._moved = hops, moved
        self._is_strict = history.facts.rp_filter == STRICT
        self._tunnel_mtu = history.facts.overlay_pod_mtu
        self._is_vxlan = history.header.overlay is Overlay.VXLAN

    def toward(self, node: str, peer: str) -> Iterator[Candidate]:
        """Yield the times in which what `node` sent to pods of `peer` may have been dropped there."""
        yield from self._filtered(node, peer)
        yield from self._without_tunnel(node, peer)

    def _filtered(self, node: str, peer: str) -> Iterator[Candidate]:
        moved = self._moved.of(REVERSE_PATH, [peer])
        if moved == 0 or (moved is None and not self._is_strict):
            return
        for began, ended in self._times(node, peer, _differ):
            yield Candidate(
                kind=CauseKind.REVERSE_PATH_FILTER,
                subject=f"rp_filter of {peer}",
                text=f"{node} and {peer} were in different modes: {peer} received packets on another device than it answers by",
                began=began,
                ended=ended,
                begin_text="their modes began to differ",
                end_text="their modes were the same again",
                is_begin_free=not self._is_strict,
                is_end_free=not self._is_strict,
                prior=MUST if self._is_strict else _COUNTED,
                counter=None if moved is None else KernelCounter(name=REVERSE_PATH, places=frozenset({peer})),
            )

    def _without_tunnel(self, node: str, peer: str) -> Iterator[Candidate]:
        moved = self._moved.of(NO_PORTS, [peer])
        if moved == 0 or (moved is None and not self._is_vxlan):
            return
        # Without a counter only Felix is known to remove the device, once the pool no longer encapsulates.
        for began, ended in self._times(node, peer, _encapsulates if moved else _encapsulates_alone):
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
                counter=None if moved is None else KernelCounter(name=NO_PORTS, places=frozenset({peer})),
            )

    def too_large(self, node: str, peer: str, octets: int) -> Iterator[Candidate]:
        """Yield the times in which packets of that many octets, IP header included, did not fit into the tunnel.

        Source: mechanics 4.6, native to overlay is the dangerous direction.
        """
        if not 0 < self._tunnel_mtu < octets:
            return
        moved = self._moved.of(TOO_BIG, [node])
        for began, ended in self._times(node, peer, _encapsulates):
            yield Candidate(
                kind=CauseKind.TOO_LARGE,
                subject=f"packets of {octets} octets",
                text=f"{node} sent packets of {octets} octets to {peer} through a tunnel with an MTU of {self._tunnel_mtu}",
                began=began,
                ended=ended,
                begin_text=f"{node} encapsulated",
                end_text=f"{node} stopped encapsulating",
                counter=None if moved is None else KernelCounter(name=TOO_BIG, places=frozenset({node})),
            )

    def _times(self, node: str, peer: str, is_broken: Condition) -> Iterator[tuple[Interval, Interval | None]]:
        """Yield when a condition began and ceased to hold; if it held from the start, it began at the run's start."""
        here, there = self._hops.toward(node, peer), self._hops.toward(peer, node)
        now = [here.first, there.first]
        began = make_interval(0, 0) if is_broken(*now) else None
        steps: list[tuple[RouteStep, int]] = [(step, 0) for step in here.steps] + [(step, 1) for step in there.steps]
        for step, side in sorted(steps, key=lambda entry: (entry[0].at.latest_ns, entry[0].at.earliest_ns)):
            now[side] = step.next_hop
            if is_broken(*now) and began is None:
                began = step.at
            elif began is not None and not is_broken(*now):
                yield began, step.at
                began = None
        if began is not None:
            yield began, None


def _differ(here: NextHop, there: NextHop) -> bool:
    return (here is NextHop.TUNNEL) is not (there is NextHop.TUNNEL)


def _encapsulates(here: NextHop, _there: NextHop) -> bool:
    return here is NextHop.TUNNEL


def _encapsulates_alone(here: NextHop, there: NextHop) -> bool:
    return here is NextHop.TUNNEL and there is not NextHop.TUNNEL

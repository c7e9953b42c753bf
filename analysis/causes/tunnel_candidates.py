"""Candidates at the tunnel: a strict reverse path filter at its other end, a missing tunnel device.

Both last as long as the modes differ (or as the sender encapsulates). In that time only a counter at the receiver
tells whether they drop packets, because making the filter strict or removing the device leaves no event. If the filter of the
whole cluster is strict, the change of mode itself began it. Source: mechanics 4.5. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analysis.causes.broken_times import encapsulates, find_times
from analysis.causes.candidates import MUST, Candidate, CauseKind, KernelCounter
from analysis.causes.moved_counters import MovedCounters
from analysis.route_history import NextHop, RouteHistory
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


class TunnelCandidates:
    """The tunnel candidates of one run."""

    def __init__(self, history: History, hops: RouteHistory, moved: MovedCounters) -> None:
        self._hops, self._moved = hops, moved
        self._is_strict = history.facts.rp_filter == STRICT
        self._is_vxlan = history.header.overlay is Overlay.VXLAN

    def toward(self, node: str, peer: str) -> Iterator[Candidate]:
        """Yield the times in which what `node` sent to pods of `peer` may have been dropped there."""
        yield from self._filtered(node, peer)
        yield from self._without_tunnel(node, peer)

    def _filtered(self, node: str, peer: str) -> Iterator[Candidate]:
        moved = self._moved.of(REVERSE_PATH, [peer])
        if moved == 0 or (moved is None and not self._is_strict):
            return
        for began, ended in find_times(self._hops, node, peer, _differ):
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
                counter=None if moved is None else KernelCounter(name=NO_PORTS, places=frozenset({peer})),
            )


def _differ(here: NextHop, there: NextHop) -> bool:
    return (here is NextHop.TUNNEL) is not (there is NextHop.TUNNEL)


def _encapsulates_alone(here: NextHop, there: NextHop) -> bool:
    return here is NextHop.TUNNEL and there is not NextHop.TUNNEL

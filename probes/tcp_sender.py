"""The sender of TCP flows: one message or connection per flow and tick, and its outcome.

To the agent it is what `probes.sender.Sender` is for datagrams: the same ticks, the same rows in the same places. The
difference is below: every flow has one or more sockets and gets their events through one epoll, which the agent treats like one
more socket.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from hitless.errors import attempting
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.namespaces import Place
from probes.recording import GrowingTable
from probes.settings import AgentSettings
from probes.tcp_connect import TcpConnectFlow
from probes.tcp_established import TcpEstablishedFlow
from probes.tcp_socket import PATIENCE_NS, TcpFlow, Tools, allow_open_files, connections_max, make_socket
from probes.ticked_sender import TickedSender

_EVENTS_MAX: Final = 16
_OFFERS_MAX: Final = 8
"""Sockets served, and probes offered, in one turn of the loop: each takes about 50 us, and a tick of datagrams must not wait
for all."""
_LOOK_NS: Final = 5_000_000
"""Least time between two checks of the clock by flows."""


class TcpSender(TickedSender):
    """Sends and records the TCP flows of the agent's endpoints."""

    def __init__(
        self,
        settings: AgentSettings,
        bridge: Bridge,
        skipped: GrowingTable,
        connections: GrowingTable,
        facts: dict[str, Any],
    ) -> None:
        super().__init__(settings, bridge, skipped, facts)
        flows = settings.sent_flows
        self._tools = Tools(
            interval_ns=settings.interval_ns,
            patience_ns=max(PATIENCE_NS, settings.drain_ns),
            bridge=bridge,
            table=self._table,
            connections=connections,
            counters=self.counters,
            note_call=self._note_call,
        )
        self.descriptor = self._tools.epoll.fileno()
        allow_open_files(sum(connections_max(flow.flow_class, settings.interval_ns, self._tools.patience_ns) for flow in flows))
        endpoints = {endpoint.name: endpoint for endpoint in settings.endpoints}
        self._places = {name: Place(endpoints[name].namespace) for name in dict.fromkeys(flow.source for flow in flows)}
        for name, place in self._places.items():
            address, where = endpoints[name].address, endpoints[name].namespace or "the current namespace"
            with attempting(f"open TCP {address} in {where}"), place.inside():  # a socket as later ones will be made
                make_socket(address).close()
        self._flows: tuple[TcpFlow, ...] = tuple(
            (TcpConnectFlow if flow.flow_class is FlowClass.TCP_CONNECT else TcpEstablishedFlow)(
                flow, index, self._tools, self._places[flow.source]
            )
            for index, flow in enumerate(flows)
        )
        self._to_offer: deque[TcpFlow] = deque()
        """The rest of the tick that is being sent."""
        self._looked_ns = 0
        self._has_hung_up = False

    def start(self, start_ns: int) -> int:
        """Open the connections that are to last, and draw the phase; no tick is due before `start_ns` (run clock)."""
        now_ns = self.now_ns()
        for flow in self._flows:
            flow.start(now_ns)
        return super().start(start_ns)

    def step(self) -> None:
        """Send the tick that is due, if any, and handle events of the connections."""
        if not self._to_offer and self._is_tick_due(self.now_ns()):
            self._to_offer.extend(self._flows)
        if self._to_offer:
            self._offer(_OFFERS_MAX)
        self.collect()

    @property
    def due_ns(self) -> int | None:
        """Time of the next probe, run clock; None: no sender."""
        return 0 if self._to_offer and self._pacer is not None else super().due_ns

    def stop(self) -> None:
        """Finish the tick, and offer nothing more."""
        self._offer(len(self._to_offer))
        super().stop()

    def collect(self) -> None:
        """Handle events of the connections, and work that is due."""
        owners = self._tools.owners
        for descriptor, _ in self._tools.epoll.poll(0, _EVENTS_MAX):
            owner = owners.get(descriptor)
            if owner is not None:
                owner.serve(descriptor)
        now_ns = self.now_ns()
        if self.is_started and not self._has_hung_up and now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            for flow in self._flows:
                flow.look(now_ns)

    def hang_up(self) -> None:
        """Close the connections. Later events of their other ends are not recorded."""
        now_ns = self.now_ns()
        for flow in self._flows:
            flow.finish(now_ns)
        self._has_hung_up = True

    def finish(self) -> None:
        """Close the connections and the records."""
        self.hang_up()
        for place in self._places.values():
            place.close()
        self._tools.epoll.close()
        self._tools.connections.close()
        super().finish()

    def _offer(self, most: int) -> None:
        """Offer up to `most` probes of the rest of the tick."""
        offered = [self._to_offer.popleft() for _ in range(min(most, len(self._to_offer)))]
        for (place, makes_sockets), flows in groupby(offered, key=attrgetter("place", "makes_sockets")):
            with place.inside() if makes_sockets else nullcontext():
                for flow in flows:
                    flow.offer(self.ticks)
        self.ticks += bool(offered) and not self._to_offer

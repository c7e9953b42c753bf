"""The sender of TCP flows: one message or connection per flow and tick, and its outcome.

To the agent it is what `probes.sender.Sender` is for datagrams: the same ticks, the same rows in the same places. What is
different is underneath: every flow has a socket or many, and hears of each through one epoll, which the agent waits for like
for one more socket.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from hitless.errors import attempting
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.limits import connections_max
from probes.namespaces import Place
from probes.overflows import Watched
from probes.recording import GrowingTable
from probes.settings import AgentSettings, EndpointSettings
from probes.tcp_connect import TcpConnectFlow
from probes.tcp_established import TcpEstablishedFlow
from probes.tcp_flow import TcpFlow, Tools
from probes.tcp_socket import PATIENCE_NS, allow_open_files, make_socket
from probes.ticked_sender import TickedSender

_EVENTS_MAX: Final = 16
_OFFERS_MAX: Final = 8
"""Sockets served, and probes offered, in a turn of the loop: some 50 us each, and a tick of datagrams must not wait for all."""
_LOOK_NS: Final = 5_000_000
"""How often flows look at the clock, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    """Data of one source for a tick."""

    place: Place
    flows: tuple[TcpFlow, ...]
    makes_sockets: bool
    """Whether its flows make sockets when they offer."""


class TcpSender(TickedSender):
    """Sends and records the TCP flows of the agent's endpoints.

    Args:
        settings: of the agent.
        bridge: converts the kernel's receive times.
        skipped: where skipped ticks are recorded.
        connections: the log of connections and their outcomes.
        facts: go into the header of the record.

    Raises:
        WorldError: a namespace, an address, enough descriptors or the record file is not available.
    """

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
        self.watched: tuple[Watched, ...] = ()
        """Datagram sockets, for the count of their drops: a connection drops nothing."""
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
        self._pods = self._make_pods()
        self._to_offer: deque[tuple[_Pod, TcpFlow]] = deque()
        """What is left of the tick that is being sent."""
        self._looked_ns = 0
        self._has_hung_up = False

    def _make_pods(self) -> tuple[_Pod, ...]:
        endpoints = {endpoint.name: endpoint for endpoint in self._settings.endpoints}
        sent = tuple(enumerate(self._settings.sent_flows))
        pods = []
        for name in dict.fromkeys(flow.source for _, flow in sent):
            place = Place(endpoints[name].namespace)
            _try_address(endpoints[name], place)
            mine = [(index, flow) for index, flow in sent if flow.source == name]
            flows = tuple(
                TcpConnectFlow(flow, index, self._tools)
                if flow.flow_class is FlowClass.TCP_CONNECT
                else TcpEstablishedFlow(flow, index, self._tools, place)
                for index, flow in mine
            )
            makes_sockets = any(flow.flow_class is FlowClass.TCP_CONNECT for _, flow in mine)
            pods.append(_Pod(place=place, flows=flows, makes_sockets=makes_sockets))
        return tuple(pods)

    def start(self, start_ns: int) -> int:
        """Open the connections that are to last, and draw the phase; no tick is due before `start_ns` (run clock)."""
        now_ns = self.now_ns()
        for pod in self._pods:
            for flow in pod.flows:
                flow.start(now_ns)
        return super().start(start_ns)

    def step(self) -> None:
        """Send the tick that is due, if any, and handle events of the connections."""
        if not self._to_offer and self._is_tick_due(self.now_ns()):
            self._begin_tick()
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
            for pod in self._pods:
                for flow in pod.flows:
                    flow.look(now_ns)

    def hang_up(self) -> None:
        """Close the connections. Later events of their other ends are not recorded."""
        now_ns = self.now_ns()
        for pod in self._pods:
            for flow in pod.flows:
                flow.finish(now_ns)
        self._has_hung_up = True

    def finish(self) -> None:
        """Close the connections and the records."""
        self.hang_up()
        for pod in self._pods:
            pod.place.close()
        self._tools.epoll.close()
        self._tools.connections.close()
        super().finish()

    def _begin_tick(self) -> None:
        self._to_offer.extend((pod, flow) for pod in self._pods for flow in pod.flows)

    def _offer(self, most: int) -> None:
        """Offer up to `most` probes of what is left of the tick."""
        offered = [self._to_offer.popleft() for _ in range(min(most, len(self._to_offer)))]
        for pod, flows in groupby(offered, key=itemgetter(0)):
            with pod.place.inside() if pod.makes_sockets else nullcontext():
                for _, flow in flows:
                    flow.offer(self.ticks)
        self.ticks += bool(offered) and not self._to_offer


def _try_address(endpoint: EndpointSettings, place: Place) -> None:
    """Make a socket as later ones will be made. Raises WorldError: none is available."""
    where = endpoint.namespace or "the current namespace"
    with attempting(f"open TCP {endpoint.address} in {where}"), place.inside():
        make_socket(endpoint.address).close()

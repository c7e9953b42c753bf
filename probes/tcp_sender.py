"""The sender of TCP flows: a message or a connection a flow and tick, and what becomes of each.

To the agent it is what `probes.sender.Sender` is for datagrams: the same ticks, the same rows in the same places. What is
different is underneath: every flow has a socket or many, and hears of each through one epoll, which the agent waits for like
for one more socket.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np

from hitless.errors import WorldError
from hitless.records import SKIPPED_ROW
from hitless.words import FlowClass
from probes.clocks import Bridge
from probes.limits import connections_max
from probes.namespaces import Place
from probes.overflows import Watched
from probes.pacing import Pacer, Wake
from probes.probe_book import LIVE_WINDOW_NS, ProbeBook
from probes.recording import GrowingTable, SenderTable
from probes.settings import AgentSettings, EndpointSettings
from probes.tcp_connect import TcpConnectFlow
from probes.tcp_established import TcpEstablishedFlow
from probes.tcp_flow import TcpFlow, Tools
from probes.tcp_socket import PATIENCE_NS, allow_open_files, make_socket

_EVENTS_MAX: Final = 16
_OFFERS_MAX: Final = 8
"""Sockets served, and probes offered, in a turn of the loop: some 50 us each, and a tick of datagrams must not wait for all."""
_LOOK_NS: Final = 5_000_000
"""How often flows look at the clock, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    """What a tick needs of one source."""

    place: Place
    flows: tuple[TcpFlow, ...]
    makes_sockets: bool
    """Whether its flows make sockets when they offer."""


class TcpSender:
    """Sends and records the TCP flows of the agent's endpoints.

    Args:
        settings: what the agent was told.
        bridge: converts the kernel's receive times.
        skipped: where skipped ticks are recorded.
        connections: where it is recorded what became of connections.
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
        self._settings, self._skipped = settings, skipped
        flows = settings.sent_flows
        ids = np.array([flow.id for flow in flows], dtype=np.uint32)
        table = SenderTable(settings.directory / f"{settings.agent}.sender", ids, settings.ticks_max, facts)
        self.counters: Counter[str] = Counter()
        self.lateness_ns_max = 0
        """How much later than due the latest tick was sent; skipped ones are another matter."""
        self.ticks = 0
        """Ticks sent: the seq of the next one."""
        self.is_started = False
        """Whether it was told when to send."""
        self.watched: tuple[Watched, ...] = ()
        """Datagram sockets, for the count of their drops: a connection drops nothing."""
        self._book = ProbeBook(table, len(flows), bridge)
        self._tools = Tools(
            epoch_ns=settings.epoch_ns,
            interval_ns=settings.interval_ns,
            patience_ns=max(PATIENCE_NS, settings.drain_ns),
            bridge=bridge,
            book=self._book,
            connections=connections,
            counters=self.counters,
        )
        self.descriptor = self._tools.epoll.fileno()
        """Readable when a connection has something to say."""
        allow_open_files(sum(connections_max(flow.flow_class, settings.interval_ns, self._tools.patience_ns) for flow in flows))
        self._pods = self._make_pods()
        self._pacer: Pacer | None = None
        self._to_offer: deque[tuple[_Pod, TcpFlow]] = deque()
        """What is left of the tick that is being sent."""
        self._looked_ns = 0
        self._has_hung_up = False
        self._live_window = 4 * settings.live_answers + LIVE_WINDOW_NS // settings.interval_ns

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
                else TcpEstablishedFlow(flow, index, place, self._tools)
                for index, flow in mine
            )
            makes_sockets = any(flow.flow_class is FlowClass.TCP_CONNECT for _, flow in mine)
            pods.append(_Pod(place=place, flows=flows, makes_sockets=makes_sockets))
        return tuple(pods)

    @property
    def longest_call_ns(self) -> int:
        """Longest time that one probe took to be sent since it was last set to 0."""
        return self._tools.longest_call_ns

    @longest_call_ns.setter
    def longest_call_ns(self, value: int) -> None:
        self._tools.longest_call_ns = value

    def now_ns(self) -> int:
        """Return the present on the run clock."""
        return self._tools.now_ns()

    def start(self, start_ns: int) -> int:
        """Open the connections that are to last, and draw the phase; no tick is due before `start_ns` (run clock).

        Returns:
            When the first tick is due, run clock.
        """
        now_ns = self.now_ns()
        for pod in self._pods:
            for flow in pod.flows:
                flow.start(now_ns)
        self._pacer = Pacer(self._settings.interval_ns, start_ns, self._settings.phase_seed)
        self.is_started = True
        return self._pacer.due_ns

    def step(self) -> None:
        """Send the tick that is due, if one is, and follow what happened on the connections."""
        if self._pacer is not None and not self._to_offer:
            now_ns, due_ns = self.now_ns(), self._pacer.due_ns
            wake = self._pacer.look(now_ns)
            self._record_skipped(wake, now_ns)
            if wake.is_due and not self.is_exhausted:
                late_ns = now_ns - due_ns - wake.skipped_ns[1] * self._settings.interval_ns
                self.lateness_ns_max = max(self.lateness_ns_max, late_ns)
                self._begin_tick()
        if self._to_offer:
            self._offer(_OFFERS_MAX)
        self.collect()

    @property
    def due_ns(self) -> int | None:
        """When there is something to send, run clock; None: it does not send."""
        if self._pacer is None:
            return None
        return 0 if self._to_offer else self._pacer.due_ns

    def stop(self) -> None:
        """Finish the tick, and offer nothing more."""
        self._offer(len(self._to_offer))
        self._pacer = None

    @property
    def is_exhausted(self) -> bool:
        """Whether every tick that `duration_ns_max` allows was sent."""
        return self.ticks >= self._settings.ticks_max

    def is_live(self) -> bool:
        """Return whether every flow was answered `live_answers` times in a row lately."""
        return self._book.is_live(self.ticks, self._settings.live_answers, self._live_window)

    def has_outstanding(self) -> bool:
        """Return whether a probe of the last `drain_ns` still waits for its answer."""
        return self._book.has_outstanding(self.ticks, self._settings.drain_ns // self._settings.interval_ns + 2)

    def collect(self) -> None:
        """Follow what happened on the connections, and what is due by the clock."""
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
        """Close the connections. What their other ends do later is the end of the run, and is not recorded."""
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
        self.counters.update(self._book.finish(self.ticks))
        self.counters["ticks"] = self.ticks
        self.counters["lateness_ns_max"] = self.lateness_ns_max
        self._skipped.close()
        self._tools.connections.close()

    def _record_skipped(self, wake: Wake, now_ns: int) -> None:
        first_ns, count = wake.skipped_ns
        if count:
            self.counters["ticks_skipped"] += count
            rows = np.zeros(count, dtype=SKIPPED_ROW)
            rows["due"] = first_ns + np.arange(count) * self._settings.interval_ns
            rows["woke"] = now_ns
            self._skipped.append(rows)

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
    try:
        with place.inside():
            make_socket(endpoint.address).close()
    except OSError as error:
        message = f"cannot open TCP {endpoint.address} in {endpoint.namespace or 'the current namespace'}: {error.strerror}"
        raise WorldError(message) from error

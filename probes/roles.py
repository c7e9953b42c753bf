"""One agent: sends, reflects, or both, and keeps the record.

An agent has its own record: the flows of one protocol, one interval and one size, so that a tick is a batch. A
process holds any number of agents (`probes.agent`), which share its loop and its clock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hitless.records import CLOCK_ROW, STRAYS
from probes.clocks import Bridge, Pair, read_clock_id
from probes.inner_loop import INNER_LOOP
from probes.overflows import OverflowWatch
from probes.recording import GrowingTable, write_report
from probes.reflector import Reflector
from probes.sender import Sender
from probes.settings import AgentSettings

if TYPE_CHECKING:
    from probes.acceptor import Acceptor
    from probes.tcp_sender import TcpSender

COUNTERS: Final = (*STRAYS, "receive_overflows", "answered", "sent", "probes")
"""Counters that a report always has; `hitless.records.AgentReport` says what they are."""


class Roles:
    """The roles of one agent.

    Args:
        settings: of the agent.
        bridge: converts the kernel's receive times; its process renews it.

    Raises:
        WorldError: a socket or a record file is not available.
    """

    def __init__(self, settings: AgentSettings, bridge: Bridge) -> None:
        self.settings = settings
        self._facts = {
            "agent": settings.agent,
            "epoch_ns": settings.epoch_ns,
            "interval_ns": settings.interval_ns,
            "clock": read_clock_id(),
        }
        self._clock = self._make_table("clock")
        self.note(bridge.pair)
        self.reflector: Reflector | None = None
        self.acceptor: Acceptor | None = None
        if settings.reflected_flows:
            log, is_tcp = self._make_table("reflector"), {flow.flow_class.is_tcp for flow in settings.reflected_flows}
            self.reflector = Reflector(settings, bridge, log) if False in is_tcp else None
            if True in is_tcp:
                from probes.acceptor import Acceptor  # noqa: PLC0415 - most agents have no TCP flows

                self.acceptor = Acceptor(settings, bridge, log)
        self.sender = self._make_sender(bridge)
        self.overflows = OverflowWatch(
            self.sender.watched if self.sender else (),
            self.reflector.watched if self.reflector else (),
            self._make_table("overflow"),
            bridge.now_ns(),
        )

    def _make_table(self, table: str) -> GrowingTable:
        return GrowingTable(self.settings.directory / f"{self.settings.agent}.{table}", table, self._facts)

    def _make_sender(self, bridge: Bridge) -> Sender | TcpSender | None:
        """Return the sender of this agent's flows, which are all datagrams of one class, or all TCP."""
        settings = self.settings
        if not settings.sent_flows:
            return None
        skipped = self._make_table("skipped")
        if settings.sent_class is None:
            from probes.tcp_sender import TcpSender  # noqa: PLC0415 - most agents have no TCP flows

            return TcpSender(settings, bridge, skipped, self._make_table("connection"), self._facts)
        return Sender(settings, bridge, skipped, self._facts)

    def note(self, pair: Pair) -> None:
        """Record a pair of clock readings."""
        self._clock.append(np.array([(pair.monotonic_ns, pair.wall_ns, pair.width_ns)], dtype=CLOCK_ROW))

    def report(self, now_ns: int, process: dict[str, int]) -> None:
        """Close everything, and return the counts.

        Args:
            now_ns: run clock.
            process: counters of the process, for the report of one of its agents.
        """
        counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        counters["receive_overflows"] = self.overflows.close(now_ns)
        parts: tuple[Any, ...] = (self.sender, self.reflector, self.acceptor)
        for part in parts:
            if part:
                part.finish()
                counters.update(part.counters)
        counters.update(process)
        write_report(self.settings.directory, self.settings.agent, counters, inner_loop=INNER_LOOP)

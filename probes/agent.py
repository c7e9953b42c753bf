"""The probe agents of one process: `python -m probes.agent SETTINGS.json...`.

A settings file describes an agent, which sends, reflects, or both, and has a record of its own: the flows of one protocol, one
interval and one size, so that a tick is a batch. One process holds the agents of a pod, or of all pods of a lab, of any role:
what is sent to a pod of the same process is answered in the same turn of its loop.

It reports on stdout, one JSON line each, that it is `listening`, `live` (every flow answered several times in a row) and
`stopped`. It stops on SIGTERM, at the end of a stdin that is a pipe, by an order on that pipe (`OrderKind`), or on its own
after `duration_ns_max`: then it sends nothing more and listens until everything is answered or `drain_ns` is over. It ignores
SIGINT, so that Ctrl-C reaches only the harness. Ships into pods: standard library and numpy only.

If many processes stop one after the other, the last probes of one would be lost when the reflector of another ends. So a
process that may linger reports `drained` when it has all its answers, and keeps reflecting until a second SIGTERM or the order
to end, for `linger_ns` at most.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitless.errors import HitlessError, UsageError
from hitless.records import CLOCK_ROW, STRAYS
from probes.acceptor import Acceptor
from probes.clocks import Bridge, Pair, read_clock_id
from probes.inner_loop import INNER_LOOP
from probes.lifeline import OrderKind, OrderReader, cpu_counters, is_pipe, say
from probes.recording import GrowingTable, write_report
from probes.reflector import Reflector
from probes.sender import Sender
from probes.settings import AgentSettings, read_settings
from probes.sockets import LOOK_NS, OverflowWatch
from probes.tcp_sender import TcpSender

_LOOK_S: Final = 0.1
"""Longest wait of the loop, for the clock pairs and for the answers to slow flows."""
_DRAIN_LOOK_S: Final = 0.005
_LIVE_LOOK_NS: Final = 20_000_000
"""Time between two checks whether all flows are live, until they are."""
_GATHER_SHARE: Final = 20
_GATHER_NS_MAX: Final = 200_000
"""After waking, a reflector waits a twentieth of an interval, at most this, for the rest of the tick: one batch then has more
answers. Receive times are the kernel's, so this adds to round trips only."""
_PR_SET_TIMERSLACK: Final = 29
"""Source: linux/prctl.h."""
_NICE: Final = -10
"""Nice value if real-time priority is not permitted: a tick should not wait for a compiler."""
_REAL_TIME_S: Final = (2, 10)
"""After this time without a pause the kernel sends SIGXCPU, and the process gives up real time; after the second value the
kernel would kill it. Source: getrlimit(2) RLIMIT_RTTIME."""
_libc = ctypes.CDLL(None, use_errno=True)
COUNTERS: Final = (*STRAYS, "receive_overflows", "answered", "sent", "probes")
"""Counters that a report always has; `hitless.records.AgentReport` says what they are."""


class Roles:
    """The roles of one agent, and its record. Raises WorldError: a socket or a record file is not available."""

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
            self.acceptor = Acceptor(settings, bridge, log) if True in is_tcp else None
        self.sender: Sender | TcpSender | None = None
        if settings.sent_flows:
            skipped = self._make_table("skipped")
            if settings.sent_class is None:
                self.sender = TcpSender(settings, bridge, skipped, self._make_table("connection"), self._facts)
            else:
                self.sender = Sender(settings, bridge, skipped, self._facts)
        self.overflows = OverflowWatch(
            self.sender.watched if self.sender else (),
            self.reflector.watched if self.reflector else (),
            self._make_table("overflow"),
            bridge.now_ns(),
        )

    def _make_table(self, table: str) -> GrowingTable:
        return GrowingTable(self.settings.directory / f"{self.settings.agent}.{table}", table, self._facts)

    def note(self, pair: Pair) -> None:
        """Record a pair of clock readings."""
        self._clock.append(np.array([(pair.monotonic_ns, pair.wall_ns, pair.width_ns)], dtype=CLOCK_ROW))

    def report(self, now_ns: int, process: dict[str, int]) -> None:
        """Close everything, and write the report with these counters of the process."""
        counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        counters["receive_overflows"] = self.overflows.close(now_ns)
        parts: tuple[Any, ...] = (self.sender, self.reflector, self.acceptor)
        for part in parts:
            if part:
                part.finish()
                counters.update(part.counters)
        counters.update(process)
        write_report(self.settings.directory, self.settings.agent, counters, inner_loop=INNER_LOOP)


class Process:
    """The loop: one epoll over the reflectors' sockets, the connections, SIGTERM and stdin, and the time of the next tick.

    A tick has priority. In a namespace of the same kernel its probes have arrived when the call that sends them
    returns, so that the same wake-up answers them. The process stops with the first agent that has reached its end.
    """

    def __init__(self, settings: Sequence[AgentSettings]) -> None:
        self._bridge = Bridge(settings[0].epoch_ns)
        self._now_ns = self._bridge.now_ns
        self._agents = tuple(Roles(one, self._bridge) for one in settings)
        self._senders = tuple(agent.sender for agent in self._agents if agent.sender)
        self._acceptors = tuple(agent.acceptor for agent in self._agents if agent.acceptor)
        self._reflectors = tuple(agent.reflector for agent in self._agents if agent.reflector)
        self._reflecting = frozenset(one for reflector in self._reflectors for one in reflector.descriptors)
        self._drain_ns = max(one.drain_ns for one in settings)
        self._linger_ns = max(one.linger_ns for one in settings)
        self._waits = any(one.waits for one in settings)
        gathers = not self._senders and any(reflector.comes_in_batches for reflector in self._reflectors)
        interval_ns = min(one.interval_ns for one in settings)
        self._gather_s = min(interval_ns // _GATHER_SHARE, _GATHER_NS_MAX) / 1e9 if gathers else 0.0
        self._epoll = select.epoll()
        self._waiting = (self._epoll.fileno(),)
        self._stop_pipe = _catch_sigterm()
        parts = [part.descriptor for part in (*self._senders, *self._acceptors) if part.descriptor is not None]
        for descriptor in (self._stop_pipe, *self._reflecting, *parts):
            self._epoll.register(descriptor, select.EPOLLIN)
        if is_pipe(0):
            self._epoll.register(0, select.EPOLLIN | select.EPOLLHUP)
        self._orders = OrderReader()
        self._wakeups = self._looked_ns = 0
        self._stop_ns = self._now_ns() + min(one.duration_ns_max for one in settings)
        self._is_stopping = self._is_ending = False

    def run(self) -> None:
        """Probe until the order to stop, drain, write the reports."""
        gc.collect()
        gc.freeze()
        gc.disable()
        used_before = cpu_counters()
        say("listening")
        if not self._waits:
            self._start_ticking(self._now_ns())
        looked_ns, is_live = 0, not self._senders
        while not self._is_over():
            self._turn(min(_LOOK_S, max(0, self._stop_ns - self._now_ns()) / 1e9))
            if not is_live and self._now_ns() - looked_ns > _LIVE_LOOK_NS:
                looked_ns = self._now_ns()
                is_live = all(sender.is_live() for sender in self._senders)
                if is_live:
                    say("live")
        end_ns = self._now_ns() + self._linger_ns
        self._drain()
        self._linger(end_ns)
        self._report(used_before)
        say("stopped")

    def _is_over(self) -> bool:
        if self._is_stopping or self._now_ns() >= self._stop_ns:
            return True
        return any(sender.is_exhausted for sender in self._senders)

    def _turn(self, timeout_s: float) -> None:
        """Wait for a descriptor, the next tick, or the end of the time, and handle it: ticks first.

        `select` waits for the epoll, because Python's `epoll.poll` counts in whole milliseconds.
        """
        dues_ns = [sender.due_ns for sender in self._senders if sender.due_ns is not None]
        if dues_ns:
            timeout_s = min(timeout_s, max(0, min(dues_ns) - self._now_ns()) / 1e9)
        select.select(self._waiting, (), (), timeout_s)
        self._wakeups += 1
        for sender in self._senders:
            sender.step()
        ready = [descriptor for descriptor, _ in self._epoll.poll(0)]
        if ready:
            self._serve(ready)
        for acceptor in self._acceptors:
            acceptor.step()
        self._look()

    def _serve(self, ready: list[int]) -> None:
        """Handle these descriptors; senders and acceptors check their own."""
        if self._stop_pipe in ready:
            self._hear_signals()
        if 0 in ready:
            self._hear_stdin()
        if self._reflecting.isdisjoint(ready):
            return
        if self._gather_s:
            time.sleep(self._gather_s)
            ready = [descriptor for descriptor, _ in self._epoll.poll(0)]
        for reflector in self._reflectors:
            reflector.reflect(ready)

    def _look(self) -> None:
        """Do the work that is due."""
        now_ns = self._now_ns()
        if now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        for agent in self._agents:
            agent.overflows.look(now_ns)
        if self._bridge.is_due(now_ns):
            self._note(max((sender.longest_call_ns for sender in self._senders), default=0))
            for sender in self._senders:
                sender.longest_call_ns = 0

    def _hear_signals(self) -> None:
        """Handle SIGTERM: the first means stop, a second means end. Other signals have their own handlers."""
        for number in os.read(self._stop_pipe, 64):
            if number == signal.SIGTERM:
                self._is_ending = self._is_stopping
                self._is_stopping = True

    def _hear_stdin(self) -> None:
        """Follow the orders that have arrived; a pipe at its end stays readable and would wake the loop forever."""
        content = os.read(0, 4096)
        if not content:  # the process that gives orders has ended
            self._is_stopping = self._is_ending = True
            self._epoll.unregister(0)
        for order in self._orders.feed(content):
            match order.kind:
                case OrderKind.SEND:
                    self._start_ticking(max(order.at_ns, self._now_ns()))
                case OrderKind.STOP:
                    self._stop_ns = min(self._stop_ns, order.at_ns)
                case OrderKind.END:
                    self._is_stopping = self._is_ending = True

    def _start_ticking(self, start_ns: int) -> None:
        """Send from `start_ns` on; a second order has no effect."""
        for sender in self._senders:
            if not sender.is_started:
                sender.start(start_ns)

    def _drain(self) -> None:
        """Send nothing more; listen until everything is answered or `drain_ns` is over."""
        end_ns = self._now_ns() + self._drain_ns
        for sender in self._senders:
            sender.stop()
            sender.collect()
        while any(sender.has_outstanding() for sender in self._senders) and self._now_ns() < end_ns:
            self._turn(_DRAIN_LOOK_S)
            for sender in self._senders:
                sender.collect()
        # Before the process lingers: acceptors of processes that end sooner close their side.
        for sender in self._senders:
            sender.hang_up()

    def _linger(self, end_ns: int) -> None:
        """Keep reflecting for agents that have not stopped yet."""
        if not (self._reflectors or self._acceptors) or not self._linger_ns:
            return
        say("drained")
        while not self._is_ending and self._now_ns() < end_ns:
            self._turn(min(_LOOK_S, max(0, end_ns - self._now_ns()) / 1e9))

    def _report(self, used_before: dict[str, int]) -> None:
        """Close everything and write the reports; the process's resource use is in that of its first agent."""
        process = {name: used - used_before[name] for name, used in cpu_counters().items()} | {"wakeups": self._wakeups}
        self._note(0)
        for agent in self._agents:
            agent.report(self._now_ns(), process if agent is self._agents[0] else dict.fromkeys(process, 0))

    def _note(self, longest_call_ns: int) -> None:
        pair = self._bridge.renew(longest_call_ns)
        for agent in self._agents:
            agent.note(pair)


def main(arguments: list[str]) -> int:
    """Run agents; return the exit code: 0, or that of the error's class (2 for settings that are wrong)."""
    if not arguments:
        sys.stderr.write("usage: python -m probes.agent SETTINGS.json...\n")
        return 2
    try:
        settings = [read_settings(Path(argument)) for argument in arguments]
        check_shared(settings)
        _prepare_process()
        Process(settings).run()
    except HitlessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def check_shared(settings: Sequence[AgentSettings]) -> None:
    """Check what the agents of a process must share. Raises UsageError."""
    names = [one.agent for one in settings]
    if len({one.epoch_ns for one in settings}) > 1:
        raise UsageError(where="settings", place="epoch_ns", found="several", expected="one for all agents of a process")
    if len(set(names)) < len(names):
        raise UsageError(where="settings", place="agent", found=", ".join(names), expected="a different name for each agent")


def _prepare_process() -> None:
    """Ignore Ctrl-C; request exact timers and, if permitted, the lowest real-time priority, bounded, or else more CPU time.

    Measured with three busy loops on two cores: 1 to 4 % of the ticks late without real-time priority, none with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    soft_us, hard_us = (limit_s * 1_000_000 for limit_s in _REAL_TIME_S)
    signal.signal(signal.SIGXCPU, lambda _number, _frame: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)))
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft_us, hard_us))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except (OSError, ValueError):
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def _catch_sigterm() -> int:
    """Return a descriptor that becomes readable on SIGTERM."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    return reader


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

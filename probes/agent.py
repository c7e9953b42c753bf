"""The probe agent: `python -m probes.agent SETTINGS.json`.

One process holds the sockets of any number of pods, as sender, reflector or both. It says on stdout, a JSON line each, when
it is `listening`, `live` (every flow was answered several times in a row) and `stopped`, writes its record below the
directory that it was told, and stops on SIGTERM, at the end of a stdin that is a pipe, by an order on that pipe
(`probes.orders`), or on its own after `duration_ns_max`: then it sends nothing more and listens until everything is answered
or `drain_ns` is over. It ignores SIGINT, so that Ctrl-C reaches the harness alone. Ships alone into a pod: standard library
and numpy only.

Where both roles of many agents stop one after the other, the last probes of the one would be lost with the other's
reflector. So an agent that may linger says `drained` when it has all its answers, and goes on reflecting until a second
SIGTERM or the order to end, for `linger_ns` at most.
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
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitless.errors import HitlessError
from hitless.records import CLOCK_ROW, STRAYS
from hitless.words import FlowClass
from probes.acceptor import Acceptor
from probes.clocks import Bridge, Pair, read_clock_id
from probes.echo import EchoSender
from probes.inner_loop import INNER_LOOP
from probes.lifeline import is_pipe, say
from probes.orders import EndOrder, OrderReader, SendOrder, StopOrder
from probes.overflows import OverflowWatch
from probes.recording import GrowingTable, write_report
from probes.reflector import Reflector
from probes.sender import Sender
from probes.settings import AgentSettings, read_settings
from probes.tcp_sender import TcpSender

COUNTERS: Final = (*STRAYS, "receive_overflows", "answered", "sent", "probes")
"""Counters that a report always has; `hitless.records.AgentReport` says what they are."""
_LOOK_S: Final = 0.1
"""The loop looks up at least so often, for the clock pairs and for the answers to slow flows."""
_DRAIN_LOOK_S: Final = 0.005
_LIVE_LOOK_NS: Final = 20_000_000
"""How often it is asked whether all flows are live, until they are."""
_GATHER_SHARE: Final = 20
_GATHER_NS_MAX: Final = 200_000
"""A woken reflector waits a twentieth of an interval, at most this, for the rest of the tick: it answers more in one batch.
Receive times are the kernel's, so this adds to round trips only."""
_PR_SET_TIMERSLACK: Final = 29
"""Source: linux/prctl.h."""
_NICE: Final = -10
"""Where real time is not allowed but this is: a tick should not wait for a compiler."""
_REAL_TIME_S: Final = (2, 10)
"""After so long without a pause the kernel sends SIGXCPU, and we step back; after the second it would end us. Source:
getrlimit(2) RLIMIT_RTTIME."""

_libc = ctypes.CDLL(None, use_errno=True)


class Agent:
    """The loop: one epoll over the timer, the reflector's sockets, the connections, SIGTERM and stdin.

    Args:
        settings: what the agent was told.

    Raises:
        WorldError: a socket or a record file is not available.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._bridge = Bridge(settings.epoch_ns)
        facts = {
            "agent": settings.agent,
            "epoch_ns": settings.epoch_ns,
            "interval_ns": settings.interval_ns,
            "clock": read_clock_id(),
        }
        self._clock = self._make_table("clock", facts)
        self._note(self._bridge.pair)
        self._reflector: Reflector | None = None
        self._acceptor: Acceptor | None = None
        if settings.reflected_flows:
            log, is_tcp = self._make_table("reflector", facts), {flow.flow_class.is_tcp for flow in settings.reflected_flows}
            self._reflector = Reflector(settings, self._bridge, log) if False in is_tcp else None
            self._acceptor = Acceptor(settings, self._bridge, log) if True in is_tcp else None
        self._sender = self._make_sender(facts)
        self._overflows = OverflowWatch(
            self._sender.watched if self._sender else (),
            self._reflector.watched if self._reflector else (),
            self._make_table("overflow", facts),
            self._now_ns(),
        )
        gathers = self._reflector is not None and self._reflector.comes_in_batches and not self._sender
        self._gather_s = min(settings.interval_ns // _GATHER_SHARE, _GATHER_NS_MAX) / 1e9 if gathers else 0.0
        self._epoll = select.epoll()
        self._waiting = (self._epoll.fileno(),)
        self._descriptors = frozenset(self._reflector.descriptors if self._reflector else ())
        for descriptor in self._descriptors:
            self._epoll.register(descriptor, select.EPOLLIN)
        for part in (self._sender, self._acceptor):
            if isinstance(part, TcpSender | Acceptor):
                self._epoll.register(part.descriptor, select.EPOLLIN)
        self._stop_pipe = _catch_sigterm()
        self._epoll.register(self._stop_pipe, select.EPOLLIN)
        if is_pipe(0):
            self._epoll.register(0, select.EPOLLIN | select.EPOLLHUP)
        self._orders = OrderReader()
        self._wakeups = 0
        self._stop_ns = self._now_ns() + settings.duration_ns_max
        self._is_stopping = self._is_ending = False

    def _make_table(self, table: str, facts: dict[str, Any]) -> GrowingTable:
        return GrowingTable(self._settings.directory / f"{self._settings.agent}.{table}", table, facts)

    def _make_sender(self, facts: dict[str, Any]) -> Sender | TcpSender | None:
        """Return what sends this agent's flows: they are all datagrams of one class, or all TCP."""
        settings = self._settings
        if not settings.sent_flows:
            return None
        skipped = self._make_table("skipped", facts)
        if settings.sent_class is None:
            return TcpSender(settings, self._bridge, skipped, self._make_table("connection", facts), facts)
        kind = EchoSender if settings.sent_class is FlowClass.ICMP else Sender
        return kind(settings, self._bridge, skipped, facts)

    def run(self) -> None:
        """Probe until told to stop, drain, write the report."""
        gc.collect()
        gc.freeze()
        gc.disable()
        used_before = resource.getrusage(resource.RUSAGE_SELF)
        say("listening")
        if not self._settings.waits:
            self._start_ticking(self._now_ns())
        looked_ns, is_live = 0, False
        while not self._is_over():
            self._turn(min(_LOOK_S, max(0, self._stop_ns - self._now_ns()) / 1e9))
            if self._sender and not is_live and self._now_ns() - looked_ns > _LIVE_LOOK_NS:
                looked_ns = self._now_ns()
                is_live = self._sender.is_live()
                if is_live:
                    say("live")
        end_ns = self._now_ns() + self._settings.linger_ns
        self._drain()
        self._linger(end_ns)
        self._report(used_before)
        say("stopped")

    def _is_over(self) -> bool:
        return self._is_stopping or self._now_ns() >= self._stop_ns or bool(self._sender and self._sender.is_exhausted)

    def _turn(self, timeout_s: float) -> None:
        """Wait once, and serve what woke us: the tick first."""
        ready = self._wait(timeout_s)
        self._wakeups += 1
        if self._sender:
            self._sender.step()
        if ready:
            if self._stop_pipe in ready:
                self._hear_signals()
            if 0 in ready:
                self._hear_stdin()
            self._reflect(ready)
        if self._acceptor:
            self._acceptor.step()
        now_ns = self._now_ns()
        if self._overflows.is_due(now_ns):
            self._overflows.look(now_ns)
        if self._bridge.is_due(now_ns):
            longest_ns = self._sender.longest_call_ns if self._sender else 0
            self._note(self._bridge.renew(longest_ns))
            if self._sender:
                self._sender.longest_call_ns = 0

    def _wait(self, timeout_s: float) -> list[int]:
        """Wait for a descriptor, the next tick, or the end of the time; return the descriptors that are ready.

        The epoll itself is waited for by `select`: Python's `epoll.poll` counts in whole milliseconds.
        """
        due_ns = self._sender.due_ns if self._sender else None
        if due_ns is not None:
            wait_s = min(timeout_s, max(0, due_ns - self._now_ns()) / 1e9)
            if not select.select(self._waiting, (), (), wait_s)[0]:
                return []
            timeout_s = 0
        return [descriptor for descriptor, _ in self._epoll.poll(timeout_s)]

    def _reflect(self, ready: list[int]) -> None:
        """Answer the datagrams that have come."""
        if self._reflector and not self._descriptors.isdisjoint(ready):
            if self._gather_s:
                time.sleep(self._gather_s)
                ready = [descriptor for descriptor, _ in self._epoll.poll(0)]
            self._reflector.reflect(ready)

    def _hear_signals(self) -> None:
        """Take note of SIGTERM: the first asks to stop, a second one to end. Other signals have their own handlers."""
        for number in os.read(self._stop_pipe, 64):
            if number == signal.SIGTERM:
                self._is_ending = self._is_stopping
                self._is_stopping = True

    def _hear_stdin(self) -> None:
        """Follow the orders that have come; a pipe at its end stays readable and would wake us without end."""
        content = os.read(0, 4096)
        if not content:  # the process that gives orders is gone
            self._is_stopping = self._is_ending = True
            self._epoll.unregister(0)
        for order in self._orders.feed(content):
            match order:
                case SendOrder(at_ns=at_ns):
                    self._start_ticking(max(at_ns, self._now_ns()))
                case StopOrder(at_ns=at_ns):
                    self._stop_ns = min(self._stop_ns, at_ns)
                case EndOrder():
                    self._is_stopping = self._is_ending = True

    def _start_ticking(self, start_ns: int) -> None:
        """Send from `start_ns` on; being told so twice changes nothing."""
        if self._sender and not self._sender.is_started:
            self._sender.start(start_ns)

    def _drain(self) -> None:
        """Send nothing more; listen until everything is answered or `drain_ns` is over."""
        if not self._sender:
            return
        sender, end_ns = self._sender, self._now_ns() + self._settings.drain_ns
        sender.stop()
        sender.collect()
        while sender.has_outstanding() and self._now_ns() < end_ns:
            self._turn(_DRAIN_LOOK_S)
            sender.collect()

    def _linger(self, end_ns: int) -> None:
        """Reflect on for those who have not stopped yet."""
        if not (self._reflector or self._acceptor) or not self._settings.linger_ns:
            return
        say("drained")
        while not self._is_ending and self._now_ns() < end_ns:
            self._turn(min(_LOOK_S, max(0, end_ns - self._now_ns()) / 1e9))

    def _report(self, used_before: resource.struct_rusage) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._overflows.close(self._now_ns())
        for part in (self._sender, self._reflector, self._acceptor):
            if part:
                part.finish()
                counters.update(part.counters)
        counters["wakeups"] = self._wakeups
        counters["cpu_user_ns"] = round((used.ru_utime - used_before.ru_utime) * 1e9)
        counters["cpu_system_ns"] = round((used.ru_stime - used_before.ru_stime) * 1e9)
        self._note(self._bridge.renew())
        write_report(self._settings.directory, self._settings.agent, counters, inner_loop=INNER_LOOP)

    def _note(self, pair: Pair) -> None:
        self._clock.append(np.array([(pair.monotonic_ns, pair.wall_ns, pair.width_ns)], dtype=CLOCK_ROW))

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._settings.epoch_ns


def main(arguments: list[str]) -> int:
    """Run an agent.

    Returns:
        The exit code: 0, or that of the error's class (2 for settings that are wrong).
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m probes.agent SETTINGS.json\n")
        return 2
    try:
        settings = read_settings(Path(arguments[0]))
        _prepare_process()
        Agent(settings).run()
    except HitlessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _prepare_process() -> None:
    """Ignore Ctrl-C; ask for exact timers and, where it is allowed, for precedence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    if not _take_precedence():
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def _take_precedence() -> bool:
    """Become the least of the real-time processes, bounded, where that is allowed; return whether it was.

    Measured with three busy loops on two cores: 1 to 4 % of the ticks late without it, none with it.
    """
    soft_us, hard_us = (limit_s * 1_000_000 for limit_s in _REAL_TIME_S)
    signal.signal(signal.SIGXCPU, lambda _number, _frame: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)))
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft_us, hard_us))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except (OSError, ValueError):
        return False
    return True


def _catch_sigterm() -> int:
    """Return a descriptor that becomes readable on SIGTERM."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    return reader


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

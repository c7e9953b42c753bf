"""The locustfile of the application load: run by Locust's master and workers, headless, each in its own process.

Locust replaces the standard library's sockets, threads and time-outs by gevent's as soon as it is imported. So hitless
never imports this file; it only names it to `python -m locust -f`, and the settings are in the file that the
environment variable HITLESS_LOAD names.

**Two networks in one process.** A worker's users connect inside their pod, but its messages to the master must not
depend on the path that is being broken, and one more interface in the pod would unbalance the kernel's books. A network
namespace belongs to a thread. ZeroMQ makes its TCP connections in its own thread, which Locust has started, in the
namespace where the worker was started (and where the master listens on loopback), by the time its `init` event fires. Then
the main thread, which all users share, moves into the pod permanently and gives up every privilege.

Users have a schedule (a Pacer, on the run clock): a request that they could not send in time is counted, never
caught up. Every request is on disk when it has ended; Locust's own statistics, which go to the master, only check the count.
"""

# Locust is imported first, so that all later imports get gevent's sockets; the imports of this file are never sorted.
# ruff: noqa: I001
from __future__ import annotations

from locust import User, events, task

import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

import gevent
import gevent.os
import numpy as np

from hitless.errors import HitlessError
from hitless.load import ConnectionUse, RequestOutcome
from hitless.records import REQUEST_ROW
from probes.lifeline import cpu_counters, give_up_privileges, is_pipe, say
from probes.load_settings import LocustSettings, read_locust_settings
from probes.load_user import LoadUser, Request
from probes.namespaces import Place
from probes.lifeline import OrderKind, OrderReader
from probes.ticked_sender import Pacer
from probes.recording import GrowingTable, write_report

SETTINGS_VARIABLE: Final = "HITLESS_LOAD"
COUNTERS: Final = ("requests", "failures", "aborted", "late_ns_max")
"""Of a worker's report; a master's has the first two, as Locust counts them. `late_ns_max`: the longest that a user who was
free began after it was due, which is the load's own lateness."""
_NEVER_S: Final = 3_600.0
"""A user that is to stop waits this long, and is ended while it waits."""
_LOOK_S: Final = 0.02
_QUIT_S: Final = 5.0
"""Time that Locust has to end in order."""


class Process:
    """Common part of master and workers: states, orders, an end."""

    def __init__(self, settings: LocustSettings, states: TextIO, runner: Any) -> None:  # noqa: ANN401 - Locust's
        self.settings, self._runner, self.say = settings, runner, partial(say, stream=states)
        self.counters: Counter[str] = Counter()
        self.is_stopping = False

    def now_ns(self) -> int:
        """Return the time on the run clock."""
        return time.monotonic_ns() - self.settings.epoch_ns

    def watch(self) -> None:
        """Follow orders in the background, and make sure that the process ends."""
        gevent.spawn_later(self.settings.duration_ns_max / 1e9, self.quit)
        if is_pipe(0):
            gevent.spawn(self._follow_orders)

    def quit(self) -> None:
        """End in order; if that takes too long, end at once."""
        gevent.spawn_later(_QUIT_S, os._exit, 1)
        self._runner.quit()

    def finish(self) -> None:
        """Write the report, a master's with what Locust itself has counted over all workers: everything else has ended."""
        if not self.settings.users:
            total = self._runner.stats.total
            self.counters.update(requests=total.num_requests, failures=total.num_failures)
        write_report(self.settings.directory, self.settings.name, {**self.counters, **cpu_counters()})
        self.say("stopped")

    def drain(self, _stop_ns: int) -> None:
        """Begin nothing from that instant on, and report when nothing is under way any more."""
        self.say("drained")

    def _follow_orders(self) -> None:
        orders = OrderReader()
        gevent.os.make_nonblocking(0)
        while content := gevent.os.nb_read(0, 4096):
            for order in orders.feed(content):
                if order.kind is OrderKind.STOP:
                    gevent.spawn(self.drain, order.at_ns)
                else:
                    self.quit()
        self.quit()


class Worker(Process):
    """The users of one pod."""

    def __init__(self, settings: LocustSettings, states: TextIO, runner: Any) -> None:  # noqa: ANN401 - Locust's
        super().__init__(settings, states, runner)
        path, facts = settings.directory / f"{settings.name}.requests", {"worker": settings.name, "epoch_ns": settings.epoch_ns}
        self._file = GrowingTable(path, "requests", facts)
        self._row = np.zeros(1, REQUEST_ROW)
        self.numbers = iter(range(1 << 16))
        """Of new users: peer and way of connecting follow from it."""
        self._answered: set[int] = set()
        self._under_way = 0
        self.counters.update(dict.fromkeys(COUNTERS, 0))

    def make_user(self, number: int) -> LoadUser:
        """Return a user: every second one opens a new connection each time; two consecutive users have the same pod."""
        settings = self.settings
        return LoadUser(
            peer=settings.peers[number // 2 % len(settings.peers)],
            use=ConnectionUse.NEW if number % 2 else ConnectionUse.REUSED,
            body_octets=settings.body_octets,
            timeout_ns=settings.timeout_ns,
            now_ns=self.now_ns,
        )

    def ask(self, number: int, user: LoadUser, due_ns: int, missed: int) -> Request:
        """Have a user send a request, and record every outcome."""

        def record(request: Request) -> None:
            self._under_way -= 1
            self._record(number, user, due_ns, missed, request)

        self._under_way += 1
        request = user.ask(record)
        if request.outcome is RequestOutcome.ANSWERED and number not in self._answered:
            self._answered.add(number)
            if len(self._answered) == self.settings.users:
                self.say("live")
        return request

    def drain(self, stop_ns: int) -> None:
        """Begin no request from that instant on, and report when none is under way any more."""
        gevent.sleep(max(0.0, (stop_ns - self.now_ns()) / 1e9))
        self.is_stopping = True
        while self._under_way:
            gevent.sleep(_LOOK_S)
        # Locust reports each 3 s, and its master waits half a second for the last report, which a busy machine may not keep.
        statistics: dict[str, Any] = {}
        events.report_to_master.fire(client_id=self._runner.client_id, data=statistics)
        self._runner.send_message("stats", statistics)
        self.say("drained")

    def finish(self) -> None:
        """Write the report: the users have ended."""
        self._file.close()
        super().finish()

    def _record(self, number: int, user: LoadUser, due_ns: int, missed: int, request: Request) -> None:
        self.counters["requests"] += 1
        self.counters["failures"] += request.outcome.is_failure
        self.counters["aborted"] += request.outcome is RequestOutcome.ABORTED
        self._row[0] = (
            self.settings.client,
            user.peer.server,
            number,
            user.use,
            request.outcome,
            request.errno,
            request.status,
            request.octets,
            request.nth,
            missed,
            due_ns,
            request.began_ns,
            request.connected_ns,
            request.ended_ns,
        )
        self._file.append(self._row)


class PodUser(User):
    """One user, as Locust knows it."""

    worker: ClassVar[Worker]

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Locust's
        super().__init__(environment)
        self._number = next(self.worker.numbers)
        self._user = self.worker.make_user(self._number)
        self._pacer = Pacer(self.worker.settings.interval_ns, self.worker.now_ns())
        self._ended_ns = self._pacer.due_ns

    def wait_time(self) -> float:
        """Return how long to wait for the next request, s."""
        return _NEVER_S if self.worker.is_stopping else max(0.0, (self._pacer.due_ns - self.worker.now_ns()) / 1e9)

    @task
    def work(self) -> None:
        """Send a request, if one is due."""
        now_ns = self.worker.now_ns()
        due = self._pacer.look(now_ns)
        if due is None or self.worker.is_stopping:
            return
        first_ns, missed = due
        due_ns = first_ns + missed * self._pacer.interval_ns
        if self._ended_ns <= first_ns:
            counters = self.worker.counters
            counters["late_ns_max"] = max(counters["late_ns_max"], now_ns - first_ns)
        request = self.worker.ask(self._number, self._user, due_ns, missed)
        self._ended_ns = request.ended_ns
        failure = RuntimeError(request.outcome.label) if request.outcome.is_failure else None
        self.environment.events.request.fire(
            request_type="GET",
            name=f"{self._user.use.label} {self._user.peer.pod}",
            response_time=(request.ended_ns - request.began_ns) / 1e6,
            response_length=request.octets,
            exception=failure,
            context={},
        )

    def on_stop(self) -> None:
        """Close the connection."""
        self._user.close()


@events.init.add_listener
def begin(environment: Any, runner: Any, **_: Any) -> None:  # noqa: ANN401 - Locust's
    """Become the master or a worker; the RPC connection of Locust is made by now."""
    # Locust's output must not mix with the states.
    states = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the harness handles Ctrl-C
    try:
        settings = read_locust_settings(Path(os.environ[SETTINGS_VARIABLE]))
        process = Process(settings, states, runner)
        if settings.users:
            process = PodUser.worker = Worker(settings, states, runner)
        Place(settings.namespace).enter()
        give_up_privileges()
    except HitlessError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    environment.events.quit.add_listener(lambda **_: process.finish())
    process.watch()
    if settings.users:
        process.say("connected")
    else:
        process.say("listening", port=runner.server.port)

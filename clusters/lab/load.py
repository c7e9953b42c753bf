"""The application load of the lab: an HTTP service for all pods, Locust's master, and a Locust worker for each pod with users.

    harness ──stdin/stdout── service          listening sockets inside the servers' pods
            ├─────────────── master           127.0.0.1:PORT of the harness's own network namespace
            └─────────────── worker (a pod)   users inside the client's pod; its RPC to the master by loopback

All are separate processes that end with the harness (`clusters.lab.stated_process`) and drop their privileges before they work.
The probes, which have real-time priority if that is allowed, take precedence. Locust is configured on its command line alone:
no configuration file or variable of the user reaches it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import probes
from clusters.lab.stated_process import StatedProcess
from hitless.clock import came_true
from hitless.errors import BugError, MissingCapabilityError
from hitless.facts import Endpoint
from hitless.load import LoadRecords, LoadSpec
from hitless.store import read_load, write_spec
from hitless.words import SECOND
from probes.load_settings import LocustSettings, PeerSettings, PlaceSettings, ServiceSettings
from probes.settings import write_document

SERVICE: Final = "service"
MASTER: Final = "master"
LOCUST: Final = "locust"
"""The library's name."""
_SETTINGS_VARIABLE: Final = "HITLESS_LOAD"
"""As probes/locustfile.py reads it; that file cannot be imported."""
_START_S: Final = 40.0
"""For each process. A loaded machine imports Locust in several seconds."""
_STOP_S: Final = 10.0
"""For a process to end, and on top of a request's time for the last answers."""
_EXTRA_NS: Final = 30 * SECOND
"""Master and service live longer than the workers by this."""
_LISTEN_S: Final = 0.2
_CONNECTIONS_A_USER: Final = 4
"""A user has one; connections that it gave up may still be open at the service."""


def has_locust() -> bool:
    """Return whether Locust is installed; it is not imported."""
    return find_spec(LOCUST) is not None


class LabLoad:
    """Implements the Load port; see `hitless.load.Load`. A namespace path of None is the present namespace."""

    def __init__(self, endpoints: Sequence[Endpoint], namespace_path: Callable[[str], str | None]) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._namespace_path = namespace_path
        self._directory: Path | None = None
        self._epoch_ns, self._timeout_s = 0, 0.0
        self._service: StatedProcess | None = None
        self._master: StatedProcess | None = None
        self._workers: list[StatedProcess] = []

    @property
    def processes(self) -> tuple[StatedProcess, ...]:
        """What runs, in the order of starting."""
        return tuple(one for one in (self._service, self._master, *self._workers) if one)

    def start(self, spec: LoadSpec, directory: Path, epoch_ns: int) -> None:
        """Start service and master, then the workers, each once those before listen. Raises WorldError; nothing runs then."""
        if self.processes:
            raise BugError("the load is running: stop it before it starts again")
        if not has_locust():
            raise MissingCapabilityError("Locust is not installed: pip install 'hitless[load]'")
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._epoch_ns, self._timeout_s = directory, epoch_ns, spec.timeout_ns / SECOND
        write_spec(directory, spec)
        try:
            self._service = self._start_service(spec, directory)
            end_ns = spec.duration_ns_max + _EXTRA_NS
            told = LocustSettings(name=MASTER, directory=directory, epoch_ns=epoch_ns, duration_ns_max=end_ns)
            self._master = self._start_locust(told, _master_options(spec))
            self._service.wait_state("listening", _START_S)
            port = self._master.wait_state("listening", _START_S)["port"]
            options = ("--worker", "--master-host", "127.0.0.1", "--master-port", str(port))
            for name in spec.clients:
                self._workers.append(self._start_locust(self._worker_settings(name, spec, directory), options))
            for worker in self._workers:
                worker.wait_state("connected", _START_S)
        except BaseException:
            self.stop()
            raise

    def is_live(self) -> bool:
        """Return whether every user has been answered. Raises WorldError if a process died."""
        for process in self.processes:
            process.listen()
            process.check_alive()
        return bool(self._workers) and all("live" in worker.facts for worker in self._workers)

    def stop(self) -> None:
        """Drain the users, end Locust by its master, then the service. Safe to call twice."""
        stop_ns = time.monotonic_ns() - self._epoch_ns
        for worker in self._workers:
            worker.order(order="stop", at_ns=stop_ns)
        # A worker that has not drained in time is stopped below as well.
        came_true(self._are_drained, timeout_s=self._timeout_s + _STOP_S, poll_s=_LISTEN_S)
        # The master stops the workers and waits for their last statistics.
        for process in (self._master, *self._workers, self._service):
            if process:
                process.stop(_STOP_S)
        self._service = self._master = None
        self._workers = []

    def _are_drained(self) -> bool:
        for worker in self._workers:
            worker.listen()
        return all("drained" in worker.facts or worker.process.poll() is not None for worker in self._workers)

    def collect(self) -> LoadRecords:
        """Return the records; a worker that was killed still gives its rows, with `finished` False."""
        if self._directory is None:
            raise BugError("there are no records: the load was never started")
        return read_load(self._directory)

    def _start_service(self, spec: LoadSpec, directory: Path) -> StatedProcess:
        settings = ServiceSettings(
            name=SERVICE,
            directory=directory,
            body_octets=spec.body_octets,
            connections_max=_CONNECTIONS_A_USER * spec.users,
            duration_ns_max=spec.duration_ns_max + _EXTRA_NS,
            places=tuple(
                PlaceSettings(pod=name, address=self._endpoints[name].address, namespace=self._namespace_path(name))
                for name in spec.servers
            ),
        )
        path = directory / f"{SERVICE}.settings.json"
        write_document(path, settings.as_json())
        return StatedProcess(SERVICE, ("-m", "probes.http_service", str(path)), directory)

    def _worker_settings(self, name: str, spec: LoadSpec, directory: Path) -> LocustSettings:
        node = self._endpoints[name].node
        return LocustSettings(
            name=f"worker-{name}",
            directory=directory,
            epoch_ns=self._epoch_ns,
            namespace=self._namespace_path(name),
            client=spec.clients.index(name),
            peers=tuple(
                PeerSettings(server=place, pod=server, address=self._endpoints[server].address)
                for place, server in enumerate(spec.servers)
                if self._endpoints[server].node != node
            ),
            users=spec.users // len(spec.clients),
            interval_ns=spec.interval_ns,
            body_octets=spec.body_octets,
            timeout_ns=spec.timeout_ns,
            duration_ns_max=spec.duration_ns_max,
        )

    def _start_locust(self, settings: LocustSettings, options: Sequence[str]) -> StatedProcess:
        directory = settings.directory
        path = directory / f"{settings.name}.settings.json"
        write_document(path, settings.as_json())
        # Locust reads ~/.locust.conf, and LOCUST_USERS and the like for every option.
        changes: dict[str, str | None] = dict.fromkeys((name for name in os.environ if name.startswith("LOCUST_")), None)
        changes |= {_SETTINGS_VARIABLE: str(path), "HOME": str(directory)}
        file = Path(probes.__file__).parent / "locustfile.py"
        arguments = ("-m", LOCUST, "-f", str(file), "--exit-code-on-error", "0", *options)
        return StatedProcess(settings.name, arguments, directory, changes)


def _master_options(spec: LoadSpec) -> tuple[str, ...]:
    """Return Locust's options for a master that waits for all workers, then starts all users at once."""
    given = ("master", "headless", "only-summary", "master-bind-host=127.0.0.1", "master-bind-port=0")
    chosen = (f"expect-workers={len(spec.clients)}", f"users={spec.users}", f"spawn-rate={spec.users}")
    return tuple(f"--{option}" for option in (*given, *chosen))

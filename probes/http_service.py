"""The HTTP service of the application load: `python -m probes.http_service SETTINGS.json`.

    GET /answer HTTP/1.1      HTTP/1.1 200 OK
                              Pod: node-a1-mesh
                              Content-Length: 1000

The standard library's `http.server` with one thread per connection; it listens in the network namespaces of any number of pods.
It answers at once, so the time until an answer is that of the network. Connections stay open until the client closes them, asks
for it, or is silent for too long. Connections, bodies, idle time and the life of the process are bounded; `http.server` bounds
heads. Once it listens it has no privilege left. Standard library only, except for what writes its report.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import BoundedSemaphore, Lock
from typing import Any, Final

from hitless.errors import HitlessError, WorldError, attempting
from probes.lifeline import cpu_counters, give_up_privileges, is_pipe, say
from probes.load_settings import PlaceSettings, ServiceSettings, read_service_settings
from probes.namespaces import Place
from probes.recording import write_report
from probes.sockets import family_of, name_port

PATH: Final = "/answer"
POD_HEADER: Final = "Pod"
COUNTERS: Final = ("connections", "refused", "answered", "rejected")
"""Counters of its report: connections accepted, and refused above the limit; requests answered by 200, and by another
status."""
IDLE_S: Final = 60.0
"""A connection is closed after this time without a request; no user pauses longer than 10 s."""
_LOOK_S: Final = 1.0


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: _Listener
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one segment

    def do_GET(self) -> None:
        """Answer with a body of the agreed length."""
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif self.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            octets = self.server.service.body_octets
            self.send_response_only(HTTPStatus.OK)
            self.send_header(POD_HEADER, self.server.pod)
            self.send_header("Content-Length", str(octets))
            self.end_headers()
            self.wfile.write(b"x" * octets)
            self.server.service.count("answered")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request and close the connection, because the following octets may be its body."""
        self.server.service.count("rejected")
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the standard library's signature
        """Log nothing: the report counts."""


class _Listener(ThreadingTCPServer):
    """Listens in one pod. `HTTPServer` would look up the name of its address in DNS."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    timeout = 0

    def __init__(self, place: PlaceSettings, service: HttpService) -> None:
        self.pod, self.service, self.address_family = place.pod, service, family_of(place.address).number
        super().__init__((place.address, place.port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002 - the standard library's signature
        """Return whether another connection is admitted."""
        return self.service.admit()

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.service.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Ignore a broken connection, which the client records; report any other error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class HttpService:
    """Listens in all pods and counts. Raises WorldError: it cannot listen in a pod."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.body_octets = settings.body_octets
        self._settings, self._lock, self._is_stopping = settings, Lock(), False
        self._room = BoundedSemaphore(settings.connections_max)
        self._listeners: list[_Listener] = []
        try:
            for place in settings.places:
                self._listeners.append(self._listen(place))
        except WorldError:
            self.close()
            raise
        self.ports = {listener.pod: int(listener.server_address[1]) for listener in self._listeners}
        """Pod to the port that it listens at."""

    def run(self, lifeline: int | None = None) -> None:
        """Serve until told to stop, until `lifeline` (a pipe; None: none) ends with the harness, or until the time is over."""
        end_s = time.monotonic() + self._settings.duration_ns_max / 1e9
        waiting: list[Any] = [*self._listeners, *([] if lifeline is None else [lifeline])]
        while not self._is_stopping and (left_s := end_s - time.monotonic()) > 0:
            for ready in select.select(waiting, [], [], min(_LOOK_S, left_s))[0]:
                if isinstance(ready, _Listener):
                    ready.handle_request()
                else:
                    self._is_stopping = not os.read(ready, 4096)

    def stop(self) -> None:
        """Make `run` return at its next check; safe in a signal handler."""
        self._is_stopping = True

    def close(self) -> None:
        """Close the listening sockets; open connections end with the process."""
        for listener in self._listeners:
            listener.server_close()

    def count(self, what: str) -> None:
        """Count an event; any thread may."""
        with self._lock:
            self.counters[what] += 1

    def admit(self) -> bool:
        """Return whether a connection is admitted, and count it."""
        has_room = self._room.acquire(blocking=False)
        self.count("connections" if has_room else "refused")
        return has_room

    def release(self) -> None:
        """Count the end of an admitted connection."""
        self._room.release()

    def _listen(self, place: PlaceSettings) -> _Listener:
        name = f"{name_port(place.address, place.port)} in {place.pod}"
        with attempting(f"listen on {name}"), contextlib.closing(Place(place.namespace)) as there, there.inside():
            return _Listener(place, self)


def main(arguments: list[str]) -> int:
    """Run the service; return the exit code: 0, or that of the error's class (2 for settings that are wrong)."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m probes.http_service SETTINGS.json\n")
        return 2
    try:
        settings = read_service_settings(Path(arguments[0]))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the harness handles Ctrl-C
        service = HttpService(settings)
        give_up_privileges()  # before any thread starts: each has its own
        signal.signal(signal.SIGTERM, lambda _number, _frame: service.stop())
        say("listening", ports=service.ports)
        with contextlib.closing(service):
            service.run(0 if is_pipe(0) else None)
        write_report(settings.directory, settings.name, {**service.counters, **cpu_counters()})
        say("stopped")
    except HitlessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

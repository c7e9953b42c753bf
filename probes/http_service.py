"""The HTTP service that the application load asks: `python -m probes.http_service SETTINGS.json`.

    GET /answer?octets=1000 HTTP/1.1      HTTP/1.1 200 OK
                                          Pod: node-a1-mesh
                                          Content-Length: 1000

One process, one loop, listening sockets inside the network namespaces of any number of pods (what they accept stays there).
It answers at once, so that what an answer takes is the network's time; connections stay open until the client closes them or
asks for it. It speaks as much HTTP/1.1 (RFC 9112) as that takes: GET without a body, keep-alive, pipelining; everything else
is refused by its proper status. Once it listens it has no privilege left. Connections, heads, bodies, idle time and its own
life are bounded. Standard library only, but for what writes its report.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from hitless.errors import HitlessError, WorldError
from probes.lifeline import cpu_counters, enter_network, give_up_privileges, is_pipe, say
from probes.load_settings import PlaceSettings, ServiceSettings, read_service_settings
from probes.recording import write_report

PATH: Final = "/answer"
POD_HEADER: Final = "Pod"
COUNTERS: Final = ("connections", "refused", "idle_closed", "answered", "rejected")
"""Of its report: connections accepted, refused for want of room, closed for silence; requests answered by 200, by another
status."""
HEAD_OCTETS_MAX: Final = 4_096
"""Request line and headers."""
IDLE_S: Final = 60.0
"""A connection is closed after so long without a request; no user pauses longer than 10 s."""
_BACKLOG: Final = 128
_RECEIVE_OCTETS: Final = 16_384
_LOOK_S: Final = 1.0
_PARTS: Final = 3
"""Of a request line: method, target, version. Source: RFC 9112 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request is to be answered with."""

    status: HTTPStatus
    octets: int
    """Of the body."""
    is_last: bool
    """Whether the connection is closed behind it."""


def read_request(head: bytes, octets_max: int) -> Answer:
    """Return the answer to a request.

    Args:
        head: request line and headers, without the empty line.
        octets_max: largest body that may be asked for.

    Source: RFC 9112 3 (request line), 6.3 (a body would follow), 9.6 (Connection: close); RFC 9110 15 for the statuses.
    """
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = (*line.split(" "), "", "", "")[:_PARTS]
    headers = {name.strip().lower(): value.strip().lower() for name, _, value in (one.partition(":") for one in lines)}
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    octets = 0
    if has_body or version not in {"HTTP/1.1", "HTTP/1.0"} or line.count(" ") != _PARTS - 1:
        status = HTTPStatus.BAD_REQUEST
    elif method != "GET":
        status = HTTPStatus.METHOD_NOT_ALLOWED
    else:
        status, octets = _read_target(target, octets_max)
    # Behind what is no request of ours nobody knows where the next one begins.
    is_last = status is HTTPStatus.BAD_REQUEST or version == "HTTP/1.0" or headers.get("connection") == "close"
    return Answer(status=status, octets=octets, is_last=is_last)


def _read_target(target: str, octets_max: int) -> tuple[HTTPStatus, int]:
    try:
        url = urlsplit(target)
        asked = parse_qs(url.query).get("octets", ["0"])[-1]
    except ValueError:
        return HTTPStatus.BAD_REQUEST, 0
    if url.path != PATH:
        return HTTPStatus.NOT_FOUND, 0
    # So few digits cannot be a number that takes long to read.
    if not (asked.isascii() and asked.isdigit() and len(asked) <= len(str(octets_max)) and int(asked) <= octets_max):
        return HTTPStatus.BAD_REQUEST, 0
    return HTTPStatus.OK, int(asked)


@dataclass(slots=True, kw_only=True)
class _Connection:
    """One accepted connection."""

    pod: str
    received: bytearray = field(default_factory=bytearray)
    to_send: memoryview = field(default_factory=lambda: memoryview(b""))
    is_last: bool = False
    """Whether it is closed when `to_send` is gone."""
    used_s: float
    """When something was last received or sent."""


class HttpService:
    """The loop.

    Args:
        settings: what the service was told.

    Raises:
        WorldError: a place cannot be listened at.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._connections: dict[socket.socket, _Connection] = {}
        self._filler = memoryview(b"x" * settings.body_octets_max)
        self._is_stopping = False
        self.ports: dict[str, int] = {}
        """Pod to the port that it listens at."""
        for place in settings.places:
            listener = _listen(place)
            self.ports[place.pod] = listener.getsockname()[1]
            self._selector.register(listener, selectors.EVENT_READ, place.pod)

    def run(self, lifeline: int | None = None) -> None:
        """Serve until told to stop, until the pipe `lifeline` ends, or until the time is over.

        Args:
            lifeline: descriptor of a pipe that ends with the harness; None: there is none.
        """
        if lifeline is not None:
            self._selector.register(lifeline, selectors.EVENT_READ)
        end_s = time.monotonic() + self._settings.duration_ns_max / 1e9
        looked_s = time.monotonic()
        while not self._is_stopping and time.monotonic() < end_s:
            for key, events in self._selector.select(max(0.0, min(_LOOK_S, end_s - time.monotonic()))):
                if key.fd == lifeline:
                    self._is_stopping = not os.read(lifeline, _RECEIVE_OCTETS)
                elif isinstance(key.data, _Connection) and isinstance(key.fileobj, socket.socket):
                    self._serve(key.fileobj, key.data, events)
                elif isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj, key.data)
            if time.monotonic() - looked_s > _LOOK_S:
                looked_s = time.monotonic()
                self._close_idle(looked_s)

    def stop(self) -> None:
        """Have `run` return at its next look; safe in a signal's handler."""
        self._is_stopping = True

    def close(self) -> None:
        """Close every socket."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def _accept(self, listener: socket.socket, pod: str) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:  # it was reset before we came to it, or we have no descriptor left: the client will see
            return
        if len(self._connections) >= self._settings.connections_max:
            self.counters["refused"] += 1
            accepted.close()
            return
        self.counters["connections"] += 1
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(pod=pod, used_s=time.monotonic())
        self._connections[accepted] = connection
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _serve(self, peer: socket.socket, connection: _Connection, events: int) -> None:
        """Read what is there, answer it, send as much as the socket takes."""
        connection.used_s = time.monotonic()
        try:
            if events & selectors.EVENT_READ:
                content = peer.recv(_RECEIVE_OCTETS)
                if not content:
                    self._drop(peer)
                    return
                connection.received += content
            self._answer(peer, connection)
        except BlockingIOError:
            pass
        except OSError:  # reset, or the network is gone for good
            self._drop(peer)
            return
        if connection.is_last and not connection.to_send:
            self._drop(peer)
            return
        # While an answer waits for room no further request is read: what we hold stays bounded.
        wanted = selectors.EVENT_WRITE if connection.to_send else selectors.EVENT_READ
        self._selector.modify(peer, wanted, connection)

    def _answer(self, peer: socket.socket, connection: _Connection) -> None:
        """Answer requests one after the other. Raises BlockingIOError when the socket takes no more."""
        while True:
            while connection.to_send:
                connection.to_send = connection.to_send[peer.send(connection.to_send) :]
            if connection.is_last:
                return
            head, empty_line, rest = connection.received.partition(b"\r\n\r\n")
            if not empty_line and len(head) <= HEAD_OCTETS_MAX:
                return
            if len(head) > HEAD_OCTETS_MAX:
                answer = Answer(status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, octets=0, is_last=True)
            else:
                answer = read_request(bytes(head), self._settings.body_octets_max)
            connection.received, connection.is_last = rest, answer.is_last
            connection.to_send = self._compose(connection.pod, answer)
            self.counters["answered" if answer.status is HTTPStatus.OK else "rejected"] += 1

    def _compose(self, pod: str, answer: Answer) -> memoryview:
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"{POD_HEADER}: {pod}",
            f"Content-Length: {answer.octets}",
            *(["Allow: GET"] if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
            *(["Connection: close"] if answer.is_last else []),
        ]
        return memoryview(b"".join(("\r\n".join(lines).encode("ascii"), b"\r\n\r\n", self._filler[: answer.octets])))

    def _close_idle(self, now_s: float) -> None:
        for peer in [peer for peer, one in self._connections.items() if now_s - one.used_s > IDLE_S]:
            self.counters["idle_closed"] += 1
            self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        del self._connections[peer]
        self._selector.unregister(peer)
        peer.close()


def _listen(place: PlaceSettings) -> socket.socket:
    """Return a listening socket inside a pod's namespace. Raises WorldError."""
    try:
        listener = _make_socket(place.namespace)
    except OSError as error:
        message = f"cannot open a socket in {place.namespace or 'the present namespace'}: {error.strerror}"
        raise WorldError(message) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((place.address, place.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        message = f"cannot listen at {place.address}:{place.port} of {place.pod}: {error.strerror}"
        raise WorldError(message) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener


def _make_socket(namespace: str | None) -> socket.socket:
    """Return a TCP socket of a network namespace; we are back in our own then."""
    if namespace is None:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        try:
            enter_network(namespace)
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            enter_network(f"/proc/self/fd/{home.fileno()}")


def main(arguments: list[str]) -> int:
    """Run the service.

    Returns:
        The exit code: 0, or that of the error's class (2 for settings that are wrong).
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m probes.http_service SETTINGS.json\n")
        return 2
    try:
        settings = read_service_settings(Path(arguments[0]))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness
        service = HttpService(settings)
        give_up_privileges()
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

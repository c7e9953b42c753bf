"""The way to the Shoot's API: a port that forwards to the API server and can be closed.

Seed and Shoot are one API server here. The programs reach the Shoot through this port, so the Shoot's API can be made
unavailable on its own. TLS passes through unread.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Final

_CHUNK_OCTETS: Final = 65_536


class Passage:
    """A port on loopback that forwards to another one. It is open at first."""

    def __init__(self, port: int) -> None:
        self._server = _Server(port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="passage", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def set_away(self, is_away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Cut every connection and each new one, or let them pass again. Repeating either is no error."""
        self._server.set_shut(is_shut=is_away)

    def stop(self) -> None:
        """Cut every connection and stop listening."""
        self._server.set_shut(is_shut=True)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._is_shut = False
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def set_shut(self, *, is_shut: bool) -> None:
        with self._lock:
            self._is_shut = is_shut
            cut = tuple(self._connections) if is_shut else ()
        for one in cut:
            _end(one)

    def carry(self, client: socket.socket) -> None:
        """Carry both directions of one connection until either side ends it."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as upstream:
            pair = {client, upstream}
            with self._lock:
                if self._is_shut:
                    return
                self._connections |= pair
            back = threading.Thread(target=_pump, args=(upstream, client), name="passage back", daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()
            with self._lock:
                self._connections -= pair


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.server.carry(self.request)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end, and end the connection then."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_OCTETS):
            sink.sendall(chunk)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    """End both directions, which wakes the thread that reads; its opener closes the socket."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)

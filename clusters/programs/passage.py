"""The way to the Shoot's API: a port that forwards to the API server and can be closed.

Seed and Shoot are one API server here. The programs reach the Shoot through this port, so the Shoot's API can be made
unavailable on its own. TLS passes through unread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

_CHUNK_OCTETS: Final = 65_536
_BACKLOG: Final = 64


class Passage:
    """A port on loopback that forwards to another one. It is open at first."""

    def __init__(self, target: int) -> None:
        self._target, self._is_shut, self._is_stopped = target, False, False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        """Where it listens."""
        self._thread = threading.Thread(target=self._accept, name="passage", daemon=True)
        self._thread.start()

    def set_away(self, is_away: bool) -> None:  # noqa: FBT001 - reads as what it does: set_away(True)
        """Cut every connection and each new one, or let them pass again. Repeating either is no error."""
        with self._lock:
            self._is_shut = is_away
            cut = tuple(self._connections) if is_away else ()
        for one in cut:
            _end(one)

    def stop(self) -> None:
        """Cut every connection and stop listening."""
        self.set_away(True)
        self._is_stopped = True
        _end(self._listener)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_stopped:
            # A connection that its client gave up, or the end of the listener.
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), name="passage there", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Carry both directions of one connection until either side ends it."""
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as upstream:
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


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end, and end the connection then."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK_OCTETS):
            sink.sendall(chunk)
    _end(source)
    _end(sink)


def _end(one: socket.socket) -> None:
    """End both directions, which wakes the thread that reads or accepts; its opener closes the socket."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)

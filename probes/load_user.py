"""One user of the application load: sends requests to one pod, over one connection or over a new one each time.

It is written with blocking calls of the standard library. In a Locust worker gevent has replaced them by its own, and many
users take turns; without it a user works as well, which is how it is tested. It never retries: a failure is a
result.
"""

from __future__ import annotations

import errno
import http.client
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from hitless.load import ConnectionUse, RequestOutcome
from hitless.records import NONE_NS
from probes.http_service import PATH, POD_HEADER
from probes.load_settings import PeerSettings

_UNREACHABLE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


@dataclass(slots=True, kw_only=True)
class Request:
    """One request and its outcome; times are of the user's clock, ns."""

    began_ns: int
    connected_ns: int = NONE_NS
    """Time at which its connection was open; -1: it was open before, or never."""
    ended_ns: int = NONE_NS
    outcome: RequestOutcome = RequestOutcome.ABORTED
    errno: int = 0
    status: int = 0
    octets: int = 0
    nth: int = 0
    """Requests that its connection had carried before."""


class LoadUser:
    """Sends requests and reports their outcomes; a right answer has `body_octets` and comes within `timeout_ns`."""

    def __init__(
        self, *, peer: PeerSettings, use: ConnectionUse, body_octets: int, timeout_ns: int, now_ns: Callable[[], int]
    ) -> None:
        self.peer, self.use = peer, use
        self._body_octets, self._timeout_ns, self._now_ns = body_octets, timeout_ns, now_ns
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._carried = 0

    def ask(self, record: Callable[[Request], None]) -> Request:
        """Make one request and return it when it has ended; `record` gets it, too, also when the caller is interrupted."""
        request = Request(began_ns=self._now_ns())
        try:
            request.outcome, request.errno = self._attempt(request)
        finally:
            request.ended_ns = self._now_ns()
            if request.outcome is not RequestOutcome.ANSWERED or self.use is ConnectionUse.NEW:
                self.close()
            record(request)
        return request

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        connection, self._connection, self._socket, self._carried = self._connection, None, None, 0
        if connection is not None:
            connection.close()

    def _attempt(self, request: Request) -> tuple[RequestOutcome, int]:
        try:
            connection = self._connection or self._connect(request)
        except OSError as error:
            return name_refusal(error), error.errno or 0
        request.nth, self._carried = self._carried, self._carried + 1
        headers = {"Connection": "close"} if self.use is ConnectionUse.NEW else {}
        try:
            self._limit(request)
            connection.request("GET", PATH, headers=headers)
            self._limit(request)
            response = connection.getresponse()
            request.status = response.status
            self._limit(request)
            request.octets = len(response.read())
        except (OSError, http.client.HTTPException) as error:
            return name_failure(error), getattr(error, "errno", None) or 0
        if response.will_close and self.use is ConnectionUse.REUSED:
            self.close()
        if response.status != HTTPStatus.OK:
            return RequestOutcome.WRONG_STATUS, 0
        if response.getheader(POD_HEADER) != self.peer.pod or request.octets != self._body_octets:
            return RequestOutcome.WRONG_ANSWER, 0
        return RequestOutcome.ANSWERED, 0

    def _connect(self, request: Request) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.peer.address, self.peer.port, timeout=self._left_s(request))
        # No hidden reconnect. Source: CPython http/client.py, HTTPConnection.send.
        connection.auto_open = 0
        connection.connect()
        request.connected_ns = self._now_ns()
        # http.client releases its socket as soon as it knows that no answer follows, before it reads the body.
        self._connection, self._socket, self._carried = connection, connection.sock, 0
        return connection

    def _limit(self, request: Request) -> None:
        """Limit the next call to the rest of the request's time."""
        if self._socket is not None:
            self._socket.settimeout(self._left_s(request))

    def _left_s(self, request: Request) -> float:
        left_ns = request.began_ns + self._timeout_ns - self._now_ns()
        if left_ns <= 0:
            raise TimeoutError
        return left_ns / 1e9


def name_refusal(error: OSError) -> RequestOutcome:
    """Return how a connection failed to open."""
    if isinstance(error, ConnectionRefusedError):
        return RequestOutcome.REFUSED
    if isinstance(error, TimeoutError):
        return RequestOutcome.CONNECT_TIMED_OUT
    return RequestOutcome.UNREACHABLE if error.errno in _UNREACHABLE else RequestOutcome.OTHER


def name_failure(error: OSError | http.client.HTTPException) -> RequestOutcome:
    """Return how a request failed on an open connection."""
    # RemoteDisconnected is also a ConnectionResetError: the other end closed in order, but too early.
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return RequestOutcome.ENDED
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return RequestOutcome.RESET
    if isinstance(error, TimeoutError):
        return RequestOutcome.TIMED_OUT
    if isinstance(error, http.client.HTTPException):
        return RequestOutcome.WRONG_ANSWER
    return RequestOutcome.UNREACHABLE if error.errno in _UNREACHABLE else RequestOutcome.OTHER

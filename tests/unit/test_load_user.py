"""A user of the application load against peers that answer, misbehave, or are not there."""

from __future__ import annotations

import errno
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hitless.load import ConnectionUse, RequestOutcome
from probes.load_settings import PeerSettings
from probes.load_user import LoadUser, Request, name_failure, name_refusal

TIMEOUT_NS = 10_000_000_000
GOOD = b"HTTP/1.1 200 OK\r\nPod: pod\r\nContent-Length: 2\r\n\r\nxx"


def make_user(port: int, use: ConnectionUse = ConnectionUse.REUSED, timeout_ns: int = TIMEOUT_NS) -> LoadUser:
    peer = PeerSettings(server=0, pod="pod", address="127.0.0.1", port=port)
    return LoadUser(peer=peer, use=use, body_octets=2, timeout_ns=timeout_ns, now_ns=time.monotonic_ns)


Behaviour = Callable[[socket.socket], None]


@contextmanager
def peer_that(*behaviours: Behaviour) -> Iterator[int]:
    """Accept a connection for each behaviour, one after the other; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            for behave in behaviours:
                accepted, _ = listener.accept()
                with accepted:
                    behave(accepted)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(TIMEOUT_NS / 1e9)
        assert not thread.is_alive()


def answers(*contents: bytes) -> Behaviour:
    """Wait for a request before each content."""

    def behave(accepted: socket.socket) -> None:
        for content in contents:
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += accepted.recv(4096)
            accepted.sendall(content)

    return behave


def resets(accepted: socket.socket) -> None:
    accepted.recv(4096)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def is_silent(accepted: socket.socket) -> None:
    while accepted.recv(4096):
        pass


def ask(user: LoadUser) -> Request:
    recorded: list[Request] = []
    request = user.ask(recorded.append)
    assert recorded == [request]
    return request


def test_a_reused_connection_is_opened_once() -> None:
    with peer_that(answers(GOOD, GOOD, GOOD)) as port:
        user = make_user(port)
        first, second, third = (ask(user) for _ in range(3))
        user.close()
    assert [one.outcome for one in (first, second, third)] == [RequestOutcome.ANSWERED] * 3
    assert [one.nth for one in (first, second, third)] == [0, 1, 2]
    assert first.began_ns <= first.connected_ns <= first.ended_ns <= second.began_ns <= second.ended_ns
    assert (second.connected_ns, second.status, second.octets) == (-1, 200, 2)


def test_a_new_connection_is_opened_each_time_and_the_peer_is_told_that_it_is_the_last() -> None:
    heads: list[bytes] = []

    def behave(accepted: socket.socket) -> None:
        heads.append(accepted.recv(4096))
        accepted.sendall(GOOD.replace(b"Pod:", b"Connection: close\r\nPod:"))

    with peer_that(behave, behave) as port:
        user = make_user(port, ConnectionUse.NEW)
        found = [ask(user), ask(user)]
    assert [(one.outcome, one.nth, one.connected_ns > 0) for one in found] == [(RequestOutcome.ANSWERED, 0, True)] * 2
    assert all(b"Connection: close\r\n" in head for head in heads)


@pytest.mark.parametrize(
    ("behave", "outcome", "status"),
    [
        (answers(GOOD.replace(b"200 OK", b"503 Busy")), RequestOutcome.WRONG_STATUS, 503),
        (answers(GOOD.replace(b"Pod: pod", b"Pod: other")), RequestOutcome.WRONG_ANSWER, 200),
        (answers(GOOD.replace(b"2\r\n\r\nxx", b"1\r\n\r\nx")), RequestOutcome.WRONG_ANSWER, 200),
        (answers(b"SSH-2.0-OpenSSH\r\n\r\n"), RequestOutcome.WRONG_ANSWER, 0),
        (answers(GOOD.replace(b"\r\n\r\nxx", b"\r\n\r\nx")), RequestOutcome.ENDED, 200),
        (answers(b""), RequestOutcome.ENDED, 0),
        (resets, RequestOutcome.RESET, 0),
    ],
    ids=["status", "other pod", "short body", "no HTTP", "cut off", "closed", "reset"],
)
def test_every_way_to_fail_has_its_name_and_ends_the_connection(
    behave: Behaviour, outcome: RequestOutcome, status: int
) -> None:
    with peer_that(behave, answers(GOOD)) as port:
        user = make_user(port)
        failed, after = ask(user), ask(user)
        user.close()
    assert (failed.outcome, failed.status) == (outcome, status)
    assert (after.outcome, after.nth) == (RequestOutcome.ANSWERED, 0)


def test_a_peer_that_says_nothing_is_given_up_in_time() -> None:
    with peer_that(is_silent) as port:
        found = ask(make_user(port, timeout_ns=50_000_000))
    assert (found.outcome, found.errno) == (RequestOutcome.TIMED_OUT, 0)
    assert found.ended_ns - found.began_ns >= 50_000_000


def test_a_closed_port_is_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    found = ask(make_user(port))
    assert (found.outcome, found.errno, found.connected_ns) == (RequestOutcome.REFUSED, errno.ECONNREFUSED, -1)


class InterruptingClock:
    """A clock that interrupts its n-th reader."""

    def __init__(self, reading: int) -> None:
        self._left = reading

    def now_ns(self) -> int:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        return time.monotonic_ns()


def test_a_request_that_is_interrupted_is_recorded_as_aborted() -> None:
    readings_of_one = 7
    recorded: list[Request] = []
    with peer_that(answers(GOOD)) as port:
        clock = InterruptingClock(readings_of_one + 3)
        peer = PeerSettings(server=0, pod="pod", address="127.0.0.1", port=port)
        user = LoadUser(peer=peer, use=ConnectionUse.REUSED, body_octets=2, timeout_ns=TIMEOUT_NS, now_ns=clock.now_ns)
        user.ask(recorded.append)
        with pytest.raises(KeyboardInterrupt):
            user.ask(recorded.append)
    assert [(one.outcome, one.nth) for one in recorded] == [(RequestOutcome.ANSWERED, 0), (RequestOutcome.ABORTED, 1)]
    assert recorded[1].ended_ns > recorded[1].began_ns


@pytest.mark.parametrize(
    ("error", "refusal", "failure"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), RequestOutcome.REFUSED, RequestOutcome.OTHER),
        (ConnectionResetError(errno.ECONNRESET, ""), RequestOutcome.OTHER, RequestOutcome.RESET),
        (BrokenPipeError(errno.EPIPE, ""), RequestOutcome.OTHER, RequestOutcome.RESET),
        (TimeoutError(errno.ETIMEDOUT, ""), RequestOutcome.CONNECT_TIMED_OUT, RequestOutcome.TIMED_OUT),
        (OSError(errno.EHOSTUNREACH, ""), RequestOutcome.UNREACHABLE, RequestOutcome.UNREACHABLE),
        (OSError(errno.ENETUNREACH, ""), RequestOutcome.UNREACHABLE, RequestOutcome.UNREACHABLE),
        (OSError(errno.EADDRNOTAVAIL, ""), RequestOutcome.OTHER, RequestOutcome.OTHER),
    ],
    ids=str,
)
def test_errors_of_the_kernel_have_names(error: OSError, refusal: RequestOutcome, failure: RequestOutcome) -> None:
    assert (name_refusal(error), name_failure(error)) == (refusal, failure)


def test_errors_of_the_library_have_names() -> None:
    assert name_failure(http.client.RemoteDisconnected("")) is RequestOutcome.ENDED
    assert name_failure(http.client.IncompleteRead(b"")) is RequestOutcome.ENDED
    assert name_failure(http.client.BadStatusLine("")) is RequestOutcome.WRONG_ANSWER

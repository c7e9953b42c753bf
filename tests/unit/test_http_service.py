"""The service of the application load, spoken to over loopback."""

from __future__ import annotations

import http.client
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitless.errors import WorldError
from probes.http_service import HttpService
from probes.load_settings import PlaceSettings, ServiceSettings

PATIENCE_S = 10.0
BODY_OCTETS = 1_000


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service at work in a thread of the test."""

    service: HttpService
    lifeline: int
    """Closing it ends the service."""
    thread: threading.Thread

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.service.ports["pod"]), PATIENCE_S)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.service.ports["pod"], timeout=PATIENCE_S)


def make_settings(directory: Path, **changes: int) -> ServiceSettings:
    limits = {"body_octets": BODY_OCTETS, "connections_max": 8, "duration_ns_max": 60 * 10**9} | changes
    place = PlaceSettings(pod="pod", address="127.0.0.1", port=0)
    return ServiceSettings(name="service", directory=directory, places=(place,), **limits)


def run_service(settings: ServiceSettings) -> Iterator[Running]:
    service = HttpService(settings)
    watched, held = os.pipe()
    thread = threading.Thread(target=service.run, args=(watched,))
    thread.start()
    yield Running(service=service, lifeline=held, thread=thread)
    os.close(held)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    service.close()
    os.close(watched)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    yield from run_service(make_settings(tmp_path))


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[Running]:
    """A service whose answers have two octets."""
    yield from run_service(make_settings(tmp_path, body_octets=2))


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Running]:
    """A service with room for one connection."""
    yield from run_service(make_settings(tmp_path, connections_max=1))


def exchange(running: Running, content: bytes) -> bytes:
    """Send octets, say that no more come, return all that comes back."""
    with running.connect() as stream:
        stream.sendall(content)
        stream.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: stream.recv(65_536), b""))


def test_every_answer_has_the_pods_name_and_the_agreed_length(running: Running) -> None:
    with closing(running.client()) as client:
        for _ in range(3):
            client.request("GET", "/answer")
            answer = client.getresponse()
            assert (answer.status, answer.getheader("Pod"), len(answer.read())) == (200, "pod", BODY_OCTETS)
    assert running.service.counters["connections"] == 1
    assert running.service.counters["answered"] == 3


def test_a_connection_is_closed_when_the_client_asks_for_it(brief: Running) -> None:
    content = exchange(brief, b"GET /answer HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\nGET /answer HTTP/1.1\r\n\r\n")
    assert content == b"HTTP/1.1 200 OK\r\nPod: pod\r\nContent-Length: 2\r\n\r\nxx"


def test_pipelined_requests_are_answered_in_their_order(brief: Running) -> None:
    content = exchange(brief, b"".join(b"GET %s HTTP/1.1\r\n\r\n" % path for path in (b"/answer", b"/answer", b"/else")))
    assert re.findall(rb"HTTP/1.1 (\d+)", content) == [b"200", b"200", b"404"]
    assert content.count(b"\r\n\r\nxx") == 2


def test_an_answer_comes_in_one_segment(running: Running) -> None:
    with running.connect() as stream:
        stream.sendall(b"GET /answer HTTP/1.1\r\n\r\n")
        assert stream.recv(65_536).count(b"x") == 1000


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", HTTPStatus.NOT_FOUND),
        (b"POST /answer HTTP/1.1", HTTPStatus.NOT_IMPLEMENTED),
        (b"GET /answer?octets=1 HTTP/1.1", HTTPStatus.NOT_FOUND),
        (b"GET //[ HTTP/1.1", HTTPStatus.NOT_FOUND),
        (b"GET /answer HTTP/1.1\r\nX: " + b"x" * 70_000, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        # A body is not read: the next request could be hidden in it.
        (b"GET /answer HTTP/1.1\r\nContent-Length: 5", HTTPStatus.BAD_REQUEST),
        (b"GET /answer HTTP/1.1\r\nTransfer-Encoding: chunked", HTTPStatus.BAD_REQUEST),
    ],
)
def test_what_is_refused_ends_the_connection(running: Running, request_line: bytes, status: HTTPStatus) -> None:
    with running.connect() as stream:
        stream.sendall(request_line + b"\r\n\r\n")
        content = b"".join(iter(lambda: stream.recv(65_536), b""))
    assert content.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in content
    assert (running.service.counters["answered"], running.service.counters["rejected"]) == (0, 1)


def test_more_connections_than_there_is_room_for_are_closed(narrow: Running) -> None:
    with closing(narrow.client()) as first:
        first.request("GET", "/answer")
        assert first.getresponse().read() == b"x" * BODY_OCTETS
        with narrow.connect() as second:
            assert second.recv(1) == b""
        first.request("GET", "/answer")
        assert first.getresponse().status == HTTPStatus.OK
    assert (narrow.service.counters["connections"], narrow.service.counters["refused"]) == (1, 1)


def test_a_connection_that_ended_makes_room(narrow: Running) -> None:
    head = b"GET /answer HTTP/1.1\r\nConnection: close\r\n\r\n"

    def is_answered() -> bool:
        try:
            return exchange(narrow, head).startswith(b"HTTP/1.1 200")
        except OSError:  # refused: the thread of the connection before is still ending
            return False

    assert is_answered()
    while not is_answered():
        pass


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.binary(max_size=60))
def test_no_target_is_too_strange_to_be_answered(running: Running, target: bytes) -> None:
    content = exchange(running, b"GET /answer" + target + b" HTTP/1.1\r\n\r\n")
    # HTTP/0.9, a request without a version, has no head.
    assert content == b"" or re.match(rb"HTTP/1\.[01] \d{3} |<!DOCTYPE|x+$", content)
    with closing(running.client()) as client:
        client.request("GET", "/answer")
        assert client.getresponse().status == HTTPStatus.OK


def test_a_service_ends_by_itself(tmp_path: Path) -> None:
    with closing(HttpService(make_settings(tmp_path, duration_ns_max=1))) as service:
        service.run()


def test_an_address_that_is_taken_is_named(running: Running, tmp_path: Path) -> None:
    place = PlaceSettings(pod="other", address="127.0.0.1", port=running.service.ports["pod"])
    settings = ServiceSettings(
        name="service", directory=tmp_path, body_octets=1, connections_max=1, duration_ns_max=1, places=(place,)
    )
    with pytest.raises(WorldError, match=rf"cannot listen on 127\.0\.0\.1:{place.port} in other: Address already in use"):
        HttpService(settings)

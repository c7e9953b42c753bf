"""The way to the Shoot's API: it carries both directions, and can be shut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from clusters.programs.api_server import Passage


@pytest.fixture
def passage() -> Iterator[Passage]:
    """A passage to a server that answers every connection with what it is told, in capitals."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        passage = Passage(server.getsockname()[1])
        yield passage
        passage.stop()
        server.shutdown(socket.SHUT_RDWR)


def answer(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=answer_one, args=(connection,), daemon=True).start()


def answer_one(connection: socket.socket) -> None:
    with connection:
        while said := connection.recv(100):
            connection.sendall(said.upper())


def connect(passage: Passage) -> socket.socket:
    return socket.create_connection(("127.0.0.1", passage.port), timeout=5)


def ask(connection: socket.socket) -> bytes:
    """Return the answer; empty: the connection was cut."""
    try:
        connection.sendall(b"hello")
        return connection.recv(100)
    except ConnectionError:
        return b""


def test_it_carries_both_directions(passage: Passage) -> None:
    with connect(passage) as one, connect(passage) as other:
        assert [ask(one), ask(other), ask(one)] == [b"HELLO"] * 3


def test_while_it_is_shut_old_and_new_connections_are_cut_and_then_it_is_open_again(passage: Passage) -> None:
    with connect(passage) as old:
        assert ask(old) == b"HELLO"
        passage.set_away(True)
        passage.set_away(True)
        assert ask(old) == b""
        with connect(passage) as new:
            assert ask(new) == b""
    passage.set_away(False)
    with connect(passage) as later:
        assert ask(later) == b"HELLO"

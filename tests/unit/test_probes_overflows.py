"""What a socket of the prober dropped, by the kernel's own count, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.records import Rows, encode_address, read_record
from probes.recording import GrowingTable
from probes.sockets import OverflowWatch

ADDRESS, SENDS = "127.5.0.1", "127.5.0.2"
SMALL_OCTETS = 4096


@pytest.fixture
def small() -> Iterator[socket.socket]:
    """A socket with room for a few datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_OCTETS)
        opened.bind((ADDRESS, 0))
        yield opened


def flood(target: socket.socket, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(bytes(44), target.getsockname())


def drain(opened: socket.socket) -> int:
    opened.settimeout(0)
    count = 0
    while True:
        try:
            opened.recv(64)
        except BlockingIOError:
            return count
        count += 1


def read(path: Path) -> Rows:
    return read_record(path)[1]


def test_what_the_kernel_dropped_is_one_row_between_two_looks(small: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "x.overflow"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
        quiet.bind((SENDS, 0))
        watch = OverflowWatch([(SENDS, 7, quiet)], [(ADDRESS, 9, small)], GrowingTable(path, "overflow", {}), 1_000)
        watch.look(2_000)
        flood(small, 200)
        watch.look(3_000)
        watch.look(4_000)
        received = drain(small)
        flood(small, 200)
        again = drain(small)
        watch.close(5_000)
    rows = read(path)
    address = encode_address(ADDRESS)
    assert rows[["address", "flow", "is_reflector", "since", "until"]].tolist() == [
        (address, 9, 1, 2_000, 3_000),
        (address, 9, 1, 4_000, 5_000),
    ]
    assert rows["dropped"].tolist() == [200 - received, 200 - again]
    assert 0 < received < 200


def test_nothing_dropped_is_nothing_written(small: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "x.overflow"
    watch = OverflowWatch([], [(ADDRESS, 9, small)], GrowingTable(path, "overflow", {}), 0)
    flood(small, 2)
    watch.close(1)
    assert read(path).size == 0

"""Echo requests that carry a probe, with either inner loop; the test plays the kernel that answers."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from hitless.records import SENDER_ROW
from probes.sender import ECHO_HEADER_OCTETS
from probes.sockets import family_of, open_socket
from probes.stamp import make_probes
from tests.unit.exchange import WAIT_S, WIDE, datagrams
from tests.unit.loopbacks import Loopback, loopback

__all__ = ["datagrams", "loopback"]


class Echo:
    """The inner loop with ICMP's header, on UDP sockets: the test plays the kernel that answers."""

    def __init__(self, loopback: Loopback, datagrams: ModuleType) -> None:
        self.opened, self.peer = open_socket(loopback.pod, 0), loopback.open()
        self.peer.settimeout(WAIT_S)
        self.family = family_of(loopback.peer)
        packets = np.pad(make_probes(np.array([7], dtype=np.uint16), 100), ((0, 0), (ECHO_HEADER_OCTETS, 0)))
        packets[:, 0] = self.family.echo_request
        peers = np.zeros(1, dtype=self.family.sockaddr)
        peers["family"], peers["address"] = self.family.number, [socket.inet_pton(self.family.number, loopback.peer)]
        peers["port"] = self.peer.getsockname()[1]
        index = np.full(1 << 16, -1, dtype=np.intp)
        index[7] = 0
        self.rows = np.zeros(0x1_0004, dtype=SENDER_ROW)
        pods, ids = np.array([(self.opened.fileno(), 0, 1)], dtype=np.int32), np.array([WIDE], dtype=np.uint32)
        stamps = np.zeros((4, 1), dtype=np.uint64)
        self.loop = datagrams.Sender(0, ECHO_HEADER_OCTETS, packets, peers, pods, ids, index, self.rows, stamps)

    def exchange(
        self, seq: int, changed_at: int | None = None, kind: int | None = None
    ) -> tuple[np.void, tuple[int, ...], bytes]:
        """Send a request, answer it, perhaps with an octet changed; return its row, what was dropped, and the request."""
        self.loop.tick(seq, 1)
        request, address = self.peer.recvfrom(4096)
        reply = bytearray(request)
        reply[0] = self.family.echo_reply if kind is None else kind
        if changed_at is not None:
            reply[changed_at] ^= 1
        self.peer.sendto(reply, address)
        assert select.select([self.opened], [], [], WAIT_S)[0]
        return self.rows[seq], self.loop.collect(seq + 1, 0), request

    def close(self) -> None:
        self.opened.close()
        self.peer.close()


@pytest.fixture
def echo(loopback: Loopback, datagrams: ModuleType) -> Iterator[Echo]:
    made = Echo(loopback, datagrams)
    yield made
    made.close()


def test_an_echo_reply_fills_its_row_without_a_far_end(echo: Echo) -> None:
    row, dropped, _ = echo.exchange(2)
    assert (row["flow"], row["seq"], row["copies"], row["corrupted"], dropped) == (WIDE, 2, 1, 0, (0, 0, 0))
    assert (row["return_ttl"], row["forward_ttl"], row["reflector_received"], row["reflector_sent"]) == (64, 0, -1, -1)


def test_icmps_own_sequence_number_wraps_and_ours_does_not(echo: Echo) -> None:
    row, dropped, request = echo.exchange(0x1_0002)
    assert (request[6:8], request[8:12]) == (b"\0\2", b"\0\1\0\2")
    assert (row["copies"], dropped) == (1, (0, 0, 0))


@pytest.mark.parametrize("changed_at", [ECHO_HEADER_OCTETS + 5, ECHO_HEADER_OCTETS + 44, ECHO_HEADER_OCTETS + 80])
def test_an_echo_reply_with_another_timestamp_or_padding_is_corrupted(echo: Echo, changed_at: int) -> None:
    row, _, _ = echo.exchange(0, changed_at)
    assert (row["copies"], row["corrupted"]) == (1, 1)


def test_echo_requests_are_malformed_and_replies_of_others_foreign(echo: Echo) -> None:
    row, dropped, _ = echo.exchange(0, kind=echo.family.echo_request)
    assert (row["copies"], dropped) == (0, (1, 0, 0))
    row, dropped, _ = echo.exchange(1, ECHO_HEADER_OCTETS + 15)
    assert (row["copies"], dropped) == (0, (0, 1, 0))

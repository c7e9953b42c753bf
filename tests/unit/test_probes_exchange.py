"""The sender on loopback, with either inner loop, against a peer that the test plays itself."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scapy.contrib.stamp import (
    STAMPSessionSenderTestUnauthenticated,
)

from hitless.errors import WorldError
from hitless.records import Rows, read_record, trim
from probes.clocks import Bridge
from probes.recording import GrowingTable, SenderTable, make_row
from probes.sender import Sender
from probes.sockets import open_socket
from tests.unit.exchange import WAIT_S, WIDE, craft, datagrams, make_settings
from tests.unit.loopbacks import LOOPBACK_4, LOOPBACK_6, Loopback, loopback

__all__ = ["datagrams", "loopback"]


class Peer:
    """A sender whose peer is the test."""

    def __init__(
        self,
        directory: Path,
        loopback: Loopback,
        datagrams: ModuleType,
        destinations: list[str] | None = None,
        octets: int = 44,
    ) -> None:
        self.loopback = loopback
        self.socket = loopback.open()
        self.socket.settimeout(WAIT_S)
        port = self.socket.getsockname()[1]
        destinations = destinations or [loopback.peer] * 2
        told = make_settings(directory, loopback.pod, port=port, destinations=destinations, octets=octets)
        self.sender = Sender(told, Bridge(0), GrowingTable(directory / "x.skipped", "skipped", {}), {}, datagrams)
        self.address = self.sender._sockets[0].getsockname()

    def tick(self) -> list[STAMPSessionSenderTestUnauthenticated]:
        """Send a tick; return what reached the peer."""
        self.sender._tick()
        count = sum(1 for flow in self.sender._settings.sent_flows if flow.destination_address == self.loopback.peer)
        return [STAMPSessionSenderTestUnauthenticated(self.socket.recv(4096)) for _ in range(count)]

    def answer(self, content: bytes, by: socket.socket | None = None) -> None:
        """Send a packet to the sender and let it take it."""
        (by or self.socket).sendto(content, self.address)
        assert select.select([self.sender._sockets[0]], [], [], WAIT_S)[0]
        self.sender.collect()

    @property
    def rows(self) -> Rows:
        return self.sender._table.rows

    def close(self) -> None:
        self.sender.finish()
        self.socket.close()


@pytest.fixture
def peer(tmp_path: Path, loopback: Loopback, datagrams: ModuleType) -> Iterator[Peer]:
    made = Peer(tmp_path, loopback, datagrams)
    yield made
    made.close()


def test_an_answer_fills_its_row(peer: Peer) -> None:
    probe, _ = peer.tick()
    peer.answer(craft(probe))
    row, other = peer.rows[0], peer.rows[1]
    assert (row["flow"], row["seq"], row["copies"], row["corrupted"], row["send_errno"]) == (WIDE + 1, 0, 1, 0, 0)
    assert (row["forward_ttl"], row["return_ttl"], row["reflector_seq"]) == (61, 64, 40)
    assert row["send_began_ns"] <= row["send_ended_ns"]
    assert row["send_began_ns"] < row["received"] < row["send_began_ns"] + 5_000_000_000
    assert row["reflector_received"] == row["reflector_sent"] != -1
    assert (other["flow"], other["copies"], other["received"], other["reflector_sent"]) == (WIDE + 2, 0, -1, -1)
    assert peer.sender.has_outstanding()


def test_the_first_of_two_answers_fills_and_both_count(peer: Peer) -> None:
    probe, _ = peer.tick()
    peer.socket.sendto(craft(probe, seq=1), peer.address)
    peer.answer(craft(probe, seq=2))
    peer.answer(craft(probe, seq=3))
    assert (peer.rows[0]["copies"], peer.rows[0]["reflector_seq"]) == (3, 1)


def test_answers_in_another_order_find_their_rows(peer: Peer) -> None:
    probes = [peer.tick()[0] for _ in range(3)]
    for number, probe in enumerate(reversed(probes)):
        peer.socket.sendto(craft(probe, seq=number), peer.address)
    peer.answer(craft(peer.tick()[1]))
    assert peer.rows[::2]["reflector_seq"][:3].tolist() == [2, 1, 0]
    assert peer.rows[::2]["copies"][:4].tolist() == [1, 1, 1, 0]


def test_a_false_echo_marks_the_row(peer: Peer) -> None:
    probe, other = peer.tick()
    content = bytearray(craft(probe))
    content[35] ^= 1  # the last octet of the sender's timestamp
    peer.answer(bytes(content))
    peer.answer(craft(other) + bytes(4))
    assert peer.rows["corrupted"][:2].tolist() == [1, 1]


def test_padding_that_was_changed_on_the_way_marks_the_row(tmp_path: Path, loopback: Loopback, datagrams: ModuleType) -> None:
    peer = Peer(tmp_path, loopback, datagrams, octets=200)
    probe, other = peer.tick()
    content = bytearray(craft(probe))
    content[150] ^= 1
    peer.answer(bytes(content))
    peer.answer(craft(other))
    assert peer.rows["corrupted"][:2].tolist() == [1, 0]
    peer.close()


def test_answers_to_no_known_probe_are_stale(peer: Peer) -> None:
    probe, _ = peer.tick()
    peer.answer(craft(probe, seq_sender=1))
    assert peer.sender.counters["stale"] == 1
    assert peer.rows["copies"].sum() == 0


def test_an_answer_to_a_probe_that_was_never_sent_is_stale(peer: Peer) -> None:
    probe, _ = peer.tick()
    peer.rows["send_errno"][0] = errno.EPERM
    peer.answer(craft(probe))
    assert (peer.sender.counters["stale"], peer.rows["copies"][0]) == (1, 0)


def test_what_is_not_ours_is_dropped_and_counted(peer: Peer) -> None:
    probe, _ = peer.tick()
    peer.answer(craft(probe, ssid=3))
    with peer.loopback.open() as stranger:  # right address, other port
        peer.answer(craft(probe), by=stranger)
    peer.answer(craft(probe)[:43])
    peer.answer(b"")
    assert (peer.sender.counters["foreign"], peer.sender.counters["malformed"]) == (2, 2)
    assert peer.rows["copies"].sum() == 0


def test_live_means_answered_often_enough_in_a_row(peer: Peer) -> None:
    for turn in range(4):
        for probe in peer.tick():
            if probe.ssid == 1 or turn != 1:
                peer.answer(craft(probe))
        assert peer.sender.is_live() is (turn == 3)


def test_a_refused_probe_has_its_errno_in_its_row_alone(tmp_path: Path, loopback: Loopback, datagrams: ModuleType) -> None:
    peer = Peer(tmp_path, loopback, datagrams, [loopback.peer, loopback.refused] * 2)
    assert [probe.ssid for probe in peer.tick()] == [1, 3]
    assert [probe.seq for probe in peer.tick()] == [1, 1]
    assert peer.rows["send_errno"][:8].tolist() == [0, loopback.refusal] * 4
    peer.close()
    assert (peer.sender.counters["probes"], peer.sender.counters["sent"], peer.sender.counters["answered"]) == (8, 4, 0)


def test_a_late_sender_skips_and_records(peer: Peer, tmp_path: Path) -> None:
    first_ns = peer.sender.start(peer.sender.now_ns())
    assert peer.sender._pacer is not None
    peer.sender._pacer.due_ns = first_ns - 10_000_000_000  # as if the process had been stopped for ten seconds
    before = peer.sender.ticks
    peer.sender.step()
    assert peer.sender.ticks == before + 1
    _, rows = read_record(tmp_path / "x.skipped")
    assert rows["due"][0] == first_ns - 10_000_000_000
    assert set(np.diff(rows["due"]).tolist()) == {1_000_000}
    assert 9_990 <= len(rows) <= 15_000
    assert (rows["woke"] - rows["due"] > 1_000_000).all()


def test_a_port_that_is_taken_is_a_world_error(tmp_path: Path, loopback: Loopback) -> None:
    with loopback.open(address=loopback.pod) as holder, pytest.raises(WorldError, match="Address already in use"):
        open_socket(loopback.pod, holder.getsockname()[1])
    with pytest.raises(WorldError, match="No such file"):
        open_socket(loopback.pod, 0, str(tmp_path / "nowhere"))


@pytest.mark.parametrize("loopback", [LOOPBACK_6], indirect=True)
def test_an_ipv6_socket_takes_no_ipv4(loopback: Loopback) -> None:
    assert loopback.pod == "::1"
    with open_socket("::", 0) as opened, LOOPBACK_4.open() as stranger:
        stranger.connect(("127.0.0.1", opened.getsockname()[1]))
        stranger.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            stranger.send(b"x")


def test_a_trimmed_record_ends_behind_its_last_row(tmp_path: Path) -> None:
    path = tmp_path / "x.sender"
    table = SenderTable(path, 2, 1_000_000, {"agent": "x"})
    for place, (flow, seq) in enumerate([(7, 0), (8, 0), (7, 1)]):
        table.rows[place] = make_row(flow, seq, 1, 2)
    trim(path)
    assert path.stat().st_size < 20_000
    header, rows = read_record(path)
    assert (header["agent"], rows["flow"].tolist(), rows["seq"].tolist()) == ("x", [7, 8, 7], [0, 0, 1])

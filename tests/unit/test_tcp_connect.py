"""`tcp-connect`: a connection a probe; the other end is the test's."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitless.words import FlowClass
from tests.unit.tcp_peers import POD, Port, Sending, close_with_rst, craft_answer, port, read_probe

TIME_WAIT = "06"
"""Source: net/tcp_states.h, as /proc/net/tcp has it."""


__all__ = ["port"]


@pytest.fixture
def sending(tmp_path: Path, port: Port) -> Iterator[Sending]:
    made = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number)
    made.start()
    yield made
    made.sender.finish()


def begin(sending: Sending, port: Port) -> socket.socket:
    """Send a tick; return the other end of its connection, on which the message is."""
    sending.tick()
    opened = port.accept()
    sending.wait(lambda: all(attempt.timestamp >= 0 for attempt in sending.flow._attempts.values()))
    return opened


def states_of(address: str, port: int) -> list[str]:
    """Return the kernel's states of the connections from an address to a port."""
    packed = socket.inet_aton(address)[::-1].hex().upper()
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line[3] for line in lines if line[1].startswith(packed) and line[2].endswith(f":{port:04X}")]


def test_a_connection_with_its_answer_fills_a_row_and_leaves_nothing_behind(sending: Sending, port: Port) -> None:
    with begin(sending, port) as opened:
        probe = read_probe(opened)
        assert (probe.ssid, probe.seq) == (7, 0)
        opened.sendall(craft_answer(probe))
        sending.wait(lambda: sending.copies() == [1])
        (row,) = sending.rows
        assert (row["failure"], row["send_errno"], row["corrupted"], row["reflector_seq"]) == (0, 0, 0, 40)
        assert (row["retransmits"], row["return_ttl"]) == (0, 0)
        assert row["send_began_ns"] <= row["send_ended_ns"] < row["received"]
        with pytest.raises(ConnectionResetError):
            opened.recv(1)
    assert states_of(POD, port.number) == []  # no TIME_WAIT
    assert (sending.flow._attempts, sending.sender._tools.owners, sending.events) == ({}, {}, [])


def test_many_connections_at_a_time_are_distinguished(sending: Sending, port: Port) -> None:
    ends = [begin(sending, port) for _ in range(4)]
    for opened in reversed(ends):
        probe = read_probe(opened)
        opened.sendall(craft_answer(probe, seq=int(probe.seq)))
    sending.wait(lambda: sending.copies() == [1] * 4)
    assert sending.rows["reflector_seq"].tolist() == [0, 1, 2, 3]
    for opened in ends:
        opened.close()


def test_an_answer_in_two_parts_is_one(sending: Sending, port: Port) -> None:
    with begin(sending, port) as opened:
        content = craft_answer(read_probe(opened))
        opened.sendall(content[:20])
        sending.wait(lambda: any(attempt.inbox for attempt in sending.flow._attempts.values()))
        opened.sendall(content[20:])
        sending.wait(lambda: sending.copies() == [1])


def test_a_refused_connection(tmp_path: Path) -> None:
    port = Port(backlog=None)
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number)
    sending.tick()
    sending.wait(lambda: sending.failures() == [errno.ECONNREFUSED])
    assert (sending.rows["send_errno"].tolist(), sending.copies(), sending.sender.has_outstanding()) == ([0], [0], False)
    sending.sender.finish()
    port.close()


def test_a_connection_to_which_there_is_no_way(tmp_path: Path) -> None:
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, 9, address="127.255.255.255")  # a broadcast address: ENETUNREACH
    sending.tick()
    assert (sending.failures(), sending.rows["send_errno"].tolist()) == ([errno.ENETUNREACH], [0])
    sending.sender.finish()


def test_a_connection_into_silence_is_given_up(tmp_path: Path) -> None:
    port = Port(backlog=0)
    port.fill()
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number)
    sending.start()
    sending.tick()
    sending.pass_time(1.9)
    assert (sending.failures(), sending.sender.has_outstanding()) == ([0], True)
    sending.pass_time(0.2)
    assert (sending.failures(), sending.sender.has_outstanding()) == ([errno.ETIMEDOUT], False)
    sending.sender.finish()
    port.close()


def test_a_connection_whose_first_packet_was_lost_is_slow(tmp_path: Path) -> None:
    port = Port(backlog=0)
    port.fill()
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number)
    sending.start()
    sending.tick()
    port.accept().close()  # there is room again: the SYN that is sent a second later is taken
    with port.accept() as opened:
        sending.wait(lambda: all(attempt.timestamp >= 0 for attempt in sending.flow._attempts.values()))
        opened.sendall(craft_answer(read_probe(opened)))
        sending.wait(lambda: sending.copies() == [1])
    (row,) = sending.rows
    assert row["retransmits"] >= 1
    assert row["received"] - row["send_began_ns"] > 900_000_000
    sending.sender.finish()
    port.close()


def test_a_connection_that_is_reset(sending: Sending, port: Port) -> None:
    close_with_rst(begin(sending, port))
    sending.wait(lambda: sending.failures() == [errno.ECONNRESET])


def test_a_connection_that_the_other_end_closes(sending: Sending, port: Port) -> None:
    with begin(sending, port) as opened:
        opened.shutdown(socket.SHUT_WR)
        sending.wait(lambda: sending.failures() == [errno.EPIPE])


@pytest.mark.parametrize(
    ("changes", "counter"), [({"ssid": 8}, "foreign"), ({"seq_sender": 3}, "stale"), (None, "malformed")], ids=str
)
def test_what_is_no_answer_to_the_probe_fails_it(
    sending: Sending, port: Port, changes: dict[str, int] | None, counter: str
) -> None:
    with begin(sending, port) as opened:
        probe = read_probe(opened)
        opened.sendall(bytes(44) if changes is None else craft_answer(probe, **changes))
        sending.wait(lambda: sending.failures() == [errno.EBADMSG])
    assert (sending.sender.counters[counter], sending.copies()) == (1, [0])


def test_a_false_echo_marks_the_row(sending: Sending, port: Port) -> None:
    with begin(sending, port) as opened:
        content = bytearray(craft_answer(read_probe(opened)))
        content[35] ^= 1  # the last octet of the sender's timestamp
        opened.sendall(content)
        sending.wait(lambda: sending.copies() == [1])
    assert sending.rows["corrupted"].tolist() == [1]


def test_connections_at_a_time_are_bounded_and_what_was_not_tried_was_not_offered(tmp_path: Path) -> None:
    port = Port(backlog=0)
    port.fill()
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number)
    most = 3 * 20 + 1  # three seconds at 20 a second, and the one that is due
    for _ in range(most + 2):
        sending.tick()
    assert len(sending.flow._attempts) == most
    assert sending.rows["send_errno"].tolist() == [0] * most + [errno.ENOBUFS] * 2
    sending.sender.finish()
    assert (sending.sender.counters["probes"], sending.sender.counters["sent"]) == (most + 2, most)
    assert sending.failures()[:most] == [0] * most  # they have not had their time
    port.close()

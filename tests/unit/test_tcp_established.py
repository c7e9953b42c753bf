"""`tcp-established`: one connection, and a new one where it broke; the other end is the test's."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hitless.errors import WorldError
from hitless.records import read_record
from hitless.words import FlowClass
from probes.namespaces import Place
from probes.tcp_sender import _OFFERS_MAX
from tests.unit.tcp_peers import (
    PEER,
    WIDE,
    Port,
    Sending,
    close_with_rst,
    craft_answer,
    port,
    read_probe,
    wait_hung_up,
    wait_until,
)

__all__ = ["port"]


@pytest.fixture
def sending(tmp_path: Path, port: Port) -> Iterator[Sending]:
    made = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number)
    made.start()
    yield made
    made.sender.finish()


@pytest.fixture
def other_end(sending: Sending, port: Port) -> Iterator[socket.socket]:
    """The other end of the connection, which is open and old enough to be opened again at once."""
    opened = port.accept()
    sending.wait(lambda: sending.events == [("OPENED", 0)])
    sending.pass_time(1)
    yield opened
    opened.close()


def test_a_message_and_its_answer_fill_a_row(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    probe = read_probe(other_end)
    assert (probe.ssid, probe.seq) == (7, 0)
    other_end.sendall(craft_answer(probe))
    sending.wait(lambda: sending.copies() == [1])
    (row,) = sending.rows
    assert (row["flow"], row["seq"], row["failure"], row["send_errno"], row["corrupted"]) == (WIDE + 7, 0, 0, 0, 0)
    assert (row["forward_ttl"], row["return_ttl"], row["reflector_seq"], row["retransmits"]) == (0, 0, 40, 0)
    assert row["send_began_ns"] <= row["send_ended_ns"] < row["send_began_ns"] + 5_000_000_000
    assert row["send_began_ns"] < row["received"] < row["send_began_ns"] + 5_000_000_000
    assert row["reflector_received"] == row["reflector_sent"] != -1


def test_the_receive_time_is_the_kernels(sending: Sending, other_end: socket.socket) -> None:
    """Where the kernel says none it is the time of the reading; it begins a little after the first socket asked for it."""
    late_ns = 1_000_000_000
    sending.sender._bridge._epoch_ns -= late_ns  # as if we came a second late; the bridge knows nothing of it

    def is_the_kernels() -> bool:
        sending.tick()
        other_end.sendall(craft_answer(read_probe(other_end)))
        sending.wait(lambda: sending.copies()[-1] == 1)
        return bool(sending.rows["received"][-1] < sending.sender.now_ns() - late_ns)

    wait_until(is_the_kernels, sending.sender.collect)


def test_messages_are_framed_wherever_the_stream_is_cut(sending: Sending, other_end: socket.socket) -> None:
    for _ in range(3):
        sending.tick()
    answers = b"".join(craft_answer(read_probe(other_end), seq=number) for number in range(3))
    for content in (answers[:10], answers[10:100], answers[100:]):
        other_end.sendall(content)
        sending.sender.collect()
    sending.wait(lambda: sending.copies() == [1, 1, 1])
    assert sending.rows["reflector_seq"].tolist() == [0, 1, 2]


def test_a_reset_takes_the_messages_with_it_and_a_new_connection_is_made_at_once(
    sending: Sending, other_end: socket.socket, port: Port
) -> None:
    for _ in range(2):
        sending.tick()
    other_end.sendall(craft_answer(read_probe(other_end)))
    sending.wait(lambda: sending.copies() == [1, 0])
    close_with_rst(other_end)
    sending.wait(lambda: sending.failures() == [0, errno.ECONNRESET])
    assert not sending.sender.has_outstanding()
    with port.accept() as again:
        sending.wait(lambda: sending.events == [("OPENED", 0), ("RESET", 0), ("OPENED", 1)])
        sending.tick()
        assert read_probe(again).seq == 2
        reset = sending.connections[1]
        assert (reset["errno"], reset["seq"], reset["began"] < reset["at"]) == (errno.ECONNRESET, 2, True)


def test_answers_that_came_before_the_reset_count_and_what_was_not_sent_is_sent_again(
    sending: Sending, other_end: socket.socket, port: Port
) -> None:
    sending.tick()
    sending.tick()
    other_end.sendall(craft_answer(read_probe(other_end)))
    close_with_rst(other_end)
    wait_hung_up(sending.flow._opened)
    sending.tick()  # it is the send that meets the reset
    assert (sending.copies(), sending.failures()) == ([1, 0, 0], [0, errno.ECONNRESET, 0])
    assert sending.events[1] == ("RESET", 0)
    with port.accept() as again:
        sending.wait(lambda: sending.events[-1] == ("OPENED", 1))
        again.sendall(craft_answer(read_probe(again)))
        sending.wait(lambda: sending.copies() == [1, 0, 1])


def test_an_end_of_file_is_no_reset(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    read_probe(other_end)
    other_end.close()
    sending.wait(lambda: sending.failures() == [errno.EPIPE])
    assert (sending.events[1], sending.connections["errno"][1]) == (("ENDED", 0), 0)


def test_messages_wait_for_a_connection_and_refusals_are_recorded_once(tmp_path: Path) -> None:
    port = Port(backlog=None)
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number)
    sending.start()
    for _ in range(3):
        sending.tick()
        sending.pass_time(0.1)  # each time it is tried again
        sending.wait(lambda: sending.flow._opened is None)
    assert sending.events == [("REFUSED", 0)]
    assert sending.connections["errno"].tolist() == [errno.ECONNREFUSED]
    port.socket.listen(4)
    sending.pass_time(0.1)
    with port.accept() as other_end:
        sending.wait(lambda: len(sending.events) == 2)
        seqs = [read_probe(other_end).seq for _ in range(3)]
        assert (sending.events, seqs) == ([("REFUSED", 0), ("OPENED", 0)], [0, 1, 2])
        assert (sending.rows["send_ended_ns"] - sending.rows["send_began_ns"] > 100_000_000).all()
        sending.sender.finish()
    port.close()


def test_what_can_never_be_sent_has_failed(tmp_path: Path) -> None:
    port = Port(backlog=None)
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number)
    sending.start()
    sending.tick()
    sending.wait(lambda: sending.events == [("REFUSED", 0)])
    sending.pass_time(2.9)
    assert sending.failures() == [0]
    assert sending.sender.has_outstanding()
    sending.pass_time(0.2)
    assert sending.failures() == [errno.ECONNREFUSED]
    sending.sender.finish()
    port.close()


def test_silence_is_given_up_after_a_while(tmp_path: Path) -> None:
    port = Port(backlog=0)
    port.fill()
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number)
    sending.start()
    sending.tick()
    sending.pass_time(1.9)
    assert sending.events == []
    sending.pass_time(0.2)
    assert sending.events == [("TIMED_OUT", 0)]
    sending.pass_time(2.1)  # the second try is as silent: no news
    assert (sending.events, sending.failures()) == ([("TIMED_OUT", 0)], [errno.ETIMEDOUT])
    sending.sender.finish()
    port.close()


def test_an_unreachable_network_is_reported_at_once(tmp_path: Path) -> None:
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, 9, address="127.255.255.255")  # a broadcast address: ENETUNREACH
    sending.start()
    assert sending.events == [("UNREACHABLE", 0)]
    assert sending.connections["errno"].tolist() == [errno.ENETUNREACH]
    sending.sender.finish()


def test_a_peer_that_resets_each_connection_is_tried_once_an_interval(
    sending: Sending, other_end: socket.socket, port: Port
) -> None:
    ends = [other_end]
    for number in range(3):
        close_with_rst(ends.pop())
        sending.wait(lambda: len(sending.events) == 2 * number + 2)  # noqa: B023 - waited for within the turn
        if number:
            assert sending.flow._opened is None
            sending.pass_time(0.1)
        ends.append(port.accept())
    assert [name for name, _ in sending.events[:6]] == ["OPENED", "RESET"] * 3
    ends.pop().close()


def test_what_does_not_fit_into_the_buffers_is_sent_later_and_whole(
    sending: Sending, other_end: socket.socket, tmp_path: Path
) -> None:
    sending.flow._opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    other_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    while not sending.flow._queue:
        sending.tick()
    for _ in range(20):
        sending.tick()
    count = sending.sender.ticks
    came = b""

    def read() -> None:
        nonlocal came
        sending.sender.collect()
        if select.select([other_end], [], [], 0)[0]:
            came += other_end.recv(65_536)

    descriptor = sending.sender.descriptor
    assert descriptor is not None
    wait_until(lambda: len(came) == 44 * count, read, other_end.fileno(), descriptor)
    assert [int.from_bytes(came[at : at + 4], "big") for at in range(0, len(came), 44)] == list(range(count))
    assert len(sending.flow._sent) == count
    assert (tmp_path / "x.connection").exists()


def test_what_is_no_answer_ends_the_connection(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    probe = read_probe(other_end)
    other_end.sendall(bytes(44) + craft_answer(probe))
    sending.wait(lambda: sending.failures() == [errno.EBADMSG])
    assert (sending.events[1][0], sending.sender.counters["malformed"]) == ("ENDED", 1)


def test_an_answer_of_another_flow_ends_the_connection(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    other_end.sendall(craft_answer(read_probe(other_end), ssid=8))
    sending.wait(lambda: sending.failures() == [errno.EBADMSG])
    assert sending.sender.counters["foreign"] == 1


def test_a_second_answer_counts_and_one_to_no_probe_is_stale(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    probe = read_probe(other_end)
    other_end.sendall(craft_answer(probe, seq=1) + craft_answer(probe, seq=2) + craft_answer(probe, seq_sender=99))
    sending.wait(lambda: sending.sender.counters["stale"] == 1)
    assert (sending.copies(), sending.rows["reflector_seq"].tolist()) == ([2], [1])


def test_a_false_echo_marks_the_row(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    content = bytearray(craft_answer(read_probe(other_end)))
    content[35] ^= 1  # the last octet of the sender's timestamp
    other_end.sendall(content)
    sending.wait(lambda: sending.copies() == [1])
    assert sending.rows["corrupted"].tolist() == [1]


def test_the_end_closes_what_is_open(sending: Sending, other_end: socket.socket) -> None:
    sending.tick()
    sending.sender.finish()
    assert sending.events == [("OPENED", 0), ("CLOSED", 0)]
    assert sending.failures() == [0]  # its fate is unknown
    read_probe(other_end)
    assert other_end.recv(1) == b""
    counters = sending.sender.counters
    assert (counters["probes"], counters["sent"], counters["answered"]) == (1, 1, 0)


def test_what_the_other_end_does_after_hanging_up_is_not_recorded(
    sending: Sending, other_end: socket.socket, port: Port
) -> None:
    sending.sender.stop()
    sending.sender.hang_up()
    other_end.close()
    port.close()
    sending.pass_time(5)  # long enough for a new try
    sending.sender.step()
    sending.sender.finish()
    assert sending.events == [("OPENED", 0), ("CLOSED", 0)]


def test_live_means_answered_often_enough_in_a_row(sending: Sending, other_end: socket.socket) -> None:
    for count in (1, 2):
        assert not sending.sender.is_live()
        sending.tick()
        other_end.sendall(craft_answer(read_probe(other_end)))
        sending.wait(lambda: sending.copies() == [1] * count)  # noqa: B023 - waited for within the turn
    assert sending.sender.is_live()
    assert not sending.sender.has_outstanding()


def test_ticks_that_are_late_are_skipped_and_recorded(port: Port, tmp_path: Path) -> None:
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number)
    first_ns = sending.sender.start(sending.sender.now_ns())
    sending.sender._bridge._epoch_ns -= 1_000_000_000
    sending.sender.step()
    assert sending.sender.ticks == 1
    _, rows = read_record(tmp_path / "x.skipped")
    assert (rows["due"][0], len(rows) in (18, 19, 20)) == (first_ns, True)
    sending.sender.finish()


def test_a_large_tick_takes_several_turns_and_is_one_tick(port: Port, tmp_path: Path) -> None:
    count = 2 * _OFFERS_MAX + 1
    sending = Sending(tmp_path, FlowClass.TCP_CONNECT, port.number, count=count)
    first_ns = sending.sender.start(sending.sender.now_ns())
    sending.sender._bridge._epoch_ns -= first_ns - sending.sender.now_ns()  # the first tick is due
    offered = []
    while not sending.sender.ticks:
        sending.sender.step()
        offered.append(int(np.count_nonzero(sending.sender._table.rows["flow"][:count])))
        assert sending.sender.due_ns == 0 or sending.sender.ticks
    assert offered == [_OFFERS_MAX, 2 * _OFFERS_MAX, count]
    assert sending.sender.due_ns is not None
    assert sending.sender.due_ns > first_ns
    sending.sender.finish()


def test_a_namespace_or_an_address_that_is_not_there_is_a_world_error(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot enter the namespace .*: No such file"):
        Place(str(tmp_path / "nowhere"))
    with pytest.raises(WorldError, match=r"cannot open TCP 192\.0\.2\.1 in the current namespace: Cannot assign"):
        Sending(tmp_path, FlowClass.TCP_ESTABLISHED, 9, source="192.0.2.1")


def test_the_target_of_a_service_is_where_it_connects_to(tmp_path: Path) -> None:
    port = Port()
    sending = Sending(tmp_path, FlowClass.TCP_ESTABLISHED, port.number, address="127.7.0.77", target=PEER)
    sending.start()
    port.accept().close()
    sending.sender.finish()
    port.close()

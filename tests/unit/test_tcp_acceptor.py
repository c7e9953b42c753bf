"""The far end of TCP flows: what it accepts, answers and logs; the other end is the test's."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated

from hitless.errors import WorldError
from hitless.records import encode_address
from hitless.words import FlowClass
from probes.acceptor import IDLE_NS, NAMELESS_NS
from probes.recording import UNANSWERED
from probes.stamp import Probe, encode_probe
from probes.tcp_socket import RECONNECTS_MAX
from tests.unit.tcp_peers import PEER, POD, STRANGER, WAIT_S, Accepting, close_with_rst, probe, wait_until


@pytest.fixture
def accepting(tmp_path: Path) -> Iterator[Accepting]:
    made = Accepting(tmp_path)
    yield made
    made.acceptor.finish()


@pytest.fixture
def peer(accepting: Accepting) -> Iterator[socket.socket]:
    with accepting.connect() as opened:
        yield opened


def test_messages_are_answered_numbered_and_logged(accepting: Accepting, peer: socket.socket) -> None:
    sent = [probe(10), probe(12), probe(11)]
    came = accepting.give(peer, sent[0]) + accepting.give(peer, sent[1] + sent[2])
    answers = [STAMPSessionReflectorTestUnauthenticated(came[at : at + 44]) for at in range(0, len(came), 44)]
    assert [(one.seq, one.seq_sender, one.ssid, one.ttl_sender) for one in answers] == [
        (0, 10, 1, 0),
        (1, 12, 1, 0),
        (2, 11, 1, 0),
    ]
    assert [came[at + 28 : at + 36] for at in (0, 44, 88)] == [content[4:12] for content in sent]
    log = accepting.log
    assert (log["seq"].tolist(), log["reflector_seq"].tolist(), log["ttl"].tolist()) == ([10, 12, 11], [0, 1, 2], [0] * 3)
    assert (log["received"] <= log["sent"]).all()
    assert set(log["source"].tolist()) == {encode_address(PEER)}
    assert accepting.counters == {"accepted": 1, "answered": 3, "probes": 3}


def test_a_message_in_parts_is_one(accepting: Accepting, peer: socket.socket) -> None:
    content = probe(5)
    assert [len(accepting.give(peer, part)) for part in (content[:1], content[1:43], content[43:] + content[:3])] == [0, 0, 44]


def test_a_source_that_may_be_rewritten_is_answered_and_logged_as_it_is_seen(tmp_path: Path) -> None:
    accepting = Accepting(tmp_path, rewritten_sources=("127.7.0.50",))
    with accepting.connect("127.7.0.50") as opened:
        assert len(accepting.give(opened, probe(1))) == 44
    assert accepting.log["source"].tolist() == [encode_address("127.7.0.50")]
    accepting.acceptor.finish()


def test_a_stranger_is_not_even_heard(accepting: Accepting) -> None:
    with accepting.connect(STRANGER) as opened:
        assert accepting.is_closed(opened, WAIT_S)
    assert (accepting.counters, len(accepting.log)) == ({"foreign": 1}, 0)


@pytest.mark.parametrize("ssid", [3, 4, 0])
def test_a_flow_that_does_not_end_here_ends_the_connection(accepting: Accepting, peer: socket.socket, ssid: int) -> None:
    assert len(accepting.give(peer, probe(1) + probe(2, ssid=ssid))) == 44
    accepting.wait_no_connection()
    assert accepting.is_closed(peer, WAIT_S)
    assert accepting.counters == {"accepted": 1, "answered": 1, "probes": 1, "foreign": 1}


def test_a_connection_is_of_one_flow(accepting: Accepting, peer: socket.socket) -> None:
    accepting.give(peer, probe(1))
    assert accepting.give(peer, probe(1, ssid=2)) == b""
    assert accepting.counters["foreign"] == 1


def test_half_a_message_at_the_end_is_malformed(accepting: Accepting, peer: socket.socket) -> None:
    accepting.give(peer, probe(1)[:30])
    peer.close()
    accepting.wait_no_connection()
    assert accepting.counters == {"accepted": 1, "malformed": 1}


def test_a_peer_that_goes_with_rst_is_forgotten(accepting: Accepting) -> None:
    opened = accepting.connect()
    accepting.give(opened, probe(1, ssid=2))
    close_with_rst(opened)
    accepting.wait_no_connection()
    assert accepting.counters == {"accepted": 1, "answered": 1, "probes": 1}


def test_one_connection_too_many_pushes_out_the_one_that_was_silent_for_longest(accepting: Accepting) -> None:
    most = RECONNECTS_MAX + 61  # of both flows that come from there
    ends = [accepting.connect() for _ in range(most)]
    assert len(accepting.give(ends[0], probe(1))) == 44  # now it is the second that was silent for longest
    ends.append(accepting.connect())
    assert accepting.is_closed(ends[1], WAIT_S)
    assert [accepting.is_closed(one) for one in ends] == [False, True] + [False] * (most - 1)
    assert accepting.counters["pushed_out"] == 1
    for opened in ends:
        opened.close()


def test_connections_beyond_the_rate_are_closed(accepting: Accepting) -> None:
    (listener,) = accepting.acceptor._listeners.values()
    listener.accepts._rate, listener.accepts._tokens = 0, 1
    with accepting.connect() as first, accepting.connect() as second:
        assert [accepting.is_closed(second, WAIT_S), accepting.is_closed(first)] == [True, False]
    assert accepting.counters == {"accepted": 1, "rate_limited": 1}


def test_beyond_the_rate_nothing_is_answered_but_all_is_logged(accepting: Accepting, peer: socket.socket) -> None:
    (listener,) = accepting.acceptor._listeners.values()
    listener.answering._bucket._rate, listener.answering._bucket._tokens = 0, 2
    assert len(accepting.give(peer, b"".join(probe(seq) for seq in range(4)))) == 88
    assert accepting.log["reflector_seq"].tolist() == [0, 1, UNANSWERED, UNANSWERED]
    assert (accepting.log["sent"] == -1).tolist() == [False, False, True, True]
    assert accepting.counters["rate_limited"] == 2


@pytest.mark.parametrize(
    ("ssid", "silence_ns"),
    [(None, NAMELESS_NS), (1, IDLE_NS[FlowClass.TCP_ESTABLISHED]), (2, IDLE_NS[FlowClass.TCP_CONNECT])],
)
def test_what_is_silent_for_too_long_is_closed(
    accepting: Accepting, peer: socket.socket, ssid: int | None, silence_ns: int
) -> None:
    if ssid is not None:
        accepting.give(peer, probe(1, ssid=ssid))
    heard_ns = next(iter(accepting.acceptor._connections.values())).heard_ns
    accepting.acceptor._sweep(heard_ns + silence_ns - 1)
    assert not accepting.is_closed(peer)
    accepting.acceptor._sweep(heard_ns + silence_ns)
    assert accepting.is_closed(peer, WAIT_S)
    assert accepting.counters["idle"] == 1


def test_who_does_not_read_is_not_read(accepting: Accepting, peer: socket.socket) -> None:
    """Answers wait, bounded by one read; when the reader comes back nothing is missing."""
    (connection,) = accepting.acceptor._connections.values()
    connection.opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    peer.setblocking(False)  # noqa: FBT003 - the standard library's signature
    many = b"".join(encode_probe(Probe(seq=seq, timestamp=0, error=1, ssid=1)) for seq in range(20_000))
    sent, came = 0, b""

    def send() -> None:
        nonlocal sent
        seq, cut = divmod(sent, 44)
        with contextlib.suppress(BlockingIOError):
            sent += peer.send(many[44 * seq + cut : 44 * seq + 64 * 44])
        accepting.acceptor.step()

    def read() -> None:
        nonlocal came
        with contextlib.suppress(BlockingIOError):
            came += peer.recv(65_536)
        accepting.acceptor.step()

    wait_until(lambda: connection.is_full, send, accepting.acceptor.descriptor)
    waiting = len(connection.outbox)
    for _ in range(3):
        send()
    assert 0 < len(connection.outbox) <= waiting <= 64 * 44
    wait_until(lambda: len(came) == sent - sent % 44, read, peer.fileno(), accepting.acceptor.descriptor)
    assert [int.from_bytes(came[at + 24 : at + 28], "big") for at in range(0, len(came), 44)] == list(range(sent // 44))


def test_a_port_that_is_taken_is_a_world_error(accepting: Accepting, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=rf"cannot open TCP {POD}:{accepting.port} in the current namespace: Address already"):
        Accepting(tmp_path, port=accepting.port)


def pieces(content: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return [content[first:last] for first, last in pairwise(edges) if first < last]


FRAMES = st.lists(
    st.one_of(
        st.binary(min_size=44, max_size=44),
        st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 9])).map(lambda parts: probe(*parts)),
    ),
    max_size=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FRAMES, st.binary(max_size=43), st.lists(st.integers(0, 500), max_size=4))
def test_only_messages_of_its_flow_are_answered_until_the_first_invalid_one(
    accepting: Accepting, frames: list[bytes], tail: bytes, cuts: list[int]
) -> None:
    expected: list[bytes] = []
    for frame in frames:
        is_own = frame[13] != 0 and frame[14:16] in (b"\0\1", b"\0\2")
        if not is_own or (expected and expected[0][14:16] != frame[14:16]):
            break
        expected.append(frame)
    before = accepting.acceptor.counters.copy()
    came = b""
    with accepting.connect() as opened:
        for piece in pieces(b"".join(frames) + tail, cuts):
            came += accepting.give(opened, piece)
    accepting.wait_no_connection()
    answers = [came[at : at + 44] for at in range(0, len(came), 44)]
    rise = accepting.acceptor.counters - before
    assert rise["answered"] == rise["probes"] == len(expected)
    assert rise["malformed"] + rise["foreign"] == (len(expected) < len(frames) or bool(tail))
    assert [answer[24:36] for answer in answers] == [frame[:12] for frame in expected]

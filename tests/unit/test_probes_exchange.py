"""Sender and reflector on loopback, with either inner loop, each against a peer that the test plays itself."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
    STAMPTestTLV,
)

from hitless.agents import trim
from hitless.errors import WorldError
from hitless.records import SENDER_ROW, Rows, encode_address, read_record
from probes import datagrams as python_loop
from probes.clocks import Bridge
from probes.families import family_of, pack_address
from probes.inner_loop import DATAGRAMS, INNER_LOOP, InnerLoop
from probes.limits import UNANSWERED
from probes.recording import GrowingTable, SenderTable, make_row
from probes.reflector import Reflector
from probes.sender import ECHO_HEADER_OCTETS, Sender
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from probes.sockets import open_socket
from probes.stamp import make_probes
from tests.unit.loopbacks import LOOPBACK_4, LOOPBACK_6, Loopback, loopback

__all__ = ["loopback"]

WAIT_S = 5.0
WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""


def make_settings(
    directory: Path, pod: str, *, port: int, destinations: list[str], octets: int = 44, sends: bool = True
) -> AgentSettings:
    """One pod that sends to (or reflects for) these addresses; SSIDs from 1, flow ids too large for an SSID."""
    return AgentSettings(
        agent="x",
        directory=directory,
        epoch_ns=0,
        interval_ns=1_000_000,
        packet_octets=octets,
        live_answers=2,
        drain_ns=1_000_000_000,
        duration_ns_max=100_000_000,
        endpoints=(EndpointSettings(name="pod", address=pod, port=port, sends=sends, reflects=not sends),),
        flows=tuple(
            FlowSettings(
                id=WIDE + index,
                ssid=index,
                source="pod",
                source_address=pod,
                destination=f"d{index}",
                destination_address=address,
                port=port,
            )
            if sends
            else FlowSettings(
                id=WIDE + index,
                ssid=index,
                source=f"s{index}",
                source_address=address,
                destination="pod",
                destination_address=pod,
            )
            for index, address in enumerate(destinations, start=1)
        ),
    )


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


def craft(probe: STAMPSessionSenderTestUnauthenticated, **changes: int) -> bytes:
    """What an honest reflector answers, apart from the changes."""
    raw = bytes(probe)
    fields = {
        "seq": 40,
        "ssid": probe.ssid,
        "seq_sender": probe.seq,
        "ttl_sender": 61,
        "ts": 3_990_000_000,
        "ts_rx": 3_990_000_000,
    }
    answer = bytearray(bytes(STAMPSessionReflectorTestUnauthenticated(**(fields | changes))))
    answer[28:36] = raw[4:12]
    tlvs = bytearray(raw[44:])
    if tlvs:
        tlvs[0] = 0
    return bytes(answer + tlvs)


def find_loop(kind: InnerLoop) -> ModuleType:
    if kind is InnerLoop.COMPILED and INNER_LOOP is not kind:
        pytest.skip("missing: the compiled inner loop; pip install builds it where there is a C compiler")
    return DATAGRAMS if kind is InnerLoop.COMPILED else python_loop


@pytest.fixture(params=list(InnerLoop))
def datagrams(request: pytest.FixtureRequest) -> ModuleType:
    """Both inner loops: they must not differ."""
    return find_loop(request.param)


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


class Echo:
    """The inner loop with ICMP's header, on UDP sockets: the test plays the kernel that answers."""

    def __init__(self, loopback: Loopback, datagrams: ModuleType) -> None:
        self.opened, self.peer = open_socket(loopback.pod, 0), loopback.open()
        self.peer.settimeout(WAIT_S)
        self.family = family_of(loopback.peer)
        packets = np.pad(make_probes(np.array([7], dtype=np.uint16), 100), ((0, 0), (ECHO_HEADER_OCTETS, 0)))
        packets[:, 0] = self.family.echo_request
        peers = np.zeros(1, dtype=self.family.sockaddr)
        peers["family"], peers["address"] = self.family.number, [pack_address(loopback.peer)]
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


class Prober:
    """A reflector that the test probes."""

    def __init__(self, directory: Path, loopback: Loopback, datagrams: ModuleType) -> None:
        self.loopback = loopback
        self.socket = loopback.open()
        self.socket.settimeout(WAIT_S)
        port = loopback.find_port()
        told = make_settings(directory, loopback.pod, port=port, destinations=[loopback.peer, loopback.other], sends=False)
        self.log_path = directory / "x.reflector"
        self.reflector = Reflector(told, Bridge(0), GrowingTable(self.log_path, "reflector", {}), datagrams)
        self.address = (loopback.pod, port)

    def give(self, *contents: bytes, by: socket.socket | None = None) -> None:
        """Send packets and let the reflector take them; loopback delivers before sendto returns."""
        for content in contents:
            (by or self.socket).sendto(content, self.address)
        self.reflector.reflect(self.reflector.descriptors)

    def answers(self) -> list[bytes]:
        """Return what has come back so far."""
        found = []
        while select.select([self.socket], [], [], 0)[0]:
            found.append(self.socket.recv(65_535))
        return found

    @property
    def log(self) -> Rows:
        return read_record(self.log_path)[1]

    def close(self) -> None:
        self.reflector.finish()
        self.socket.close()


@pytest.fixture(params=list(InnerLoop))
def prober(request: pytest.FixtureRequest, loopback: Loopback, tmp_path: Path) -> Iterator[Prober]:
    """Both inner loops: they must not differ."""
    made = Prober(tmp_path, loopback, find_loop(request.param))
    yield made
    made.close()


def probe(seq: int, ssid: int = 1, padding: int | None = None) -> bytes:
    tlvs = [] if padding is None else [STAMPTestTLV(flags=0x80, type=1, len=padding, value=os.urandom(padding))]
    return bytes(STAMPSessionSenderTestUnauthenticated(seq=seq, ssid=ssid, ts=3_990_000_000 + seq, tlv_objects=tlvs))


def test_a_batch_is_answered_numbered_and_logged(prober: Prober) -> None:
    sent = [probe(10), probe(12), probe(11, padding=100)]
    prober.give(*sent)
    prober.give(probe(13))
    came = prober.answers()
    found = [STAMPSessionReflectorTestUnauthenticated(content) for content in came]
    assert [(answer.seq, answer.seq_sender, answer.ssid, answer.ttl_sender) for answer in found] == [
        (0, 10, 1, 64),
        (1, 12, 1, 64),
        (2, 11, 1, 64),
        (3, 13, 1, 64),
    ]
    assert [len(content) for content in came] == [44, 44, 148, 44]
    assert came[2][48:] == sent[2][48:]
    assert [content[28:36] for content in came[:3]] == [content[4:12] for content in sent]
    assert prober.log["seq"].tolist() == [10, 12, 11, 13]
    assert prober.log["reflector_seq"].tolist() == [0, 1, 2, 3]
    assert (prober.log["received"] <= prober.log["sent"]).all()
    assert prober.log["ttl"].tolist() == [64] * 4
    assert {one.tobytes() for one in prober.log["source"]} == {encode_address(prober.loopback.peer)}
    assert (prober.reflector.counters["answered"], prober.reflector.counters["probes"]) == (4, 4)


def test_a_flow_of_another_run_is_foreign(prober: Prober) -> None:
    prober.give(probe(1, ssid=2), probe(1, ssid=3), probe(1)[:43], probe(1))
    assert [content[24:28] for content in prober.answers()] == [b"\0\0\0\1"]
    assert (prober.reflector.counters["foreign"], prober.reflector.counters["malformed"]) == (2, 1)


def test_a_packet_that_was_cut_is_not_answered(prober: Prober) -> None:
    prober.give(probe(1) + bytes(5000))
    assert (prober.answers(), prober.reflector.counters["malformed"]) == ([], 1)


def test_beyond_the_rate_nothing_is_answered_but_all_is_logged(prober: Prober) -> None:
    prober.reflector._rate[:] = 0
    prober.reflector._tokens[:] = 5
    prober.give(*(probe(seq) for seq in range(8)))
    assert len(prober.answers()) == 5
    assert prober.reflector.counters["rate_limited"] == 3
    assert prober.log["reflector_seq"].tolist() == [0, 1, 2, 3, 4, *[UNANSWERED] * 3]
    assert (prober.log["sent"] == -1).tolist() == [False] * 5 + [True] * 3


def changed(parts: tuple[int, list[tuple[int, int]], int, bytes]) -> bytes:
    seq, changes, length, tail = parts
    content = bytearray(probe(seq, padding=12))
    for at, value in changes:
        content[at] = value
    return bytes(content[:length]) + tail


PACKETS = st.lists(
    st.one_of(
        st.binary(max_size=120),
        st.tuples(
            st.integers(0, 2**32 - 1),
            st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), max_size=4),
            st.integers(0, 60),
            st.binary(max_size=30),
        ).map(changed),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PACKETS, st.booleans())
def test_nothing_foreign_is_ever_answered_and_all_is_counted(prober: Prober, contents: list[bytes], is_known: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    # One IPv6 address is all that every loopback has; tests/lab has IPv6 strangers.
    is_known |= prober.loopback is LOOPBACK_6
    prober.reflector._tokens[:] = 1000
    before = prober.reflector.counters.copy()
    if is_known:
        prober.give(*contents)
        expected = [content for content in contents if len(content) >= 44 and content[13] and content[14:16] == b"\0\1"]
    else:
        with prober.loopback.open(address=prober.loopback.other) as stranger:
            prober.give(*contents, by=stranger)
            assert select.select([stranger], [], [], 0)[0] == []
        expected = []
    came = prober.answers()
    assert [(len(content), content[24:28], content[28:36]) for content in came] == [
        (len(content), content[:4], content[4:12]) for content in expected
    ]
    rise = {name: prober.reflector.counters[name] - before[name] for name in ("malformed", "foreign", "answered")}
    assert rise["answered"] == len(expected)
    assert sum(rise.values()) == len(contents)

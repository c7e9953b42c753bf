"""The reflector on loopback, with either inner loop, against a sender that the test plays itself."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
    STAMPTestTLV,
)

from hitless.records import Rows, encode_address, read_record
from probes.clocks import Bridge
from probes.inner_loop import InnerLoop
from probes.recording import UNANSWERED, GrowingTable
from probes.reflector import Reflector
from tests.unit.exchange import WAIT_S, find_loop, make_settings
from tests.unit.loopbacks import LOOPBACK_6, Loopback, loopback

__all__ = ["loopback"]


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

    def answers(self, to: socket.socket | None = None) -> list[bytes]:
        """Return what has come back so far."""
        opened, found = to or self.socket, []
        while select.select([opened], [], [], 0)[0]:
            found.append(opened.recv(65_535))
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
    prober.reflector._pods["rate"] = 0
    prober.reflector._pods["tokens"] = 5
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
    prober.reflector._pods["tokens"] = 1000
    before = prober.reflector.counters.copy()
    ssid = b"\0\1" if is_known else b"\0\2"  # the flow of each source
    expected = [content for content in contents if len(content) >= 44 and content[13] and content[14:16] == ssid]
    if is_known:
        prober.give(*contents)
        came = prober.answers()
    else:
        with prober.loopback.open(address=prober.loopback.other) as another:
            prober.give(*contents, by=another)
            came = prober.answers(another)
        assert prober.answers() == []
    assert [(len(content), content[24:28], content[28:36]) for content in came] == [
        (len(content), content[:4], content[4:12]) for content in expected
    ]
    rise = {name: prober.reflector.counters[name] - before[name] for name in ("malformed", "foreign", "answered")}
    assert rise["answered"] == len(expected)
    assert sum(rise.values()) == len(contents)

"""Sender and reflector with a key, each against a peer that the test plays itself with octets made by hand."""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitless.records import Rows, read_record
from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.reflector import Reflector
from probes.replay import PLACES_MIN
from probes.sender import Sender
from tests.unit.stamp_by_hand import KEY, NTP_2026, by_hand_answer, by_hand_probe, by_hand_signed
from tests.unit.test_probes_exchange import PEER, POD, WAIT_S, make_settings

OTHER_KEY = bytes(32)
TLV = b"\x80\x01\x00\x08" + bytes(range(8))


class Far:
    """A reflector that the test plays against a sender with two flows."""

    def __init__(self, directory: Path, octets: int = 112) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PEER, 0))
        self.socket.settimeout(WAIT_S)
        told = make_settings(directory, port=self.socket.getsockname()[1], destinations=[PEER, PEER], octets=octets)
        self.sender = Sender(replace(told, key=KEY), Bridge(0), GrowingTable(directory / "x.skipped", "skipped", {}), {})
        self.address = self.sender._sockets[0].getsockname()

    def tick(self) -> list[bytes]:
        self.sender._tick()
        return [self.socket.recv(4096) for _ in range(2)]

    def answer(self, *contents: bytes) -> None:
        for content in contents:
            self.socket.sendto(content, self.address)
        assert select.select([self.sender._sockets[0]], [], [], WAIT_S)[0]
        self.sender.collect()

    @property
    def rows(self) -> Rows:
        return self.sender._table.rows

    @property
    def dropped(self) -> dict[str, int]:
        return {name: count for name, count in self.sender.counters.items() if count}

    def close(self) -> None:
        self.sender.finish()
        self.socket.close()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path)
    yield made
    made.close()


def answer_to(probe: bytes, seq: int = 40) -> bytes:
    """What an honest reflector answers."""
    tlvs = probe[112:]
    return by_hand_answer(seq, NTP_2026, 0x0001, NTP_2026, 61, probe) + (b"\0" + tlvs[1:] if tlvs else b"")


def test_every_probe_is_signed_and_its_answer_fills_its_row(far: Far) -> None:
    probes = far.tick()
    assert [len(probe) for probe in probes] == [112, 112]
    assert [by_hand_signed(probe[:96]) for probe in probes] == probes
    assert [(probe[:4], probe[26:28]) for probe in probes] == [(bytes(4), b"\0\1"), (bytes(4), b"\0\2")]
    far.answer(answer_to(probes[1]))
    row = far.rows[1]
    assert (row["copies"], row["corrupted"], row["forward_ttl"], row["reflector_seq"]) == (1, 0, 61, 40)
    assert row["reflector_received"] == row["reflector_sent"] != -1
    assert far.rows[0]["copies"] == 0
    assert far.dropped == {}


def test_an_answer_that_nobody_signed_is_dropped(far: Far) -> None:
    probe, _ = far.tick()
    forged = bytearray(answer_to(probe))
    forged[80] ^= 1  # the TTL
    far.answer(bytes(forged))
    assert far.dropped == {"unauthentic": 1}
    assert not far.rows["copies"].any()
    assert not far.rows["corrupted"].any()


def test_a_second_answer_to_one_probe_is_a_copy(far: Far) -> None:
    probe, _ = far.tick()
    far.answer(answer_to(probe), answer_to(probe))
    assert (far.rows["copies"][0], far.dropped) == (2, {})


def test_a_probe_that_is_sent_back_is_no_answer(far: Far) -> None:
    probe, _ = far.tick()
    far.answer(probe)
    assert (far.rows["copies"].sum(), far.rows["corrupted"].sum(), far.dropped) == (0, 0, {"replayed": 1})


def test_an_authentic_answer_to_another_sending_of_the_number_is_refused(far: Far) -> None:
    _, probe = far.tick()
    earlier = by_hand_probe(0, NTP_2026, 0x0001, 2)
    far.answer(answer_to(earlier))
    far.answer(answer_to(probe))
    assert (far.rows["copies"].tolist()[:2], far.rows["corrupted"].sum(), far.dropped) == ([0, 1], 0, {"replayed": 1})


def test_an_authentic_answer_to_a_number_that_was_not_sent_is_stale(far: Far) -> None:
    far.tick()
    far.answer(answer_to(by_hand_probe(1, NTP_2026, 0x0001, 1)))
    assert far.dropped == {"stale": 1}


def test_padding_is_not_signed_but_compared(tmp_path: Path) -> None:
    far = Far(tmp_path, octets=200)
    probe, other = far.tick()
    assert (len(probe), probe[112:116], by_hand_signed(probe[:96])) == (200, b"\x80\x01\x00\x54", probe[:112])
    damaged = bytearray(answer_to(probe))
    damaged[150] ^= 1
    far.answer(bytes(damaged), answer_to(other))
    assert (far.rows["copies"][:2].tolist(), far.rows["corrupted"][:2].tolist(), far.dropped) == ([1, 1], [1, 0], {})
    far.close()


class Near:
    """A sender that the test plays against a reflector: flow 1 is its own, flow 2 somebody else's."""

    def __init__(self, directory: Path) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((PEER, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((POD, 0))
            self.address = free.getsockname()
        told = make_settings(directory, port=self.address[1], destinations=[PEER, "127.3.0.9"], sends=False, octets=112)
        self.log_path = directory / "x.reflector"
        self.reflector = Reflector(replace(told, key=KEY), Bridge(0), GrowingTable(self.log_path, "reflector", {}))

    def give(self, *contents: bytes) -> list[bytes]:
        """Send packets, let the reflector take them, return what came back; loopback delivers before sendto returns."""
        for content in contents:
            self.socket.sendto(content, self.address)
        self.reflector.reflect(self.reflector.descriptors)
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


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Near]:
    made = Near(tmp_path)
    yield made
    made.close()


def probe(seq: int, ssid: int = 1) -> bytes:
    return by_hand_probe(seq, NTP_2026 + seq, 0x0001, ssid)


def test_an_authentic_probe_is_answered_as_the_rfc_says(near: Near) -> None:
    sent = probe(3)
    (came,) = near.give(sent)
    assert came == by_hand_answer(
        0, int.from_bytes(came[16:24], "big"), int.from_bytes(came[24:26], "big"), int.from_bytes(came[32:40], "big"), 64, sent
    )
    assert 0 < int.from_bytes(came[32:40], "big") <= int.from_bytes(came[16:24], "big")
    assert near.log["seq"].tolist() == [3]


def test_padding_comes_back_and_other_tlvs_come_back_refused(near: Near) -> None:
    padded, more = probe(1) + TLV, probe(2) + TLV + TLV
    assert [came[112:] for came in near.give(padded, more)] == [b"\0" + TLV[1:], (b"\x20" + TLV[1:]) * 2]
    assert near.reflector.counters["malformed_tlvs"] == 1


def test_what_our_key_did_not_sign_is_neither_answered_nor_logged(near: Near) -> None:
    forged = bytearray(probe(1))
    forged[0] ^= 1
    unsigned = probe(2)[:96] + bytes(16)
    assert near.give(bytes(forged), unsigned, probe(3)[:96], bytes(112)) == []
    assert (near.reflector.counters["unauthentic"], near.reflector.counters["malformed"]) == (2, 2)
    assert near.log.size == 0


def test_a_probe_is_answered_once_however_often_it_comes(near: Near) -> None:
    again = probe(5)
    assert len(near.give(again, probe(4), again)) == 2
    assert near.give(again, again + TLV) == []
    assert len(near.give(probe(6))) == 1
    assert near.reflector.counters["replayed"] == 3
    assert near.log["seq"].tolist() == [5, 4, 6]


def test_an_answer_that_is_sent_to_a_reflector_is_no_probe(near: Near) -> None:
    (came,) = near.give(probe(7))
    assert near.give(came) == []
    assert (near.reflector.counters["replayed"], near.log["seq"].tolist()) == (1, [7])


def test_a_forged_probe_does_not_use_up_the_number_of_a_true_one(near: Near) -> None:
    forged = bytearray(probe(9))
    forged[-1] ^= 1
    assert near.give(bytes(forged)) == []
    assert len(near.give(probe(9))) == 1


def test_a_flow_of_somebody_else_is_foreign_however_well_it_is_signed(near: Near) -> None:
    assert near.give(probe(1, ssid=2), probe(1, ssid=3)) == []
    assert near.reflector.counters["foreign"] == 2


CHANGES = st.lists(st.tuples(st.integers(0, 111), st.integers(1, 255)), max_size=2)
"""(place, what is added to the octet there)"""


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A probe changed before or after it was signed, or cut, with something behind it or not."""
    content = bytearray(probe(draw(st.integers(0, 30)), draw(st.sampled_from([1, 1, 1, 2, 3]))))
    for at, mask in draw(CHANGES):
        content[at] ^= mask
    if draw(st.booleans()):
        content = bytearray(by_hand_signed(bytes(content[:96])))
    length = draw(st.one_of(st.just(112), st.integers(0, 112)))
    return bytes(content[:length]) + draw(st.one_of(st.just(b""), st.just(TLV), st.binary(max_size=30)))


def judge(contents: list[bytes], newest: dict[int, int]) -> tuple[list[bytes], Counter[str]]:
    """What a reflector must answer, and what it must call the rest.

    `newest` has the largest number that came before in each place of the window's ring: no other is surely new.
    """
    answered, counts = [], Counter[str]()
    for content in contents:
        if len(content) < 112 or content[25] == 0:
            counts["malformed"] += 1
        elif content[26:28] != b"\0\1":
            counts["foreign"] += 1
        elif by_hand_signed(content[:96]) != content[:112]:
            counts["unauthentic"] += 1
        elif (number := int.from_bytes(content[:4])) <= newest.get(number % PLACES_MIN, -1) or any(content[32:40]):
            counts["replayed"] += 1
        else:
            newest[number % PLACES_MIN] = number
            answered.append(content)
            counts["answered"] += 1
    return answered, counts


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.one_of(mutated(), st.binary(max_size=200)), max_size=8), min_size=1, max_size=3))
def test_only_what_is_ours_and_new_is_answered_and_all_is_counted(batches: list[list[bytes]], tmp_path: Path) -> None:
    near, newest = Near(tmp_path), dict[int, int]()
    try:
        for batch in batches:
            before = near.reflector.counters.copy()
            expected, counts = judge(batch, newest)
            came = near.give(*batch)
            assert [(len(content), content[48:52], content[64:72]) for content in came] == [
                (len(content), content[:4], content[16:24]) for content in expected
            ]
            assert [by_hand_signed(content[:96]) for content in came] == [content[:112] for content in came]
            names = ("malformed", "foreign", "unauthentic", "replayed", "answered")
            rise = {name: near.reflector.counters[name] - before[name] for name in names}
            assert rise == {name: counts[name] for name in names}
            assert sum(rise.values()) == len(batch)
    finally:
        near.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packets=st.lists(st.tuples(st.sampled_from(["answer", "probe", "noise"]), CHANGES), min_size=1, max_size=6))
def test_whatever_comes_to_a_sender_only_true_answers_fill_rows(
    packets: list[tuple[str, list[tuple[int, int]]]], tmp_path: Path
) -> None:
    far = Far(tmp_path)
    try:
        sent = far.tick()
        contents, true = [], 0
        for kind, changes in packets:
            content = bytearray({"answer": answer_to(sent[0]), "probe": sent[0], "noise": bytes(range(112))}[kind])
            for at, mask in changes:
                content[at] ^= mask
            contents.append(bytes(content))
            true += bytes(content) == answer_to(sent[0])
        far.answer(*contents)
        assert far.rows["copies"][:2].tolist() == [true, 0]
        assert not far.rows["corrupted"].any()
        assert sum(far.dropped.values()) == len(contents) - true
    finally:
        far.close()


def test_the_key_stays_with_the_agent(near: Near) -> None:
    assert KEY.hex() not in repr(near.reflector.__dict__)
    assert KEY not in near.log_path.read_bytes()


def test_two_ends_with_different_keys_are_deaf_to_each_other(tmp_path: Path) -> None:
    near = Near(tmp_path)
    packets = np.frombuffer(probe(1), dtype=np.uint8).reshape(1, 112).copy()
    from probes.authentication import Authentication  # noqa: PLC0415 - the only user of it here

    Authentication(OTHER_KEY).sign(packets, np.arange(1))
    assert near.give(packets.tobytes()) == []
    near.close()

"""The authenticated wire format against octets that are put together here from the RFCs, field by field."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import stamp
from probes.authentication import Authentication
from probes.stamp_authenticated import ANSWER, AUTHENTICATED, PACKET_OCTETS, PROBE, is_reflected
from tests.unit.stamp_by_hand import KEY, NTP_2026, by_hand_answer, by_hand_probe, by_hand_signed


def as_packets(*contents: bytes, octets: int = 256) -> tuple[stamp.Octets, np.ndarray]:
    packets = np.zeros((len(contents), octets), dtype=np.uint8)
    for row, content in zip(packets, contents, strict=True):
        row[: len(content)] = np.frombuffer(content, dtype=np.uint8)
    return packets, np.array([len(content) for content in contents])


def reflect(*contents: bytes) -> list[bytes]:
    """Turn probes into signed answers, as many octets as came: numbers from 7, TTL 61."""
    packets, octets = as_packets(*contents)
    rows = np.arange(len(contents))
    stamp.turn_into_answers(
        packets,
        rows,
        reflector_seqs=rows + 7,
        received=np.full(len(rows), NTP_2026 + 5, dtype=np.uint64),
        ttls=np.full(len(rows), 61),
        error=0x8123,
        layout=AUTHENTICATED,
    )
    stamp.view_answers(packets, AUTHENTICATED)["timestamp"] = NTP_2026 + 9
    stamp.mark_tlvs(packets, rows, octets, AUTHENTICATED)
    Authentication(KEY).sign(packets, rows)
    return [bytes(packets[row, : octets[row]]) for row in rows]


def test_both_packets_have_the_112_octets_of_the_rfc() -> None:
    assert (PROBE.itemsize, ANSWER.itemsize, PACKET_OCTETS) == (112, 112, 112)


def test_a_probe_is_the_one_made_by_hand() -> None:
    packets = stamp.make_probes(np.array([4711, 12]), 112, layout=AUTHENTICATED)
    fields = stamp.view_probes(packets, layout=AUTHENTICATED)
    fields["seq"], fields["timestamp"], fields["error"] = 99, NTP_2026, 0x8509
    Authentication(KEY).sign(packets, np.arange(2))
    assert [bytes(packet) for packet in packets] == [by_hand_probe(99, NTP_2026, 0x8509, ssid) for ssid in (4711, 12)]


def test_the_probe_made_by_hand_is_these_octets() -> None:
    # Written down once; the last 16 octets by `openssl dgst -sha256 -mac HMAC`, which is not Python's.
    assert by_hand_probe(99, NTP_2026, 0x8509, 4711).hex() == (
        "00000063000000000000000000000000" + "ee5be5c0400000008509126700000000" + "00" * 64 + "7e12560d9b051c41f81f1adbf8fb7b64"
    )


def test_an_answer_is_the_one_made_by_hand() -> None:
    probe = by_hand_probe(3, NTP_2026, 0x0509, 12)
    assert reflect(probe) == [by_hand_answer(7, NTP_2026 + 9, 0x8123, NTP_2026 + 5, 61, probe)]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(1, 2**16 - 1), st.integers(0, 255))
def test_an_answer_made_by_hand_is_read(number: int, timestamp: int, ssid: int, ttl: int) -> None:
    probe = by_hand_probe(number, timestamp, 0x0001, ssid)
    packets, octets = as_packets(by_hand_answer(5, NTP_2026, 0x0001, NTP_2026 + 1, ttl, probe))
    found = stamp.view_answers(packets, AUTHENTICATED)[0]
    assert stamp.is_answer(packets, octets, AUTHENTICATED).tolist() == [True]
    assert Authentication(KEY).is_authentic(packets, np.arange(1)).tolist() == [True]
    assert (found["seq"], found["ssid"], found["sender_seq"], found["sender_timestamp"]) == (5, ssid, number, timestamp)
    assert (found["received"], found["timestamp"], found["sender_ttl"]) == (NTP_2026 + 1, NTP_2026, ttl)


def test_which_way_a_packet_was_going_shows_in_it() -> None:
    probe = by_hand_probe(3, NTP_2026, 0x0509, 12)
    packets, _ = as_packets(probe, by_hand_answer(7, NTP_2026, 0x8123, NTP_2026, 61, probe))
    assert is_reflected(packets, np.array([1, 0])).tolist() == [True, False]


def test_shorter_packets_and_those_without_a_multiplier_are_none() -> None:
    whole = by_hand_probe(1, 1, 0x0001, 1)
    packets, octets = as_packets(whole, whole[:111], by_hand_probe(1, 1, 0x8100, 1))
    assert stamp.is_probe(packets, octets, AUTHENTICATED).tolist() == [True, False, False]
    packets[0, 24] = 0x40  # Z: not NTP
    assert stamp.is_answer(packets, octets, AUTHENTICATED).tolist() == [False, False, False]


PADDING = b"\x80\x01\x00\x04" + bytes(4)
HMAC_TLV = b"\x80\x08\x00\x10" + bytes(16)


@pytest.mark.parametrize(
    ("tlvs", "flags", "marked"),
    [
        (b"", [], 0),
        (PADDING, [(0, 0x00)], 0),  # one of Extra Padding alone needs no HMAC TLV
        (b"\x80\x01\x00\x00", [(0, 0x00)], 0),
        (PADDING + PADDING, [(0, 0x20), (8, 0x20)], 1),  # two do
        (b"\x80\xc8\x00\x00", [(0, 0xA0)], 1),  # so does another type
        (PADDING + HMAC_TLV, [(0, 0x20), (8, 0xA0)], 1),  # which is not understood
        (b"\xa0\x01\x00\x00", [(0, 0x00)], 0),  # whatever its sender said
        (b"\x80\x01\x00\x05" + bytes(4), [(0, 0xE0)], 1),  # an octet is missing
        (PADDING + b"\x80\x01", [(0, 0x20), (8, 0xE0)], 1),
    ],
)
def test_tlvs_that_nothing_authenticates_come_back_with_the_i_flag(
    tlvs: bytes, flags: list[tuple[int, int]], marked: int
) -> None:
    packets, octets = as_packets(by_hand_probe(1, 1, 0x0001, 1) + tlvs)
    assert stamp.mark_tlvs(packets, np.array([0]), octets, AUTHENTICATED) == marked
    assert [(at, int(packets[0, 112 + at])) for at, _ in flags] == flags


def test_padding_comes_back_as_it_was_sent_or_it_is_noticed() -> None:
    probes = stamp.make_probes(np.arange(1, 5), 160, layout=AUTHENTICATED)
    packets = np.zeros((4, 256), dtype=np.uint8)
    packets[:, :160] = probes
    packets[1, 159] ^= 1
    packets[2, 112] |= stamp.INTEGRITY_FAILED
    packets[3, 60] ^= 1  # not padding: the HMAC's affair
    assert stamp.has_same_padding(packets, probes, AUTHENTICATED).tolist() == [True, False, False, True]


@given(st.lists(st.binary(max_size=240), min_size=1, max_size=8))
def test_no_octets_break_the_masks_or_grow_the_answer(contents: list[bytes]) -> None:
    packets, octets = as_packets(*contents)
    expected = [len(content) >= 112 and content[25] != 0 for content in contents]
    assert stamp.is_probe(packets, octets, AUTHENTICATED).tolist() == expected
    readable = [content for content, is_whole in zip(contents, expected, strict=True) if is_whole]
    answers = reflect(*readable) if readable else []
    assert [len(answer) for answer in answers] == [len(content) for content in readable]
    assert [answer[48:52] for answer in answers] == [content[:4] for content in readable]
    assert [answer[:112] for answer in answers] == [by_hand_signed(answer[:96]) for answer in answers]

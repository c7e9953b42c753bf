"""The wire format, against its RFCs, against scapy's STAMP layer and against nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    ErrorEstimate,
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
    STAMPTestTLV,
)

from probes import stamp

WALL_NS = 1_790_000_000_123_456_789
LAST_NS = ((1 << 32) + (1 << 31) - 2_208_988_800) * 10**9 - 1
"""In 2104; later instants cannot be told from 1968."""


def as_packets(*contents: bytes, octets: int = 256) -> tuple[stamp.Octets, np.ndarray]:
    """Lay packets into a receive buffer, as recvmmsg would."""
    packets = np.zeros((len(contents), octets), dtype=np.uint8)
    for row, content in zip(packets, contents, strict=True):
        row[: len(content)] = np.frombuffer(content[:octets], dtype=np.uint8)
    return packets, np.array([len(content) for content in contents])


def reflect(*contents: bytes, ttl: int = 61) -> list[bytes]:
    """Turn probes into answers and return them with as many octets as came."""
    packets, octets = as_packets(*contents)
    rows = np.arange(len(contents))
    stamp.turn_into_answers(
        packets,
        rows,
        reflector_seqs=rows + 7,
        received=stamp.encode_ntp_batch(np.full(len(contents), WALL_NS)),
        ttls=np.full(len(contents), ttl),
        error=stamp.encode_error(1_000, is_synchronised=True),
    )
    stamp.view_answers(packets)["timestamp"] = stamp.encode_ntp(WALL_NS + 5_000)
    stamp.mark_tlvs(packets, rows, octets)
    return [bytes(packets[row, : octets[row]]) for row in rows]


def test_both_packets_have_the_44_octets_of_the_rfc() -> None:
    assert (stamp.PROBE.itemsize, stamp.ANSWER.itemsize) == (44, 44)


def test_ntp_of_a_known_instant() -> None:
    assert stamp.encode_ntp(0) == 2_208_988_800 << 32
    assert stamp.encode_ntp(500_000_000) & 0xFFFF_FFFF == 0x8000_0000


@given(st.lists(st.integers(0, LAST_NS), min_size=1))
def test_every_nanosecond_survives_the_wire(wall: list[int]) -> None:
    encoded = stamp.encode_ntp_batch(np.array(wall, dtype=np.int64))
    assert encoded.tolist() == [stamp.encode_ntp(value) for value in wall]
    assert stamp.decode_ntp_batch(encoded).tolist() == wall


@given(st.integers(0, 10**12), st.booleans())
def test_error_estimate_covers_the_error_with_little_to_spare(error_ns: int, is_synchronised: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    found = ErrorEstimate(stamp.encode_error(error_ns, is_synchronised=is_synchronised).to_bytes(2, "big"))
    shown_ns = found.multiplier * 2**found.scale * 10**9 / 2**32
    assert int(is_synchronised) == found.S
    assert found.Z == 0
    assert found.multiplier > 0
    assert error_ns <= shown_ns * (1 + 1e-9) <= error_ns * 1.02 + 1


def test_scapy_dissects_a_probe() -> None:
    probes = stamp.make_probes(np.array([1, 4711]), 100)
    fields = stamp.view_probes(probes)
    fields["seq"], fields["timestamp"] = 99, stamp.encode_ntp(WALL_NS)
    fields["error"] = stamp.encode_error(1, is_synchronised=False)
    found = STAMPSessionSenderTestUnauthenticated(bytes(probes[1]))
    assert (found.seq, found.ssid, found.mbz) == (99, 4711, 0)
    assert found.err_estimate.Z == 0
    padding = found.tlv_objects[0]
    assert (int(padding.flags), padding.type, padding.len, len(found.tlv_objects)) == (0x80, 1, 52, 1)
    assert bytes(found) == bytes(probes[1])


def test_a_probe_crafted_by_scapy_is_answered_as_the_rfc_says() -> None:
    probe = STAMPSessionSenderTestUnauthenticated(
        seq=3, ts=3_900_000_000.25, err_estimate=ErrorEstimate(S=1, scale=5, multiplier=9), ssid=12
    )
    (answer,) = reflect(bytes(probe))
    found = STAMPSessionReflectorTestUnauthenticated(answer)
    assert len(answer) == len(bytes(probe)) == 44
    assert (found.seq, found.ssid, found.seq_sender, found.ttl_sender) == (7, 12, 3, 61)
    assert (found.err_estimate_sender.S, found.err_estimate_sender.scale, found.err_estimate_sender.multiplier) == (1, 5, 9)
    assert answer[28:36] == bytes(probe)[4:12]
    assert (found.err_estimate.S, found.err_estimate.Z, found.mbz1, found.mbz2) == (1, 0, 0, 0)
    packets, _ = as_packets(answer)
    assert stamp.decode_ntp_batch(stamp.view_answers(packets)["received"]).tolist() == [WALL_NS]
    assert stamp.decode_ntp_batch(stamp.view_answers(packets)["timestamp"]).tolist() == [WALL_NS + 5_000]


def test_an_answer_crafted_by_scapy_is_read() -> None:
    answer = STAMPSessionReflectorTestUnauthenticated(seq=5, ssid=9, seq_sender=6, ttl_sender=62)
    packets, octets = as_packets(bytes(answer))
    found = stamp.view_answers(packets)[0]
    assert stamp.is_answer(packets, octets).tolist() == [True]
    assert (found["seq"], found["ssid"], found["sender_seq"], found["sender_ttl"]) == (5, 9, 6, 62)


@pytest.mark.parametrize(
    ("tlvs", "flags", "malformed"),
    [
        ([(0x80, 1, 4, 4)], [0x00], False),  # Extra Padding is understood
        ([(0x80, 200, 0, 0), (0x80, 1, 2, 2)], [0x80, 0x00], False),  # an unknown type is not
        ([(0x00, 200, 0, 0)], [0x80], False),  # whatever its sender said
        ([(0x80, 1, 5, 4)], [0xC0], True),  # one octet is missing
        ([(0x80, 1, 4, 4), (0x80, 1, 900, 1), (0x80, 1, 0, 0)], [0x00, 0xC0, 0x80], True),
    ],
)
def test_tlv_flags(tlvs: list[tuple[int, int, int, int]], flags: list[int], malformed: bool) -> None:  # noqa: FBT001 - a column
    content, places = bytes(12) + b"\x00\x01" + bytes(30), []
    for flag, kind, length, there in tlvs:
        places.append(len(content))
        content += bytes([flag, kind]) + length.to_bytes(2, "big") + bytes(there)
    packets, octets = as_packets(content)
    assert stamp.mark_tlvs(packets, np.array([0]), octets) == int(malformed)
    assert packets[0, places].tolist() == flags


def test_a_tlv_header_that_is_cut_off_is_malformed() -> None:
    packets, octets = as_packets(bytes(44) + b"\x80\x01\x00", octets=48)
    assert stamp.mark_tlvs(packets, np.array([0]), octets) == 1
    assert packets[0, 44:].tolist() == [0xC0, 1, 0, 0]


def test_padding_that_comes_back_changed_is_noticed() -> None:
    probes = stamp.make_probes(np.arange(1, 4), 80)
    packets = np.zeros((3, 128), dtype=np.uint8)
    packets[:, :80] = probes
    packets[1, 79] ^= 1
    packets[2, 44] |= stamp.MALFORMED
    assert stamp.has_same_padding(packets, probes).tolist() == [True, False, False]


def mutated() -> st.SearchStrategy[bytes]:
    """Valid probes with octets changed, cut or appended."""
    probe = bytes(
        STAMPSessionSenderTestUnauthenticated(seq=1, ssid=1, tlv_objects=[STAMPTestTLV(type=1, len=8, value=bytes(8))])
    )
    change = st.tuples(st.integers(0, len(probe) - 1), st.integers(0, 255))

    def apply(changes: list[tuple[int, int]], length: int, tail: bytes) -> bytes:
        content = bytearray(probe)
        for at, value in changes:
            content[at] = value
        return bytes(content[:length]) + tail

    return st.builds(apply, st.lists(change, max_size=8), st.integers(0, len(probe)), st.binary(max_size=40))


@given(st.lists(st.one_of(st.binary(max_size=200), mutated()), min_size=1, max_size=8))
def test_nothing_that_comes_can_break_the_masks_or_grow_the_answer(contents: list[bytes]) -> None:
    packets, octets = as_packets(*contents)
    expected = [len(content) >= 44 and content[13] != 0 for content in contents]
    assert stamp.is_probe(packets, octets).tolist() == expected
    readable = [content for content, is_whole in zip(contents, expected, strict=True) if is_whole]
    answers = reflect(*readable) if readable else []
    assert [len(answer) for answer in answers] == [len(content) for content in readable]
    assert [answer[24:28] for answer in answers] == [content[:4] for content in readable]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_rank_equals_counts_the_equal_ones_before(keys: list[int]) -> None:
    from probes.batches import rank_equals  # noqa: PLC0415 - the only user of it here

    assert rank_equals(np.array(keys, dtype=np.int64)).tolist() == [keys[:at].count(key) for at, key in enumerate(keys)]

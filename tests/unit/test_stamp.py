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


def reflect(content: bytes, ttl: int = 61) -> bytes:
    """Turn a probe into its answer, as both ends of datagrams do."""
    probe = stamp.decode_probe(content)
    assert probe is not None
    times = {"timestamp": stamp.encode_ntp(WALL_NS + 5_000), "received": stamp.encode_ntp(WALL_NS)}
    error = stamp.encode_error(1_000, is_synchronised=True)
    return stamp.answer_probe(probe, seq=7, error=error, ttl=ttl, **times) + stamp.mark_tlvs(content[44:])[0]


def test_ntp_of_a_known_instant() -> None:
    assert stamp.encode_ntp(0) == 2_208_988_800 << 32
    assert stamp.encode_ntp(500_000_000) & 0xFFFF_FFFF == 0x8000_0000


@given(st.integers(0, LAST_NS))
def test_every_nanosecond_survives_the_wire(wall_ns: int) -> None:
    assert stamp.decode_ntp(stamp.encode_ntp(wall_ns)) == wall_ns


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
    error = stamp.encode_error(1, is_synchronised=False)
    stamp.write_tick(memoryview(probes[1]), 0, seq=99, timestamp=stamp.encode_ntp(WALL_NS), error=error)
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
    answer = reflect(bytes(probe))
    found = STAMPSessionReflectorTestUnauthenticated(answer)
    assert len(answer) == len(bytes(probe)) == 44
    assert (found.seq, found.ssid, found.seq_sender, found.ttl_sender) == (7, 12, 3, 61)
    assert (found.err_estimate_sender.S, found.err_estimate_sender.scale, found.err_estimate_sender.multiplier) == (1, 5, 9)
    assert answer[28:36] == bytes(probe)[4:12]
    assert (found.err_estimate.S, found.err_estimate.Z, found.mbz1, found.mbz2) == (1, 0, 0, 0)
    read = stamp.decode_answer(answer)
    assert read is not None
    assert (stamp.decode_ntp(read.received), stamp.decode_ntp(read.timestamp)) == (WALL_NS, WALL_NS + 5_000)


def test_an_answer_crafted_by_scapy_is_read() -> None:
    found = stamp.decode_answer(bytes(STAMPSessionReflectorTestUnauthenticated(seq=5, ssid=9, seq_sender=6, ttl_sender=62)))
    assert found is not None
    assert (found.seq, found.ssid, found.sender_seq, found.sender_ttl) == (5, 9, 6, 62)


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
    content, places = b"", []
    for flag, kind, length, there in tlvs:
        places.append(len(content))
        content += bytes([flag, kind]) + length.to_bytes(2, "big") + bytes(there)
    made, is_malformed = stamp.mark_tlvs(content)
    assert ([made[place] for place in places], is_malformed) == (flags, malformed)


def test_a_tlv_header_that_is_cut_off_is_malformed() -> None:
    assert stamp.mark_tlvs(b"\x80\x01\x00") == (b"\xc0\x01\x00", True)


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


@given(st.one_of(st.binary(max_size=200), mutated()))
def test_nothing_that_comes_can_break_the_reading_or_grow_the_answer(content: bytes) -> None:
    is_readable = len(content) >= 44 and content[13] != 0
    assert (stamp.decode_probe(content) is not None) == is_readable
    assert (stamp.decode_answer(content) is not None) == (is_readable and not content[12] & 0x40)
    if is_readable:
        answer = reflect(content)
        assert (len(answer), answer[24:28]) == (len(content), content[:4])

"""Fuzzing the wire format: reading, answering in place and marking TLVs, against the same done one octet at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from probes import stamp
from tests.fuzz.target import Check, Draws, Target

_ROW_OCTETS = 320
_GUARD = 0xA5
"""Lies behind every packet; nothing may be written there."""
_PACKETS_MAX = 6
_RECEIVED, _SENT, _ERROR, _TTL = 0x0102030405060708, 0x1112131415161718, 0x8123, 61


def _draw_packets(draws: Draws) -> list[bytes]:
    packets: list[bytes] = []
    while not draws.is_over and len(packets) < _PACKETS_MAX:
        base = draws.octets(draws.number(255)) if draws.number(3) == 0 else draws.changed(b"\1" * stamp.PACKET_OCTETS)
        packets.append((base + draws.octets(draws.number(100)))[:_ROW_OCTETS])
    return packets


def _mark(tlvs: bytes) -> tuple[bytes, bool]:
    """RFC 8972 4 for one packet; also whether an M flag was set."""
    made, at, is_malformed = bytearray(tlvs), 0, False
    for _ in range(stamp.TLVS_MAX):
        left = len(made) - at
        if left == 0:
            break
        size = 4 + int.from_bytes(made[at + 2 : at + 4], "big")
        if left < 4 or size > left:
            made[at] |= 0x40
            is_malformed = True
            break
        made[at] = 0 if made[at + 1] == 1 else 0x80
        at += size
    return bytes(made), is_malformed


def _answer(probe: bytes, number: int) -> bytes:
    """RFC 8762 4.3.1 for one packet."""
    seq, sent, error, received = _fields(number)
    return seq + sent + error + probe[14:16] + received + probe[:14] + bytes(2) + bytes([_TTL]) + bytes(3)


def _fields(number: int) -> tuple[bytes, bytes, bytes, bytes]:
    return number.to_bytes(4, "big"), _SENT.to_bytes(8, "big"), _ERROR.to_bytes(2, "big"), _RECEIVED.to_bytes(8, "big")


def _check(content: bytes) -> None:
    draws = Draws(content)
    contents = _draw_packets(draws)
    packets = np.full((len(contents), _ROW_OCTETS), _GUARD, dtype=np.uint8)
    for row, packet in zip(packets, contents, strict=True):
        row[: len(packet)] = np.frombuffer(packet, dtype=np.uint8)
    octets = np.array([len(packet) for packet in contents], dtype=np.int64)
    before = packets.copy()
    expected = [len(packet) >= stamp.PACKET_OCTETS and packet[13] != 0 for packet in contents]
    assert stamp.is_probe(packets, octets).tolist() == expected
    is_ntp = [whole and packet[12] & 0x40 == 0 for packet, whole in zip(contents, expected, strict=True)]
    assert stamp.is_answer(packets, octets).tolist() == is_ntp
    rows = np.flatnonzero(expected)
    stamp.turn_into_answers(
        packets,
        rows,
        reflector_seqs=rows + 7,
        received=np.full(len(rows), _RECEIVED, dtype=np.uint64),
        ttls=np.full(len(rows), _TTL),
        error=_ERROR,
    )
    stamp.view_answers(packets)["timestamp"][rows] = _SENT
    marked = stamp.mark_tlvs(packets, rows, octets[rows])
    for place, packet in enumerate(contents):
        made = before[place, : len(packet)].tobytes()
        if expected[place]:
            tlvs, is_marked = _mark(packet[stamp.PACKET_OCTETS :])
            made = _answer(packet, place + 7) + tlvs
            marked -= is_marked
        assert packets[place].tobytes() == made + before[place, len(packet) :].tobytes()
    assert marked == 0


@contextmanager
def _open() -> Iterator[Check]:
    yield _check


TARGET = Target(
    name="wire",
    open=_open,
    seeds=(
        bytes([1, 0, 1, 8, 0x80, 1, 0, 4, 9, 9, 9, 9]),
        bytes([1, 0, 1, 12, 0x80, 200, 0, 0, 0x80, 1, 0, 4, 9, 9, 9, 9]),
        bytes([0, 50]) + b"\1" * 50,
        bytes([1, 1, 12, 0x40, 1, 0]),  # Z = 1
    ),
)

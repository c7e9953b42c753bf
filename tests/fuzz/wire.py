"""Fuzzing the wire format: reading, answering and marking TLVs, against the same done one octet at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from probes import stamp
from tests.fuzz.target import Check, Draws, Target

_PACKETS_MAX = 6
_RECEIVED, _SENT, _ERROR, _TTL = 0x0102030405060708, 0x1112131415161718, 0x8123, 61


def _draw_packets(draws: Draws) -> list[bytes]:
    packets: list[bytes] = []
    while not draws.is_over and len(packets) < _PACKETS_MAX:
        base = draws.octets(draws.number(255)) if draws.number(3) == 0 else draws.changed(b"\1" * stamp.PACKET_OCTETS)
        packets.append(base + draws.octets(draws.number(100)))
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
    for place, packet in enumerate(_draw_packets(Draws(content))):
        is_whole = len(packet) >= stamp.PACKET_OCTETS and packet[13] != 0
        probe, answer = stamp.decode_probe(packet), stamp.decode_answer(packet)
        assert (probe is not None, answer is not None) == (is_whole, is_whole and packet[12] & 0x40 == 0)
        if probe is not None:
            made = stamp.answer_probe(probe, seq=place, timestamp=_SENT, received=_RECEIVED, error=_ERROR, ttl=_TTL)
            tlvs = packet[stamp.PACKET_OCTETS :]
            assert (made, stamp.mark_tlvs(tlvs)) == (_answer(packet, place), _mark(tlvs))
        if answer is not None:
            assert stamp.encode_answer(answer)[:36] == packet[:36]


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

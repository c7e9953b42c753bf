"""Authenticated STAMP packets put together from the RFCs, field by field, without any code of the probes."""

from __future__ import annotations

import hashlib
import hmac
import struct

KEY = bytes.fromhex("00112233445566778899aabbccddeeff" * 2)
NTP_2026 = (3_999_000_000 << 32) | 0x4000_0000
"""A quarter of a second after 3,999,000,000 s since 1900."""


def by_hand_signed(blocks: bytes) -> bytes:
    """Six blocks of 16 octets, then the first 128 bits of their HMAC-SHA-256. Source: RFC 8762 4.4."""
    assert len(blocks) == 96
    return blocks + hmac.new(KEY, blocks, hashlib.sha256).digest()[:16]


def by_hand_probe(seq: int, timestamp: int, error: int, ssid: int) -> bytes:
    """RFC 8762 4.2.2, with the SSID of RFC 8972 3 in the first two octets of the second MBZ field."""
    sequence_number = struct.pack(">I", seq) + bytes(12)  # MBZ (12 octets)
    rest = struct.pack(">Q", timestamp) + struct.pack(">H", error) + struct.pack(">H", ssid) + bytes(68)  # MBZ (68 octets)
    return by_hand_signed(sequence_number + rest)


def by_hand_answer(seq: int, timestamp: int, error: int, received: int, ttl: int, probe: bytes) -> bytes:
    """RFC 8762 4.3.2, with the SSID of RFC 8972 3; `probe` is what is answered."""
    blocks = struct.pack(">I", seq) + bytes(12)  # Sequence Number, MBZ (12 octets)
    blocks += struct.pack(">Q", timestamp) + struct.pack(">H", error) + probe[26:28] + bytes(4)  # SSID, MBZ (4 octets)
    blocks += struct.pack(">Q", received) + bytes(8)  # Receive Timestamp, MBZ (8 octets)
    blocks += probe[0:4] + bytes(12)  # Session-Sender Sequence Number, MBZ (12 octets)
    blocks += probe[16:24] + probe[24:26] + bytes(6)  # Session-Sender Timestamp, its Error Estimate, MBZ (6 octets)
    blocks += struct.pack(">B", ttl) + bytes(15)  # Session-Sender TTL, MBZ (15 octets)
    return by_hand_signed(blocks)

"""STAMP on the wire: the test packets of both directions, one at a time, and the probes of an agent as one buffer.

RFC 8762 with extensions of RFC 8972: the Session Identifier (SSID) distinguishes the flows of an agent,
the Extra Padding TLV makes larger probes. Timestamps are NTP 64-bit (Z = 0). A test packet has 44 octets or more;
shorter ones are dropped, because answering them as RFC 8762 4.6 allows would send more octets than came. The mode is the
unauthenticated one.

On a connection a message is the fixed 44 octets, no TLVs: that is the whole framing. An invalid message there cannot be
skipped, because the start of the next one is unknown.

Pure: nothing here touches a socket or a clock.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
"""Shape (packets, octets): one row per packet."""
Content = bytes | bytearray | memoryview

PORT: Final = 8620
"""UDP port of the reflector: 862 (RFC 8762 4.1) is privileged."""
PACKET_OCTETS: Final = 44
"""Least size of a test packet, both directions. Source: RFC 8762 4.2.1, 4.3.1."""
SSID_MAX: Final = 65_535
"""The SSID has 16 bits, and 0 means none. Source: RFC 8972 3."""
TLV_HEADER_OCTETS: Final = 4
"""Flags, Type, Length. Source: RFC 8972 4."""
EXTRA_PADDING: Final = 1
"""Type of the Extra Padding TLV. Source: RFC 8972 4.1, 5.1."""
UNRECOGNISED: Final = 0x80
"""U flag: the sender sets it, the reflector clears it on TLVs that it understands. Source: RFC 8972 4."""
MALFORMED: Final = 0x40
"""M flag: the reflector sets it on a TLV that does not fit into the packet. Source: RFC 8972 4."""
TLVS_MAX: Final = 16
"""Limit of the work: further TLVs are returned unchanged, with U = 1 (not understood)."""

_PROBE: Final = struct.Struct(">IQHH28x")
_CHANGING: Final = struct.Struct(">IQH")
"""The fields of a probe that change from tick to tick: seq, timestamp, Error Estimate."""
_ANSWER: Final = struct.Struct(">IQHHQIQH2xB3x")
_SSID_AT: Final = 14
_MULTIPLIER: Final = 0x00FF
"""Multiplier of the Error Estimate; 0 is corrupt. Source: RFC 4656 4.1.2."""
_PTP_FORMAT: Final = 0x4000
"""Z bit of the Error Estimate: the timestamps are PTP's. Source: RFC 8762 4.2.1, RFC 8186 2.1."""
_NTP_EPOCH_S: Final = 2_208_988_800
"""Seconds from 1900 (NTP era 0) to 1970. Source: RFC 5905 6."""
_SECOND_NS: Final = 1_000_000_000
_ERA_1_SECONDS: Final = 1 << 31
"""NTP seconds below this belong to era 1, which begins in 2036. Source: RFC 4330 3."""


class Probe(NamedTuple):
    """A Session-Sender test packet. Source: RFC 8762 4.2.1 with the SSID of RFC 8972 3."""

    seq: int
    timestamp: int
    """NTP 64-bit."""
    error: int
    """Error Estimate."""
    ssid: int
    """The flow."""


class Answer(NamedTuple):
    """A Session-Reflector test packet, stateful. Source: RFC 8762 4.3.1 with the SSID of RFC 8972 3."""

    seq: int
    """The reflector's own."""
    timestamp: int
    """When the reflector sent it, NTP 64-bit."""
    error: int
    ssid: int
    received: int
    """When the reflector received the probe, NTP 64-bit."""
    sender_seq: int
    sender_timestamp: int
    sender_error: int
    sender_ttl: int
    """0: unknown, as with TCP."""


def encode_probe(probe: Probe) -> bytes:
    """Return a probe as octets."""
    return _PROBE.pack(*probe)


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as octets."""
    return _ANSWER.pack(*answer)


def read_probe(content: Content, offset: int = 0) -> Probe:
    """Return the 44 octets from `offset` on as a probe, without a check."""
    return Probe(*_PROBE.unpack_from(content, offset))


def decode_probe(content: Content) -> Probe | None:
    """Return the probe that a packet begins with; None: it is too short, or its Error Estimate has no multiplier.

    MBZ octets are ignored on receipt, and only the sender interprets the timestamp's format. Source: RFC 8762 4.2.1;
    RFC 4656 4.1.2: a multiplier of 0 is corrupt.
    """
    probe = read_probe(content) if len(content) >= PACKET_OCTETS else None
    return probe if probe is not None and probe.error & _MULTIPLIER else None


def decode_answer(content: Content) -> Answer | None:
    """Return the answer that a packet begins with; None: as `decode_probe`, or its timestamps are not NTP's."""
    answer = Answer(*_ANSWER.unpack_from(content)) if len(content) >= PACKET_OCTETS else None
    return answer if answer is not None and answer.error & _MULTIPLIER and not answer.error & _PTP_FORMAT else None


def answer_probe(probe: Probe, *, seq: int, timestamp: int, received: int, error: int, ttl: int) -> bytes:
    """Return the answer to a probe, without TLVs after its 44 octets; the arguments are the fields of an Answer.

    Source: RFC 8762 4.3.1; RFC 8972 3: the SSID is copied.
    """
    sent = (probe.seq, probe.timestamp, probe.error, ttl)
    return encode_answer(Answer(seq & 0xFFFF_FFFF, timestamp, error, probe.ssid, received, *sent))


def mark_tlvs(tlvs: bytes) -> tuple[bytes, bool]:
    """Return the TLVs after a probe's 44 octets as in the answer, and whether one is malformed.

    U is cleared on Extra Padding and set on other types, M is set where one does not fit. The octets after a malformed TLV
    cannot be parsed and are returned unchanged. Source: RFC 8972 4.
    """
    made, position = bytearray(tlvs), 0
    for _ in range(TLVS_MAX):
        left = len(made) - position
        if not left:
            break
        size = TLV_HEADER_OCTETS + int.from_bytes(made[position + 2 : position + 4], "big")
        if left < TLV_HEADER_OCTETS or size > left:
            made[position] |= MALFORMED
            return bytes(made), True
        made[position] = 0 if made[position + 1] == EXTRA_PADDING else UNRECOGNISED
        position += size
    return bytes(made), False


def encode_ntp(wall_ns: int) -> int:
    """Return a wall time (ns since 1970) as an NTP 64-bit timestamp.

    The fraction is cut off; `decode_ntp` rounds, so that every nanosecond survives the way there and back.
    """
    seconds, rest_ns = divmod(wall_ns, _SECOND_NS)
    return ((seconds + _NTP_EPOCH_S) & 0xFFFF_FFFF) << 32 | (rest_ns << 32) // _SECOND_NS


def decode_ntp(timestamp: int) -> int:
    """Return an NTP 64-bit timestamp as a wall time, ns since 1970; 1968 to 2104 can be told apart."""
    seconds, fraction = timestamp >> 32, timestamp & 0xFFFF_FFFF
    seconds += 1 << 32 if seconds < _ERA_1_SECONDS else 0
    return (seconds - _NTP_EPOCH_S) * _SECOND_NS + ((fraction * _SECOND_NS + (1 << 31)) >> 32)


def encode_error(error_ns: int, *, is_synchronised: bool) -> int:
    """Return the Error Estimate: S, Z = 0, Scale, Multiplier; error = Multiplier * 2^-32 * 2^Scale seconds, rounded up.

    The multiplier is never 0: such a packet counts as corrupt. Source: RFC 4656 4.1.2, RFC 8762 4.2.1.

    Args:
        error_ns: how far the timestamp may be off, ns.
        is_synchronised: whether the clock follows UTC by an external source.
    """
    units = max(1, -(-(error_ns << 32) // _SECOND_NS))
    scale = max(0, units.bit_length() - 8)
    multiplier = -(-units >> scale)
    if multiplier >> 8:  # rounding up carried into a ninth bit
        scale, multiplier = scale + 1, (multiplier + 1) >> 1
    return (int(is_synchronised) << 15) | (min(scale, 0x3F) << 8) | multiplier


def make_probes(ssids: npt.NDArray[Any], packet_octets: int) -> Octets:
    """Return one probe per flow with everything that does not change from tick to tick; see `write_tick`.

    Args:
        ssids: shape (flows,).
        packet_octets: UDP payload: 44, or 48 and more (a TLV takes four octets at least). The padding is pseudorandom, as RFC
            8972 4.1 recommends, and the same in every run.

    Returns:
        Shape (flows, packet_octets).
    """
    packets = np.zeros((len(ssids), packet_octets), dtype=np.uint8)
    packets[:, _SSID_AT : _SSID_AT + 2] = ssids.astype(">u2").view(np.uint8).reshape(-1, 2)
    if packet_octets > PACKET_OCTETS:
        padding = PACKET_OCTETS + TLV_HEADER_OCTETS
        length = packet_octets - padding
        packets[:, PACKET_OCTETS:padding] = (UNRECOGNISED, EXTRA_PADDING, length >> 8, length & 0xFF)
        random = np.random.default_rng(0)
        packets[:, padding:] = random.integers(0, 256, size=(len(ssids), length), dtype=np.uint8)
    return packets


def write_tick(packet: memoryview, offset: int, *, seq: int, timestamp: int, error: int) -> None:
    """Write the fields that change from tick to tick into a probe that begins at `offset`."""
    _CHANGING.pack_into(packet, offset, seq, timestamp, error)

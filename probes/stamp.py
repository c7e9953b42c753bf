"""STAMP on the wire: whole batches of test packets as numpy views of one buffer.

RFC 8762 with the extensions of RFC 8972 that the probing needs: the Session Identifier (SSID) tells the flows of an agent
apart, the Extra Padding TLV makes larger probes. Timestamps are NTP 64-bit (Z = 0). A test packet has 44 octets or more;
shorter ones are dropped, because answering them as RFC 8762 4.6 allows would send more octets than came. The mode is the
unauthenticated one.

Pure: nothing here touches a socket or a clock.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hitless.records import Rows

Octets = npt.NDArray[np.uint8]
"""Shape (packets, octets): one row a packet."""
Integers = npt.NDArray[Any]
"""One-dimensional, some integer dtype."""
Mask = npt.NDArray[np.bool_]

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
"""U flag: the sender sets it, the reflector clears it on what it understands. Source: RFC 8972 4."""
MALFORMED: Final = 0x40
"""M flag: the reflector sets it on a TLV that does not fit into the packet. Source: RFC 8972 4."""
TLVS_MAX: Final = 16
"""TLVs after this many are returned as they came: with U = 1, not understood, which is the truth. It bounds the work."""

PROBE: Final = np.dtype(
    [
        ("seq", ">u4"),
        ("timestamp", ">u8"),
        ("error", ">u2"),
        ("ssid", ">u2"),
        ("zero", "u1", 28),  # MBZ
    ]
)
"""Session-Sender test packet. Source: RFC 8762 4.2.1 with the SSID of RFC 8972 3."""

ANSWER: Final = np.dtype(
    [
        ("seq", ">u4"),  # the reflector's own
        ("timestamp", ">u8"),  # when the reflector sent it
        ("error", ">u2"),
        ("ssid", ">u2"),
        ("received", ">u8"),  # when the reflector received the probe
        ("sender_seq", ">u4"),
        ("sender_timestamp", ">u8"),
        ("sender_error", ">u2"),
        ("zero_1", ">u2"),  # MBZ
        ("sender_ttl", "u1"),
        ("zero_2", "u1", 3),  # MBZ
    ]
)
"""Session-Reflector test packet of a stateful reflector. Source: RFC 8762 4.3.1 with the SSID of RFC 8972 3."""


_SCALE_AT: Final = 12
"""Octet with S, Z and Scale of the Error Estimate, both directions; the Multiplier follows."""
_NTP_EPOCH_S: Final = 2_208_988_800
"""Seconds from 1900 (NTP era 0) to 1970. Source: RFC 5905 6."""
_SECOND_NS: Final = 1_000_000_000
_ERA_1_SECONDS: Final = 1 << 31
"""NTP seconds below this belong to era 1, which begins in 2036. Source: RFC 4330 3."""
_PTP_FORMAT: Final = 0x40
"""Z bit: the timestamps are PTP's. Source: RFC 8762 4.2.1, RFC 8186 2.1."""


def encode_ntp(wall_ns: int) -> int:
    """Return a wall time (ns since 1970) as an NTP 64-bit timestamp.

    The fraction is cut off; `decode_ntp` rounds, so that every nanosecond survives the way there and back.
    """
    seconds, rest_ns = divmod(wall_ns, _SECOND_NS)
    return ((seconds + _NTP_EPOCH_S) & 0xFFFF_FFFF) << 32 | (rest_ns << 32) // _SECOND_NS


def decode_ntp(timestamp: int) -> int:
    """Return an NTP 64-bit timestamp as a wall time, ns since 1970."""
    seconds, fraction = timestamp >> 32, timestamp & 0xFFFF_FFFF
    seconds += 1 << 32 if seconds < _ERA_1_SECONDS else 0
    return (seconds - _NTP_EPOCH_S) * _SECOND_NS + ((fraction * _SECOND_NS + (1 << 31)) >> 32)


def encode_ntp_batch(wall_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return wall times (ns since 1970, not before it) as NTP 64-bit timestamps."""
    unsigned = wall_ns.astype(np.uint64)
    seconds = unsigned // np.uint64(_SECOND_NS)
    rest_ns = unsigned - seconds * np.uint64(_SECOND_NS)
    whole = (seconds + np.uint64(_NTP_EPOCH_S)) << np.uint64(32)  # the shift drops the era
    return whole | (rest_ns << np.uint64(32)) // np.uint64(_SECOND_NS)


def decode_ntp_batch(timestamps: Integers) -> npt.NDArray[np.int64]:
    """Return NTP 64-bit timestamps as wall times, ns since 1970; 1968 to 2104 can be told apart."""
    unsigned = timestamps.astype(np.uint64)
    seconds = (unsigned >> np.uint64(32)).astype(np.int64)
    seconds += np.where(seconds < _ERA_1_SECONDS, 1 << 32, 0)
    fraction = unsigned & np.uint64(0xFFFF_FFFF)
    rest_ns = (fraction * np.uint64(_SECOND_NS) + np.uint64(1 << 31)) >> np.uint64(32)
    return np.asarray((seconds - _NTP_EPOCH_S) * _SECOND_NS + rest_ns.astype(np.int64), dtype=np.int64)


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


def make_probes(ssids: Integers, packet_octets: int, padding_seed: int = 0) -> Octets:
    """Return one probe a flow with everything that stays the same from tick to tick.

    Args:
        ssids: shape (flows,).
        packet_octets: UDP payload: 44, or 48 and more (a TLV takes four octets at least).
        padding_seed: seeds the padding, which is pseudorandom as RFC 8972 4.1 recommends.

    Returns:
        Shape (flows, packet_octets). `view_probes` gives the fields that change: seq, timestamp, error.
    """
    packets = np.zeros((len(ssids), packet_octets), dtype=np.uint8)
    view_probes(packets)["ssid"] = ssids
    if packet_octets > PACKET_OCTETS:
        padding = PACKET_OCTETS + TLV_HEADER_OCTETS
        length = packet_octets - padding
        packets[:, PACKET_OCTETS:padding] = (UNRECOGNISED, EXTRA_PADDING, length >> 8, length & 0xFF)
        random = np.random.default_rng(padding_seed)
        packets[:, padding:] = random.integers(0, 256, size=(len(ssids), length), dtype=np.uint8)
    return packets


def view_probes(packets: Octets, offset: int = 0) -> Rows:
    """Return the octets of every packet, from `offset` on, as PROBE fields: a view, shape (packets,)."""
    return np.ndarray((len(packets),), dtype=PROBE, buffer=packets.data, offset=offset, strides=(packets.strides[0],))


def view_answers(packets: Octets) -> Rows:
    """Return the first octets of every packet as ANSWER fields: a view, shape (packets,)."""
    return np.ndarray((len(packets),), dtype=ANSWER, buffer=packets.data, strides=(packets.strides[0],))


def is_probe(packets: Octets, octets: Integers) -> Mask:
    """Tell which packets are test packets: long enough, and their Error Estimate has a multiplier.

    MBZ octets are ignored on receipt, and the timestamp's format is the sender's own affair. Source: RFC 8762 4.2.1;
    RFC 4656 4.1.2: a multiplier of 0 is corrupt.

    Args:
        packets: shape (packets, at least 44); what lies behind `octets` in it decides nothing.
        octets: shape (packets,), UDP payload lengths.
    """
    return np.asarray((octets >= PACKET_OCTETS) & (packets[:, _SCALE_AT + 1] != 0), dtype=np.bool_)


def is_answer(packets: Octets, octets: Integers) -> Mask:
    """Tell which packets are answers that can be read: as `is_probe`, and their timestamps are NTP (Z = 0)."""
    is_ntp = (packets[:, _SCALE_AT] & _PTP_FORMAT) == 0
    return np.asarray(is_probe(packets, octets) & is_ntp, dtype=np.bool_)


def turn_into_answers(
    packets: Octets,
    rows: npt.NDArray[np.intp],
    *,
    reflector_seqs: Integers,
    received: npt.NDArray[np.uint64],
    ttls: Integers,
    error: int,
) -> None:
    """Turn probes into answers where they lie. The length, the SSID and the TLVs stay.

    The timestamp is left to the caller.

    Source: RFC 8762 4.3.1 (fields), RFC 8972 3 (SSID is copied) and 4 (TLVs come back).

    Args:
        packets: shape (slots, octets), the receive buffer.
        rows: which slots to turn.
        reflector_seqs: the reflector's sequence number of each.
        received: when each was received, NTP.
        ttls: the TTL with which each came.
        error: the reflector's Error Estimate.
    """
    answers = view_answers(packets)
    probes = view_probes(packets)[rows]  # fancy indexing copies: what came is needed while it is overwritten
    made = np.zeros(len(rows), dtype=ANSWER)
    made["seq"] = reflector_seqs
    made["error"] = error
    made["ssid"] = probes["ssid"]
    made["received"] = received
    made["sender_seq"] = probes["seq"]
    made["sender_timestamp"] = probes["timestamp"]
    made["sender_error"] = probes["error"]
    made["sender_ttl"] = ttls
    answers[rows] = made


def mark_tlvs(packets: Octets, rows: npt.NDArray[np.intp], octets: Integers) -> int:
    """Set the flags of every TLV: U cleared on Extra Padding, U set on other types, M where one does not fit.

    What follows a malformed TLV cannot be found and stays as it came. Source: RFC 8972 4.

    Args:
        packets: shape (slots, octets), the receive buffer.
        rows: which slots to look at.
        octets: shape (len(rows),), UDP payload length of each.

    Returns:
        The number of packets with a malformed TLV.
    """
    position = np.full(len(rows), PACKET_OCTETS, dtype=np.intp)
    marked = 0
    for _ in range(TLVS_MAX):
        left = octets.astype(np.intp) - position
        more = left > 0
        if not more.any():
            break
        rows, octets, position, left = rows[more], octets[more], position[more], left[more]
        kind, size = _read_headers(packets, rows, position)
        fits = (left >= TLV_HEADER_OCTETS) & (size <= left)
        packets[rows[fits], position[fits]] = np.where(kind[fits] == EXTRA_PADDING, 0, UNRECOGNISED)
        packets[rows[~fits], position[~fits]] |= MALFORMED
        marked += int(np.count_nonzero(~fits))
        rows, octets, position = rows[fits], octets[fits], (position + size)[fits]
    return marked


def _read_headers(
    packets: Octets, rows: npt.NDArray[np.intp], position: npt.NDArray[np.intp]
) -> tuple[Octets, npt.NDArray[np.intp]]:
    """Return the type of each TLV and its size with its header, which the packet may be too short for."""
    at = np.minimum(position, packets.shape[1] - TLV_HEADER_OCTETS)  # a cut header is not read, its length is
    return packets[rows, at + 1], TLV_HEADER_OCTETS + packets[rows, at + 2].astype(np.intp) * 256 + packets[rows, at + 3]


def has_same_padding(packets: Octets, probes: Octets) -> Mask:
    """Tell which answers return the padding that was sent and do not call it malformed.

    Args:
        packets: shape (answers, at least probes.shape[1]), as received, whole.
        probes: shape (answers, probe octets), the probe of each.
    """
    octets = probes.shape[1]
    if octets == PACKET_OCTETS:
        return np.ones(len(probes), dtype=np.bool_)
    same = (packets[:, PACKET_OCTETS + 1 : octets] == probes[:, PACKET_OCTETS + 1 :]).all(axis=1)
    return np.asarray(same & ((packets[:, PACKET_OCTETS] & MALFORMED) == 0), dtype=np.bool_)

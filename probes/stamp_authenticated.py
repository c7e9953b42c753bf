"""STAMP's authenticated mode: where the fields of its test packets lie, and which way a packet was going.

Both packets have 112 octets: the fields of the unauthenticated mode, spread over six blocks of 16 octets, and the HMAC over
these. One Extra Padding TLV may follow; anything else would need an HMAC TLV (RFC 8972 4.8). What this HMAC does not cover
is compared when it comes back: the padding, as in the unauthenticated mode.

Pure: nothing here touches a socket, a clock or a key.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from probes.stamp import Layout, Mask, Octets

PACKET_OCTETS: Final = 112
"""Least size of a test packet, both directions. Source: RFC 8762 4.2.2, 4.3.2."""

PROBE: Final = np.dtype(
    [
        ("seq", ">u4"),
        ("zero_1", "u1", 12),  # MBZ
        ("timestamp", ">u8"),
        ("error", ">u2"),
        ("ssid", ">u2"),
        ("zero_2", "u1", 68),  # MBZ
        ("hmac", "u1", 16),
    ]
)
"""Session-Sender test packet. Source: RFC 8762 4.2.2 with the SSID of RFC 8972 3."""

ANSWER: Final = np.dtype(
    [
        ("seq", ">u4"),  # the reflector's own
        ("zero_1", "u1", 12),  # MBZ
        ("timestamp", ">u8"),  # when the reflector sent it
        ("error", ">u2"),
        ("ssid", ">u2"),
        ("zero_2", "u1", 4),  # MBZ
        ("received", ">u8"),  # when the reflector received the probe
        ("zero_3", "u1", 8),  # MBZ
        ("sender_seq", ">u4"),
        ("zero_4", "u1", 12),  # MBZ
        ("sender_timestamp", ">u8"),
        ("sender_error", ">u2"),
        ("zero_5", "u1", 6),  # MBZ
        ("sender_ttl", "u1"),
        ("zero_6", "u1", 15),  # MBZ
        ("hmac", "u1", 16),
    ]
)
"""Session-Reflector test packet of a stateful reflector. Source: RFC 8762 4.3.2 with the SSID of RFC 8972 3."""

AUTHENTICATED: Final = Layout(octets=PACKET_OCTETS, probe=PROBE, answer=ANSWER, scale_at=24, is_authenticated=True)

_RECEIVED: Final = slice(32, 40)
"""Octets of the Receive Timestamp; in a probe they are zero (MBZ)."""


def is_reflected(packets: Octets, rows: npt.NDArray[np.intp]) -> Mask:
    """Tell which of these packets a reflector made, by their Receive Timestamp.

    One key signs both directions and nothing under the HMAC says which it is, so an answer that is sent to a reflector would
    pass for a probe, and a probe that is sent back for an answer.

    Args:
        packets: shape (slots, at least PACKET_OCTETS).
        rows: shape (n,), which slots to look at.
    """
    return np.asarray(packets[rows, _RECEIVED].any(axis=1), dtype=np.bool_)

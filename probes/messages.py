"""One STAMP message at a time, for connections: the layouts of `probes.stamp` without a batch around them.

On a connection a message is its fixed 44 octets, no TLVs: that is the whole framing. What does not look like a message there
cannot be skipped, because the start of the next one is unknown. Pure.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from probes import stamp

MESSAGE_OCTETS: Final = stamp.PACKET_OCTETS
_PROBE: Final = struct.Struct(">IQHH28x")
"""`stamp.PROBE`."""
_ANSWER: Final = struct.Struct(">IQHHQIQH2xB3x")
"""`stamp.ANSWER`."""
_MULTIPLIER: Final = 0x00FF
"""Of the Error Estimate; 0 is corrupt. Source: RFC 4656 4.1.2."""
_PTP_FORMAT: Final = 0x4000
"""Z bit of the Error Estimate. Source: RFC 8762 4.2.1."""


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
    """0: TCP does not tell it."""


def encode_probe(probe: Probe) -> bytes:
    """Return a probe as it stands on the wire."""
    return _PROBE.pack(*probe)


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as it stands on the wire."""
    return _ANSWER.pack(*answer)


def decode_probe(content: bytes | bytearray | memoryview) -> Probe | None:
    """Return the probe that 44 octets are; None: they are none. MBZ octets are ignored, as `stamp.is_probe` says."""
    probe = Probe(*_PROBE.unpack(content))
    return probe if probe.error & _MULTIPLIER else None


def decode_answer(content: bytes | bytearray) -> Answer | None:
    """Return the answer that 44 octets are; None: they are none, or its timestamps are not NTP's."""
    answer = Answer(*_ANSWER.unpack(content))
    return answer if answer.error & _MULTIPLIER and not answer.error & _PTP_FORMAT else None

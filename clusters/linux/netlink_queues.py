"""The messages about queueing disciplines: netem, which delays, drops, copies and reorders what a link sends. Pure.

Source of the numbers: linux/rtnetlink.h, linux/pkt_sched.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from clusters.linux.netlink import CREATE, REPLACE, Message, make_message, pack_attribute

_NEW_QUEUE: Final = 36
_HEADER: Final = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface index, handle, parent, info."""
_ROOT: Final = 0xFFFF_FFFF
_KIND, _OPTIONS = 1, 2
_REORDER, _LATENCY_NS, _JITTER_NS = 3, 10, 11
_NETEM: Final = struct.Struct("=IIIIII")
"""struct tc_netem_qopt: latency (ticks), limit (packets), loss, gap, duplicate (shares of 2^32), jitter (ticks)."""
_PACKETS_MAX: Final = 10_000
_CERTAIN: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """Impairments of the packets that one end of a link sends."""

    delay_ms: float = 0
    jitter_ms: float = 0
    """Each packet's delay varies by up to this much, so packets overtake each other."""
    loss_percent: float = 0
    """Of the packets, independently."""
    duplicate_percent: float = 0
    reorder_percent: float = 0
    """Of the packets: these are sent at once, the others after the delay."""


def set_netem(index: int, impairment: Impairment) -> Message:
    """Make netem the queue of an interface. Source: iproute2 tc/q_netem.c."""
    gap = 1 if impairment.reorder_percent else 0
    loss, duplicate, reorder = (
        round(percent / 100 * _CERTAIN)
        for percent in (impairment.loss_percent, impairment.duplicate_percent, impairment.reorder_percent)
    )
    options = (
        _NETEM.pack(0, _PACKETS_MAX, loss, gap, duplicate, 0)
        + pack_attribute(_LATENCY_NS, struct.pack("=q", round(impairment.delay_ms * 1e6)))
        + pack_attribute(_JITTER_NS, struct.pack("=q", round(impairment.jitter_ms * 1e6)))
        + pack_attribute(_REORDER, struct.pack("=II", reorder, 0))
    )
    body = _HEADER.pack(socket.AF_UNSPEC, index, 0, _ROOT, 0)
    body += pack_attribute(_KIND, b"netem\0") + pack_attribute(_OPTIONS, options)
    return make_message(_NEW_QUEUE, CREATE | REPLACE, body, f"qdisc replace dev index {index} root netem")

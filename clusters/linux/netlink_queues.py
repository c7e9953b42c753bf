"""The messages about queueing disciplines: netem, which delays, drops, duplicates and reorders a link's packets. Pure.

Source of the numbers: linux/rtnetlink.h, linux/pkt_sched.h.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from clusters.linux.netlink import CREATE, REPLACE, Message, make_message, pack_attribute
from scenarios.parts import Links

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


def set_netem(index: int, links: Links) -> Message:
    """Make netem the queue of an interface, which impairs sent packets. Source: iproute2 tc/q_netem.c."""
    gap = 1 if links.reorder_percent else 0
    loss, duplicate, reorder = (
        round(percent / 100 * _CERTAIN) for percent in (links.loss_percent, links.duplicate_percent, links.reorder_percent)
    )
    options = (
        _NETEM.pack(0, _PACKETS_MAX, loss, gap, duplicate, 0)
        + pack_attribute(_LATENCY_NS, struct.pack("=q", round(links.delay_ms * 1e6)))
        + pack_attribute(_JITTER_NS, struct.pack("=q", round(links.jitter_ms * 1e6)))
        + pack_attribute(_REORDER, struct.pack("=II", reorder, 0))
    )
    body = _HEADER.pack(socket.AF_UNSPEC, index, 0, _ROOT, 0)
    body += pack_attribute(_KIND, b"netem\0") + pack_attribute(_OPTIONS, options)
    return make_message(_NEW_QUEUE, CREATE | REPLACE, body, f"qdisc replace dev index {index} root netem")

"""The netlink messages that only experiments send."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from clusters.linux.netlink import CREATE, EXCLUSIVE, Message, make_message, pack_attribute
from clusters.linux.netlink_messages import NEW_LINK, NEW_RULE, RuleAttribute, pack_name
from probes.netlink import ROUTE_HEADER, LinkAttribute, RouteType

_DELETE_RULE: Final = 33
_DESTINATION: Final = 1
"""FRA_DST. Source: linux/fib_rules.h."""


def set_master(name: str, master: int) -> Message:
    """Make a link a port of a bridge; 0: of none."""
    body = pack_name(name) + pack_attribute(LinkAttribute.MASTER, struct.pack("=I", master))
    return make_message(NEW_LINK, 0, body, f"link set {name} master index {master}")


def set_blackhole_rule(address: str, priority: int, *, is_present: bool) -> Message:
    """Start or stop dropping packets to an address, before any table is looked up."""
    body = ROUTE_HEADER.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, RouteType.BLACKHOLE, 0)
    body += pack_attribute(_DESTINATION, socket.inet_aton(address))
    body += pack_attribute(RuleAttribute.PRIORITY, struct.pack("=I", priority))
    if is_present:
        return make_message(NEW_RULE, CREATE | EXCLUSIVE, body, f"rule add to {address} blackhole", frozenset({errno.EEXIST}))
    return make_message(_DELETE_RULE, 0, body, f"rule delete to {address} blackhole", frozenset({errno.ENOENT}))

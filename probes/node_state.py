"""The routes and links of the network namespace that we are in, as `hitless.facts.NodeState` has them.

A pod in its node's own network namespace may read both without any capability: a netlink dump needs none. So hygiene can be
judged on a cluster that only its operator may log in to. Standard library only: this ships into pods.

Source: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, rtnetlink(7).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hitless.errors import WorldError

_HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence number, port."""
_ROUTE: Final = struct.Struct("=8BI")
"""rtmsg: family, destination length, source length, TOS, table, protocol, scope, type, flags."""
_LINK: Final = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, changed."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_GET_LINK, _GET_ROUTE, _DONE, _ERROR = 18, 26, 3, 2
_DUMP: Final = 0x301
"""NLM_F_REQUEST and NLM_F_DUMP."""
_INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: something changed while the dump was taken."""
_ATTEMPTS: Final = 20
_MAIN_TABLE: Final = 254
_UP: Final = 1
_KINDS: Final = {1: "unicast", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
"""Source: linux/rtnetlink.h RTN_*."""
_DESTINATION, _OUT_INTERFACE, _GATEWAY, _TABLE = 1, 4, 5, 15
_NAME, _MTU = 3, 4
_ROOT: Final = Path("/proc/sys/net/ipv4/conf/all/rp_filter")

Document = dict[str, Any]


def read_node_state() -> Document:
    """Return routes (main table, IPv4: dst, type, protocol, dev, via), devices that are up, mtus by device, rp_filter.

    Raises:
        WorldError: the kernel does not answer.
    """
    try:
        links = {
            index: (name, is_up, mtu)
            for index, name, is_up, mtu in map(_read_link, _dump(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0)))
        }
        names = {index: name for index, (name, _, _) in links.items()}
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        routes = [route for answer in _dump(_GET_ROUTE, body) if (route := _read_route(answer, names)) is not None]
    except OSError as error:
        message = f"cannot read routes and links: {error.strerror}"
        raise WorldError(message) from error
    return {
        "routes": routes,
        "devices": [name for name, is_up, _ in links.values() if is_up],
        "mtus": {name: mtu for name, _, mtu in links.values()},
        "rp_filter": int(_ROOT.read_text(encoding="ascii")) if _ROOT.exists() else 0,
    }


def _dump(kind: int, body: bytes) -> list[bytes]:
    """Ask for all objects of a kind; ask again where something changed meanwhile."""
    for _ in range(_ATTEMPTS):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
            opened.settimeout(5.0)
            opened.send(_HEADER.pack(_HEADER.size + len(body), kind, _DUMP, 1, 0) + body)
            bodies, is_whole = _receive(opened)
        if is_whole:
            return bodies
    message = f"the routes or links changed during each of {_ATTEMPTS} reads"
    raise WorldError(message)


def _receive(opened: socket.socket) -> tuple[list[bytes], bool]:
    bodies: list[bytes] = []
    is_whole = True
    while True:
        content = opened.recv(1 << 17)
        offset = 0
        while offset < len(content):
            length, kind, flags, _, _ = _HEADER.unpack_from(content, offset)
            body = content[offset + _HEADER.size : offset + length]
            is_whole &= not flags & _INTERRUPTED
            if kind == _DONE:
                return bodies, is_whole
            if kind == _ERROR:
                number = -struct.unpack_from("=i", body)[0]
                raise OSError(number, f"netlink error {number}")
            bodies.append(body)
            offset += length + 3 & ~3


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, offset)
        yield kind & 0x3FFF, octets[offset + _ATTRIBUTE.size : offset + length]
        offset += max(length, _ATTRIBUTE.size) + 3 & ~3


def _read_link(body: bytes) -> tuple[int, str, bool, int]:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    attributes = dict(_attributes(body[_LINK.size :]))
    name = attributes[_NAME].rstrip(b"\0").decode()
    return index, name, bool(flags & _UP), struct.unpack("=I", attributes[_MTU])[0]


def _read_route(body: bytes, names: dict[int, str]) -> Document | None:
    """Return a route of the main table; None: it is of another one."""
    _, prefix, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    attributes = dict(_attributes(body[_ROUTE.size :]))
    if _TABLE in attributes:
        table = struct.unpack("=I", attributes[_TABLE])[0]
    if table != _MAIN_TABLE:
        return None
    destination = f"{socket.inet_ntoa(attributes[_DESTINATION])}/{prefix}" if _DESTINATION in attributes else "default"
    route: Document = {"dst": destination, "type": _KINDS.get(kind, str(kind)), "protocol": protocol}
    if _OUT_INTERFACE in attributes:
        index = struct.unpack("=I", attributes[_OUT_INTERFACE])[0]
        route["dev"] = names.get(index, str(index))
    if _GATEWAY in attributes:
        route["via"] = socket.inet_ntoa(attributes[_GATEWAY])
    return route

"""The routes and links of the network namespace that we are in, as `hitless.facts.NodeState` has them.

A pod in its node's own network namespace may read both without any capability. So hygiene can be judged on a cluster that only
its operator may log in to. Standard library only: this ships into pods.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

from hitless.errors import attempting
from probes.netlink import GET_LINK, GET_ROUTE, ask_links, ask_routes, dump, read_links, read_routes

_ROOT: Final = Path("/proc/sys/net/ipv4/conf/all/rp_filter")
_TIMEOUT_S: Final = 5.0

Document = dict[str, Any]


def read_node_state() -> Document:
    """Return routes (main table, IPv4: dst, type, protocol, dev, via), devices that are up, mtus by device, rp_filter.

    Raises:
        WorldError: the kernel does not answer.
    """
    kind, protocol = socket.SOCK_RAW, socket.NETLINK_ROUTE
    with attempting("read routes and links"), socket.socket(socket.AF_NETLINK, kind, protocol) as opened:
        opened.settimeout(_TIMEOUT_S)
        links = read_links(dump(opened, GET_LINK, ask_links()))
        routes = read_routes(dump(opened, GET_ROUTE, ask_routes()))
    names = {link.index: link.name for link in links}
    return {
        "routes": [route.describe(names) for route in routes],
        "devices": [link.name for link in links if link.is_up],
        "mtus": {link.name: link.mtu for link in links},
        "rp_filter": int(_ROOT.read_text(encoding="ascii")) if _ROOT.exists() else 0,
    }

"""Knowing when the kernel has really taken a lab away.

Network namespaces die in the background, one batch after the other, and while their devices go the kernel holds the lock that
every route change needs: a tunnel's UDP sockets take two RCU grace periods a node (measured: 0.2 s for 4 nodes, 1.7 s for 50,
6 s for 200). A lab that is built meanwhile, or probed, would feel it. So the last namespace to go is a fence: it holds one end
of a veth whose other end lies in the sandbox's own namespace, and when that has vanished everything before it has.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clusters.linux.namespaces import Clone, return_home, unshare
from clusters.linux.netlink import Netlink
from clusters.linux.netlink_dump import list_links
from clusters.linux.netlink_links import Link, add_veth
from hitless.waiting import wait_until

_PREFIX: Final = "fence-"
_POLL_S: Final = 0.002


def raise_fence() -> Netlink:
    """Make the namespace that goes last; return the one socket that keeps it.

    A namespace that a netlink socket was in goes an RCU grace period after the socket was closed, and in order of closing on
    one CPU: so a fence is kept by a socket too, and is closed last, `on_one_cpu`. Source: Linux, net/netlink/af_netlink.c,
    netlink_release.

    Raises:
        WorldError: the kernel refused.
    """
    with return_home() as home:
        unshare(Clone.NETWORK)
        fence = Netlink(name="fence")
        fence.execute([add_veth(Link(name="fence"), Link(name=f"{_PREFIX}{time.monotonic_ns() % 10**9}"), home)])
    return fence


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep this thread on one CPU meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def wait_gone(timeout_s: float) -> None:
    """Return once every lab that was removed in this sandbox is gone from the kernel.

    Raises:
        WorldError: it takes longer than `timeout_s`.
    """
    with Netlink() as netlink:

        def is_gone() -> bool:
            return not any(link.name.startswith(_PREFIX) for link in list_links(netlink))

        unmet = "the kernel has not removed the previous lab"
        wait_until(is_gone, timeout_s=timeout_s, poll_s=_POLL_S, unmet=unmet)

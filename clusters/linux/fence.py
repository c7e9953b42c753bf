"""Fence: a signal that the kernel has finished removing a lab.

The kernel removes network namespaces in the background, batch by batch, and holds the lock that every route change needs while
it removes their devices: a tunnel's UDP sockets take two RCU grace periods per node (measured: 0.2 s for 4 nodes, 1.7 s for 50,
6 s for 200). That would disturb a lab that is built or probed meanwhile. So the last namespace to go is a fence: it holds one
end of a veth whose other end is in the sandbox's own namespace. Once that end is gone, everything before it is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clusters.linux.namespaces import Clone, return_home, unshare
from clusters.linux.netlink import Netlink, list_links
from clusters.linux.netlink_messages import Link, add_veth
from hitless.clock import wait_until

_PREFIX: Final = "fence-"
_POLL_S: Final = 0.002


def raise_fence() -> Netlink:
    """Make the namespace that goes last; return the only socket that keeps it.

    A namespace with a netlink socket goes an RCU grace period after the socket was closed; on one CPU, in the order of closing.
    So a socket keeps the fence, too, and is closed last, `on_one_cpu`. Source: Linux, net/netlink/af_netlink.c,
    netlink_release. Raises WorldError: the kernel refused.
    """
    with return_home() as home:
        unshare(Clone.NETWORK)
        fence = Netlink(name="fence")
        fence.execute([add_veth(Link(name="fence"), Link(name=f"{_PREFIX}{time.monotonic_ns() % 10**9}"), home)])
    return fence


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Pin this thread to one CPU."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def wait_gone(timeout_s: float) -> None:
    """Wait until the kernel has finished removing every earlier lab of this sandbox.

    Raises WorldError: it takes longer than `timeout_s`.
    """
    with Netlink() as netlink:

        def is_gone() -> bool:
            return not any(link.name.startswith(_PREFIX) for link in list_links(netlink))

        unmet = "the kernel has not removed the previous lab"
        wait_until(is_gone, timeout_s=timeout_s, poll_s=_POLL_S, unmet=unmet)

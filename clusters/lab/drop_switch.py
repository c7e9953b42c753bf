"""A switch that drops packets in the router or a node, and says exactly when: for the tests."""

from __future__ import annotations

import time
from collections.abc import Collection

from clusters.linux.netlink import Netlink
from clusters.linux.netlink_routes import set_blackhole_rule

_PRIORITY_FIRST = 10
"""Before the zones' rules, after the local table."""


class DropSwitch:
    """Drops whatever a namespace forwards to one of some addresses: both ends of a flow make it both directions.

    The messages are ready beforehand, so that the two call times enclose the change closely. In NATIVE the router sees pod
    addresses, in OVERLAY node addresses; frames that it only bridges (same zone) it does not drop. A node sees pod addresses
    always.

    Args:
        addresses: IPv4 addresses.
        netlink: a socket in the namespace; it is the caller's to close.
    """

    def __init__(self, addresses: Collection[str], netlink: Netlink) -> None:
        self._netlink = netlink
        both = [
            [
                set_blackhole_rule(address, _PRIORITY_FIRST + index, is_present=is_present)
                for index, address in enumerate(addresses)
            ]
            for is_present in (True, False)
        ]
        self._dropping, self._restoring = both

    def drop(self) -> tuple[int, int]:
        """Drop from now on; return CLOCK_MONOTONIC just before and just after, ns. Dropping already is no error."""
        began_ns = time.monotonic_ns()
        self._netlink.execute(self._dropping)
        return began_ns, time.monotonic_ns()

    def restore(self) -> tuple[int, int]:
        """Forward again; return CLOCK_MONOTONIC just before and just after, ns. Not dropping is no error."""
        began_ns = time.monotonic_ns()
        self._netlink.execute(self._restoring)
        return began_ns, time.monotonic_ns()

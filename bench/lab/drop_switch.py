"""A switch that drops packets in the lab's router by rules, at recorded times; no device or counter names the loss."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from bench.lab.netlink_messages import set_blackhole_rule
from clusters.lab.network import LabNetwork
from clusters.lab.spec import ROUTER
from clusters.linux.netlink import Message, Netlink

_PRIORITY_FIRST = 10
"""Before the zones' rules, after the local table."""


class DropSwitch:
    """Drops whatever the router forwards to one of some addresses: both ends of a flow make it both directions.

    In NATIVE the router sees pod addresses, in OVERLAY node addresses. Frames within a zone pass: it only bridges them.

    Args:
        network: a lab that is up.
        addresses: IPv4 addresses.
    """

    def __init__(self, network: LabNetwork, addresses: Collection[str]) -> None:
        self._namespace = network.namespace_path(ROUTER)
        places = [(address, _PRIORITY_FIRST + index) for index, address in enumerate(addresses)]
        self._dropping = [set_blackhole_rule(*place, is_present=True) for place in places]
        self._restoring = [set_blackhole_rule(*place, is_present=False) for place in places]

    def drop(self) -> tuple[int, int]:
        """Drop from now on; return CLOCK_MONOTONIC just before and just after, ns. Dropping already is no error."""
        return self._execute(self._dropping)

    def restore(self) -> tuple[int, int]:
        """Forward again; return CLOCK_MONOTONIC just before and just after, ns. Not dropping is no error."""
        return self._execute(self._restoring)

    def _execute(self, messages: Sequence[Message]) -> tuple[int, int]:
        with Netlink(self._namespace) as netlink:
            began_ns = time.monotonic_ns()
            netlink.execute(messages)
            return began_ns, time.monotonic_ns()

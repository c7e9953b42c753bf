"""The delay between a cloud's acceptance of a route and its effect on packets.

Source: docs/mechanics.md 5.1, L6; Amazon EC2 API reference, eventual consistency.
"""

from __future__ import annotations

from typing import Final

from gardener.doubles.cloud import Cloud
from hitless.events import Recorder
from hitless.words import MILLISECOND, Kind, Nanoseconds

_POLL_NS: Final = Nanoseconds(MILLISECOND)
"""How often it looks for accepted routes: they are accepted outside the loop."""


class Propagation:
    """Lets accepted routes become effective; a Participant.

    Args:
        cloud: the route tables behind the cloud's API.
        recorder: records `route.created`, at the time from which packets follow the route.
    """

    name: Final = "cloud"
    watches: Final[frozenset[Kind]] = frozenset()

    def __init__(self, *, cloud: Cloud, recorder: Recorder) -> None:
        self._cloud, self._recorder = cloud, recorder

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Make the routes effective that are due."""
        for route in self._cloud.take_effective(now_ns):
            self._recorder.record("route.created", zone=route.zone, cidr=route.cidr, node=route.node, began_ns=now_ns)
        return Nanoseconds(now_ns + _POLL_NS)

    def is_settled(self) -> bool:
        """Return whether every accepted route is effective."""
        return self._cloud.next_effective_ns() is None

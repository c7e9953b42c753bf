"""A switch that somebody else performs: the observer looks, and records what it sees as the same events.

It takes part in the run's loop like a double, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hitless.errors import ApiUnavailableError
from hitless.events import Recorder
from hitless.ports import Clock, KubeApi
from hitless.words import SECOND, Kind, Mode, Nanoseconds
from switches.observation import Observed, compare, observe

KINDS: Final = (Kind.NODE, Kind.DAEMON_SET, Kind.IP_POOL, Kind.POD)
"""All that is read of a cluster."""
_RETRY_NS: Final = Nanoseconds(1 * SECOND)
"""While the API is away."""


class Observer:
    """Takes the switch down as it is seen; a Participant that does nothing else.

    Args:
        kube: the API.
        recorder: takes the events down.
        clock: the run clock.
        idle_ns: it is over when a switch was seen and nothing has changed for so long; None: never by itself.
        is_asked_to_end: whether the operator has seen enough.
    """

    def __init__(
        self,
        *,
        kube: KubeApi,
        recorder: Recorder,
        clock: Clock,
        idle_ns: Nanoseconds | None = None,
        is_asked_to_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self._kube, self._recorder, self._clock = kube, recorder, clock
        self._idle_ns, self._is_asked_to_end = idle_ns, is_asked_to_end
        self._seen = look(kube)
        self._start_mode = self._seen.mode
        self._changed_ns = clock.now_ns()
        self._has_switched = False

    @property
    def name(self) -> str:
        """Unique in the run."""
        return "observer"

    @property
    def watches(self) -> frozenset[Kind]:
        """All that it reads."""
        return frozenset(KINDS)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Look, and take down what has changed since the last look; see Participant."""
        try:
            seen = look(self._kube, self._seen)
        except ApiUnavailableError:
            return Nanoseconds(now_ns + _RETRY_NS)
        sightings = compare(self._seen, seen)
        self._seen = seen
        for name, facts in sightings:
            mode = facts.get("mode")
            if not self._has_switched and mode is not None and mode != self._start_mode:
                # The first trace of what the operator asked for; the request itself is not made in this cluster.
                self._has_switched = True
                self._recorder.record("switch.requested", mode=mode)
            self._recorder.record(name, **facts)
        if sightings:
            self._changed_ns = self._clock.now_ns()
        return None

    def is_settled(self) -> bool:
        """Return whether the watch is over: the operator says so, or a switch has come to rest."""
        if self._is_asked_to_end():
            return True
        is_at_rest = self._has_switched and self._seen.rolling is None and len(self._seen.modes) == 1
        return self._idle_ns is not None and is_at_rest and self._clock.now_ns() - self._changed_ns >= self._idle_ns


def look(kube: KubeApi, before: Observed | None = None) -> Observed:
    """Read everything that an observer needs. Raises ApiError."""
    nodes, daemon_sets, pools, pods = map(kube.list, KINDS)
    return observe(before, nodes=nodes, daemon_sets=daemon_sets, pools=pools, pods=pods)


def other_mode(mode: Mode) -> Mode:
    """Return the mode that a switch leads to."""
    return Mode.NATIVE if mode is Mode.OVERLAY else Mode.OVERLAY

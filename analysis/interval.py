"""An instant that is known by two bounds. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.events import Event
from hitless.words import Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An instant between these two, both included; run clock."""

    earliest_ns: Nanoseconds
    latest_ns: Nanoseconds

    @property
    def length_ns(self) -> int:
        """How far apart they are."""
        return self.latest_ns - self.earliest_ns

    def meets(self, other: Interval) -> bool:
        """Return whether both may have been the same instant."""
        return self.earliest_ns <= other.latest_ns and other.earliest_ns <= self.latest_ns


def make_interval(earliest_ns: int, latest_ns: int) -> Interval:
    """Return the interval between two instants, in whichever order they are given."""
    earliest_ns, latest_ns = min(earliest_ns, latest_ns), max(earliest_ns, latest_ns)
    return Interval(earliest_ns=Nanoseconds(earliest_ns), latest_ns=Nanoseconds(latest_ns))


def instant_of(event: Event) -> Interval:
    """Return the bounds of the time at which an event took effect."""
    return make_interval(event.facts.get("began_ns", event.t_ns), event.t_ns)

"""Times that are known by two bounds: an instant, and a length such as an outage, a downtime or a transition. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

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

    def later(self, other: Interval) -> Interval:
        """Return the bounds of the instant from which both have passed."""
        return make_interval(max(self.earliest_ns, other.earliest_ns), max(self.latest_ns, other.latest_ns))


def make_interval(earliest_ns: int, latest_ns: int) -> Interval:
    """Return the interval between two instants, in whichever order they are given."""
    earliest_ns, latest_ns = min(earliest_ns, latest_ns), max(earliest_ns, latest_ns)
    return Interval(earliest_ns=Nanoseconds(earliest_ns), latest_ns=Nanoseconds(latest_ns))


START: Final = make_interval(0, 0)
"""The run's start."""


def instant_of(event: Event) -> Interval:
    """Return the bounds of the time at which an event took effect."""
    return make_interval(event.facts.get("began_ns", event.t_ns), event.t_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A length of time with its bounds; shortest <= likely <= longest."""

    shortest_ns: Nanoseconds
    """It lasted at least this long."""
    likely_ns: Nanoseconds | None = None
    """The best single number. None: there is no longest."""
    longest_ns: Nanoseconds | None
    """It lasted at most this long. None: it is censored, open when the probing started or ended."""

    @property
    def is_censored(self) -> bool:
        """Whether the probing started after it did, or ended before it did."""
        return self.longest_ns is None

    @property
    def best_ns(self) -> Nanoseconds:
        """The likely length; without one, the shortest."""
        return self.shortest_ns if self.likely_ns is None else self.likely_ns

    @property
    def rank(self) -> tuple[bool, int]:
        """Sort key: by the longest bound; a censored length is longer than every other, and ranks by its shortest."""
        return (True, self.shortest_ns) if self.longest_ns is None else (False, self.longest_ns)


def make_length(shortest_ns: int, likely_ns: int, longest_ns: int) -> Length:
    """Return a length by its bounds, none of them below 0."""
    shortest, likely, longest = (Nanoseconds(max(0, ns)) for ns in (shortest_ns, likely_ns, longest_ns))
    return Length(shortest_ns=shortest, likely_ns=likely, longest_ns=longest)


def add_lengths(lengths: Iterable[Length]) -> Length:
    """Return the sum of some lengths; no length at all sums to 0, and one that is censored makes the sum censored."""
    parts = tuple(lengths)
    return Length(
        shortest_ns=Nanoseconds(sum(part.shortest_ns for part in parts)),
        likely_ns=_add(part.likely_ns for part in parts),
        longest_ns=_add(part.longest_ns for part in parts),
    )


def _add(values: Iterable[Nanoseconds | None]) -> Nanoseconds | None:
    found = tuple(values)
    return None if None in found else Nanoseconds(sum(value for value in found if value is not None))

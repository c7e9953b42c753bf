"""Stretches of time, and the number of samples of a periodic sampler in them, for any phase.

Exact, in integer nanoseconds: nothing here rounds or draws. Independent of outages and tools.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Window = tuple[int, int]
"""From the first instant to just before the second, ns."""
Windows = tuple[Window, ...]
"""In order of time, apart from each other, none of them empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """How many samples fall into some windows, over all phases of the sampler."""

    fewest: int
    most: int
    nothing: float
    """Share of the phases with which none does, 0 to 1: the probability of that, if all phases are equally likely."""


def make_windows(windows: Iterable[Window]) -> Windows:
    """Return windows in order, with those that touch made one and those without length left out."""
    made: list[Window] = []
    for begin, end in sorted(window for window in windows if window[0] < window[1]):
        if made and begin <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((begin, end))
    return tuple(made)


def meet(one: Windows, other: Windows) -> Windows:
    """Return the time that is in both."""
    found, left, right = [], 0, 0
    while left < len(one) and right < len(other):
        begin, end = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if begin < end:
            found.append((begin, end))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return tuple(found)


def leave_out(one: Windows, other: Windows) -> Windows:
    """Return the time that is in the one and not in the other."""
    found = []
    for begin, end in one:
        since = begin
        for gap_begin, gap_end in meet(((begin, end),), other):
            found.append((since, gap_begin))
            since = gap_end
        found.append((since, end))
    return make_windows(found)


def heads(windows: Windows, length_ns: int) -> Windows:
    """Return the first part of each window, at most so long."""
    return tuple((begin, min(end, begin + length_ns)) for begin, end in windows)


def count_hits(windows: Windows, period_ns: int) -> Hits:
    """Count the samples at phase, phase + period, phase + 2 periods, ... that fall into the windows, for every phase.

    A window of q periods and a rest holds q samples, and one more for the phases that are within the rest of its begin: the
    number of samples is a staircase over the phases, which is walked from step to step.
    """
    level = 0
    steps = {0: 0}
    for begin, end in windows:
        whole, rest = divmod(end - begin, period_ns)
        level += whole
        first = begin % period_ns
        last = first + rest
        steps[first] = steps.get(first, 0) + 1
        if last >= period_ns:  # the phases from 0 on have one more, too
            level += 1
            last -= period_ns
        steps[last] = steps.get(last, 0) - 1
    fewest, most, silent_ns = None, 0, 0
    places = sorted(steps)
    for place, until in zip(places, [*places[1:], period_ns], strict=True):
        level += steps[place]
        fewest = level if fewest is None else min(fewest, level)
        most = max(most, level)
        silent_ns += until - place if level == 0 else 0
    return Hits(fewest=fewest or 0, most=most, nothing=silent_ns / period_ns)

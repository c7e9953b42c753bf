"""The likely length of an outage: one number between its two bounds, with none of their caution.

The bounds must hold whatever happened: the longest waits for an answer to arrive, the shortest allows for the slowest packet of
the flow. So their middle is off by a part of a round trip, which matters where that is not small beside the interval. Here
the trouble begins and ends half-way between two neighbouring packets of the same direction, of which one passed and one
did not: no delay and no turnaround comes in, and missed ticks do by their send times. What is left is the phase: over
outages of any length the error is triangular, a third of an interval on average and never more than one.

Never used for a verdict; the bounds are. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.measure import Outage, Probes
from hitless.words import Nanoseconds


class _Window(NamedTuple):
    """When something happened: between these two times."""

    since_ns: int
    until_ns: int


def likely_ns(probes: Probes, outage: Outage) -> Nanoseconds | None:
    """Return the likely length of an outage that `find_outages` found in these probes; None: it is censored.

    Where packets were lost in both directions one cause is presumed as long as the times allow it, so that the windows of both
    are cut; otherwise the outage is what both together cover.
    """
    if outage.longest_ns is None:
        return None
    first = int(np.searchsorted(probes.rows["seq"], outage.first_seq))
    run = np.arange(first, first + outage.lost)
    back = _windows_back(probes, run[probes.is_far_end[run]])
    out = _windows_out(probes, run[~probes.is_far_end[run]])
    found = [windows for windows in (out, back) if windows is not None]
    began = _join([began for began, _ in found], is_start=True)
    ended = _join([ended for _, ended in found], is_start=False)
    length_ns = (ended.since_ns + ended.until_ns - began.since_ns - began.until_ns) // 2
    return Nanoseconds(min(max(length_ns, outage.shortest_ns), outage.longest_ns))


def _windows_out(probes: Probes, lost: npt.NDArray[np.intp]) -> tuple[_Window, _Window] | None:
    """Return when the way out broke and when it worked again, by send times; None: nothing was lost on it.

    What was lost nobody knows where counts here: the way out comes first.
    """
    if not lost.size:
        return None
    sent, first, last = probes.rows["send_began_ns"], int(lost[0]), int(lost[-1])
    return _Window(int(sent[first - 1]), int(sent[first])), _Window(int(sent[last]), int(sent[last + 1]))


def _windows_back(probes: Probes, lost: npt.NDArray[np.intp]) -> tuple[_Window, _Window] | None:
    """Return when the way back broke and when it worked again, by the reflector's send times; None: nothing was lost on it."""
    if not lost.size:
        return None
    anchors, left = np.flatnonzero(probes.is_anchor), probes.reflector_sent
    before = anchors[np.searchsorted(anchors, lost[0]) - 1]
    after = anchors[np.searchsorted(anchors, lost[-1])]
    return _Window(int(left[before]), int(left[lost[0]])), _Window(int(left[lost[-1]]), int(left[after]))


def _join(windows: list[_Window], *, is_start: bool) -> _Window:
    """Return where the windows overlap; where they do not, the earlier start or the later end."""
    since, until = max(window.since_ns for window in windows), min(window.until_ns for window in windows)
    if since < until:
        return _Window(since, until)
    return min(windows) if is_start else max(windows)

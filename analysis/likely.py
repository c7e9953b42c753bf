"""The likely length of an outage: one number between its two bounds.

The bounds must hold in every case: the longest includes the time until an answer arrives, the shortest allows for the slowest
packet of the flow. So their middle is off by part of a round trip, which matters unless that is short against the interval.
Here an outage begins and ends half-way between two adjacent packets of one direction, of which one passed and one did not, by
their send times: delay and turnaround do not enter. Only the phase is left: over outages of any length the error is triangular,
a third of an interval on average and never more than one.

Reports print it as the downtime. It never decides a verdict; the bounds do. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.classify import Probes
from hitless.records import NONE_NS


class _Window(NamedTuple):
    """When something happened: between these two times."""

    since_ns: int
    until_ns: int


def likely_ns(probes: Probes, first: int, last: int) -> int:
    """Return the likely length of an outage.

    If packets were lost in both directions, one cause is presumed as long as the times allow it, and the windows of both are
    intersected. Otherwise the outage covers both.

    Args:
        probes: of its flow. A probe before the outage and one after it was answered.
        first: index of its first lost probe.
        last: index of its last lost probe.
    """
    run = np.arange(first, last + 1)
    back = _windows_back(probes, run[probes.is_far_end[run]])
    out = _windows_out(probes, run[~probes.is_far_end[run]])
    found = [windows for windows in (out, back) if windows is not None]
    began = _join([began for began, _ in found], is_start=True)
    ended = _join([ended for _, ended in found], is_start=False)
    return (ended.since_ns + ended.until_ns - began.since_ns - began.until_ns) // 2


def _windows_out(probes: Probes, lost: npt.NDArray[np.intp]) -> tuple[_Window, _Window] | None:
    """Return when the way out broke and when it worked again, by send times; None: nothing was lost on it.

    A probe whose direction of loss is unknown counts here: the way out comes first.
    """
    if not lost.size:
        return None
    sent, first, last = probes.rows["send_began_ns"], int(lost[0]), int(lost[-1])
    return _Window(int(sent[first - 1]), int(sent[first])), _Window(int(sent[last]), int(sent[last + 1]))


def _windows_back(probes: Probes, lost: npt.NDArray[np.intp]) -> tuple[_Window, _Window] | None:
    """Return when the way back broke and when it worked again, by the reflector's send times; None: nothing was lost on it."""
    if not lost.size:
        return None
    anchors, rows = np.flatnonzero(probes.is_anchor), probes.rows
    # An incomplete log may lack an answered probe: then the answer tells when the reflector sent it, or else the probe itself.
    left = np.where(probes.reflector_sent == NONE_NS, rows["reflector_sent"], probes.reflector_sent)
    left = np.where(left == NONE_NS, rows["send_began_ns"], left)
    before = anchors[np.searchsorted(anchors, lost[0]) - 1]
    after = anchors[np.searchsorted(anchors, lost[-1])]
    return _Window(int(left[before]), int(left[lost[0]])), _Window(int(left[lost[-1]]), int(left[after]))


def _join(windows: list[_Window], *, is_start: bool) -> _Window:
    """Return where the windows overlap; where they do not, the earlier start or the later end."""
    since, until = max(window.since_ns for window in windows), min(window.until_ns for window in windows)
    if since < until:
        return _Window(since, until)
    return min(windows) if is_start else max(windows)

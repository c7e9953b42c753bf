"""Segments of an outage: losses on the way out, on the way back, or in an unknown direction.

One outage may have two causes. While the way out is broken, nothing is known of the way back, and a cause that begins while
another one lasts takes over. So each segment has its own beginning and end, and tells where a neighbour hides them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from analysis.bounds import Interval, make_interval
from analysis.classify import Probes, Way
from analysis.measure import Outage
from hitless.records import NONE_NS

STRETCHES_MAX: Final = 16
"""An outage that changes direction more often is one segment of unknown direction: that is chance, not a change of path."""

_USUALLY: Final = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Consecutive losses of one flow in one direction."""

    way: Way
    start: int
    """Index of the first of them among the flow's probes."""
    stop: int
    """And of the probe after the last."""
    late: int
    """Of them, those whose answer came after the threshold."""
    first: Interval
    """When the first of them was dropped."""
    last: Interval
    """When the last of them was dropped."""
    onset: Interval | None
    """Between the last probe that passed and the latest possible drop of the first lost one; None: hidden, the path may have
    been broken before."""
    end: Interval | None
    """Between the earliest possible drop of the last lost one and the first that passed; None: hidden, or never."""
    is_open: bool
    """Whether nothing passed any more until the probing ended."""

    @property
    def lost(self) -> int:
        """How many they are."""
        return self.stop - self.start


class Splitter:
    """Splits the outages of one flow by direction."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._out_ns, self._back_ns = _usual_delays(probes)

    def split(self, outage: Outage) -> tuple[Segment, ...]:
        """Return the segments of an outage by direction, in order of time."""
        probes = self._probes
        first = int(np.searchsorted(probes.rows["seq"], outage.first_seq))
        stop = first + outage.lost
        ways = probes.is_near_end[first:stop] * 1 + probes.is_far_end[first:stop] * 2
        cuts = (np.flatnonzero(np.diff(ways)) + 1 + first).tolist()
        starts = [first, *(cuts if len(cuts) < STRETCHES_MAX else ())]
        kinds = [probes.way(start) if len(cuts) < STRETCHES_MAX else Way.UNKNOWN for start in starts]
        return tuple(self._segments(outage, [*starts, stop], kinds))

    def cut(self, segment: Segment, instants_ns: Iterable[int]) -> tuple[Segment, ...]:
        """Cut a segment where a candidate began that accounts for all later losses; the end of the earlier cause is hidden."""
        rows = self._probes.rows["send_began_ns"]
        found = {int(np.searchsorted(rows, instant)) for instant in instants_ns}
        edges = [segment.start, *sorted(edge for edge in found if segment.start < edge < segment.stop), segment.stop]
        return tuple(
            self._segment(
                segment.way,
                start,
                stop,
                onset=segment.onset if start == segment.start else None,
                end=segment.end if stop == segment.stop else None,
                is_open=segment.is_open and stop == segment.stop,
            )
            for start, stop in pairwise(edges)
        )

    def _segments(self, outage: Outage, edges: list[int], ways: list[Way]) -> Iterator[Segment]:
        probes, before = self._probes, self._probes.rows["send_began_ns"]
        has_passed = bool(np.any(probes.is_anchor[: edges[0]]))
        is_open = not np.any(probes.is_anchor[edges[-1] :])
        for number, (way, (start, stop)) in enumerate(zip(ways, pairwise(edges), strict=True)):
            is_last, first = number == len(ways) - 1, self._drop(start, way)
            onset = None
            if number == 0 and has_passed:
                onset = make_interval(outage.onset_after_ns, first.latest_ns)
            elif number > 0 and way is Way.OUT and ways[number - 1] is Way.BACK:
                onset = make_interval(self._widened(int(before[start - 1]), first.latest_ns).earliest_ns, first.latest_ns)
            end = None
            if is_last and not is_open:
                end = self._widened(self._earliest_ns(stop - 1, way), outage.end_ns)
            elif not is_last and way is Way.OUT and ways[number + 1] is Way.BACK:
                end = self._widened(self._earliest_ns(stop - 1, way), self._earliest_ns(stop, Way.BACK))
            yield self._segment(way, start, stop, onset=onset, end=end, is_open=is_last and is_open)

    def _segment(
        self, way: Way, start: int, stop: int, *, onset: Interval | None, end: Interval | None, is_open: bool
    ) -> Segment:
        late = int(np.count_nonzero(self._probes.is_late[start:stop]))
        first, last = self._drop(start, way), self._drop(stop - 1, way)
        return Segment(
            way=way, start=start, stop=stop, late=late, first=first, last=last, onset=onset, end=end, is_open=is_open
        )

    def _earliest_ns(self, index: int, way: Way) -> int:
        return self._probes.drop_ns(index, way, 0, 0)[0]

    def _drop(self, index: int, way: Way) -> Interval:
        """Return when a probe was dropped, by the usual delays."""
        return self._widened(*self._probes.drop_ns(index, way, self._out_ns, self._back_ns))

    def _widened(self, earliest_ns: int, latest_ns: int) -> Interval:
        """Return a span on the clock that dates the events."""
        bound = self._probes.run_clock_bound_ns
        return make_interval(min(earliest_ns, latest_ns) - bound, max(earliest_ns, latest_ns) + bound)


def _usual_delays(probes: Probes) -> tuple[int, int]:
    """Return the 99th percentiles of the delay out and of the delay back.

    The bounds of an outage use the largest delay. A single packet that waited a second for ARP makes that a second, which is
    right for a bound and useless for a likelihood.
    """
    rows = probes.rows[probes.is_anchor]
    known = rows[rows["reflector_sent"] != NONE_NS]
    if not known.size:
        return probes.forward_delay_max_ns, probes.return_delay_max_ns
    out = np.quantile(known["reflector_received"] - known["send_began_ns"], _USUALLY)
    back = np.quantile(known["received"] - known["reflector_sent"], _USUALLY)
    return int(out) + probes.clock_bound_ns, int(back) + probes.clock_bound_ns

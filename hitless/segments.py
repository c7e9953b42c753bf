"""An outage taken apart by direction: stretches of losses on the way out, on the way back, or not known which.

One outage may have two troubles: while the way out is broken nothing is seen of the way back, and what ends it may be the way
back's cure. So each stretch has a beginning and an end of its own, and says where the one hides behind its neighbour: a
probe that is lost on the way out tells nothing of the way back. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import numpy as np

from hitless.measure import Outage, Probes
from hitless.troubles import Span, make_span

STRETCHES_MAX: Final = 16
"""An outage that changes direction more often is taken as one stretch of unknown direction: chance, not a change of path."""


@unique
class Way(Enum):
    """In which direction the packets were lost."""

    OUT = "on the way out"
    BACK = "on the way back"
    UNKNOWN = "in an unknown direction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Consecutive losses of one flow in one direction."""

    way: Way
    lost: int
    late: int
    """Of them, those whose answer came after the threshold."""
    first: Span
    """When the first of them was dropped."""
    onset: Span | None
    """Between the last probe that passed and the latest possible drop of the first lost one; None: hidden, it may have been
    broken before."""
    end: Span | None
    """Between the earliest possible drop of the last lost one and the first that passed; None: hidden, or never."""
    is_open: bool
    """Whether nothing passed any more until the probing ended."""


def split(outage: Outage, probes: Probes) -> tuple[Segment, ...]:
    """Return the stretches of an outage, in order of time.

    Args:
        outage: of the flow.
        probes: the flow's, as `hitless.measure.classify_flow` has them.
    """
    first = int(np.searchsorted(probes.rows["seq"], outage.first_seq))
    last = first + outage.lost - 1
    ways = np.where(probes.is_near_end, 1, np.where(probes.is_far_end, 2, 0))[first : last + 1]
    cuts = np.flatnonzero(np.diff(ways)) + 1
    if cuts.size >= STRETCHES_MAX:
        cuts, ways = cuts[:0], np.zeros_like(ways)
    starts = [first, *(int(cut) + first for cut in cuts)]
    ends = [*(start - 1 for start in starts[1:]), last]
    kinds = [(Way.UNKNOWN, Way.OUT, Way.BACK)[int(ways[start - first])] for start in starts]
    return tuple(_segments(outage, probes, starts, ends, kinds))


def _segments(outage: Outage, probes: Probes, starts: list[int], ends: list[int], ways: list[Way]) -> Iterator[Segment]:
    rows = probes.rows
    has_passed = bool(np.any(probes.is_anchor[: starts[0]]))
    is_open = not np.any(probes.is_anchor[ends[-1] + 1 :])
    for number, (start, end, way) in enumerate(zip(starts, ends, ways, strict=True)):
        is_first, is_last = number == 0, number == len(starts) - 1
        onset = None
        if is_first and has_passed:
            onset = make_span(outage.onset_after_ns, outage.onset_before_ns)
        elif not is_first and way is Way.OUT and ways[number - 1] is Way.BACK:
            onset = _widened(int(rows["before"][start - 1]), _latest_drop_ns(probes, start, way), probes)
        finish = None
        if is_last and not is_open:
            finish = _widened(_drop_ns(probes, end, way), outage.end_ns, probes)
        elif not is_last and way is Way.OUT and ways[number + 1] is Way.BACK:
            finish = _widened(_drop_ns(probes, end, way), _drop_ns(probes, end + 1, Way.BACK), probes)
        yield Segment(
            way=way,
            lost=end - start + 1,
            late=int(np.count_nonzero(probes.is_late[start : end + 1])),
            first=_widened(_drop_ns(probes, start, way), _latest_drop_ns(probes, start, way), probes),
            onset=onset,
            end=finish,
            is_open=is_last and is_open,
        )


def _drop_ns(probes: Probes, index: int, way: Way) -> int:
    """Return the earliest time at which a probe can have been dropped."""
    if way is Way.BACK:
        return int(probes.reflector_sent[index]) - probes.clock_bound_ns
    return int(probes.rows["before"][index])


def _latest_drop_ns(probes: Probes, index: int, way: Way) -> int:
    """Return the latest time at which a probe can have been dropped, by the largest delays seen."""
    if way is Way.BACK:
        return int(probes.reflector_sent[index]) + probes.clock_bound_ns + probes.return_delay_max_ns
    latest = int(probes.rows["after"][index]) + probes.forward_delay_max_ns
    return latest if way is Way.OUT else latest + probes.return_delay_max_ns


def _widened(earliest_ns: int, latest_ns: int, probes: Probes) -> Span:
    bound = probes.run_clock_bound_ns
    return make_span(min(earliest_ns, latest_ns) - bound, max(earliest_ns, latest_ns) + bound)

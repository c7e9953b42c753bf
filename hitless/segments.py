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
from hitless.records import NONE_NS
from hitless.troubles import Span, make_span

STRETCHES_MAX: Final = 16
"""An outage that changes direction more often is taken as one stretch of unknown direction: chance, not a change of path."""

_USUALLY: Final = 0.99


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
    last: Span
    """When the last of them was dropped."""
    onset: Span | None
    """Between the last probe that passed and the latest possible drop of the first lost one; None: hidden, it may have been
    broken before."""
    end: Span | None
    """Between the earliest possible drop of the last lost one and the first that passed; None: hidden, or never."""
    is_open: bool
    """Whether nothing passed any more until the probing ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long packets of a flow usually are on their way."""

    out_ns: int
    back_ns: int

    @staticmethod
    def of(probes: Probes) -> Delays:
        """Return what all but one in a hundred keep to.

        The bounds of an outage take the largest, which a single packet that was held for a second (while a node was asked for
        its MAC) makes a second. That is true for a bound, and no use for a likelihood.
        """
        rows = probes.rows[probes.is_anchor]
        known = rows[rows["reflector_sent"] != NONE_NS]
        if not known.size:
            return Delays(out_ns=probes.forward_delay_max_ns, back_ns=probes.return_delay_max_ns)
        out = np.quantile(known["reflector_received"] - known["before"], _USUALLY)
        back = np.quantile(known["received"] - known["reflector_sent"], _USUALLY)
        return Delays(out_ns=int(out) + probes.clock_bound_ns, back_ns=int(back) + probes.clock_bound_ns)


def split(outage: Outage, probes: Probes, delays: Delays) -> tuple[Segment, ...]:
    """Return the stretches of an outage, in order of time.

    Args:
        outage: of the flow.
        probes: the flow's, as `hitless.measure.classify_flow` has them.
        delays: the flow's.
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
    return tuple(_segments(outage, _Flow(probes=probes, delays=delays), starts, ends, kinds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """The probes of a flow, and when each can have been dropped if it was lost."""

    probes: Probes
    delays: Delays

    def earliest_ns(self, index: int, way: Way) -> int:
        """Return the earliest time at which a probe can have been dropped."""
        if way is Way.BACK:
            return int(self.probes.reflector_sent[index]) - self.probes.clock_bound_ns
        return int(self.probes.rows["before"][index])

    def drop(self, index: int, way: Way) -> Span:
        """Return when a probe was dropped, by the usual delays."""
        if way is Way.BACK:
            latest = int(self.probes.reflector_sent[index]) + self.probes.clock_bound_ns + self.delays.back_ns
        else:
            latest = int(self.probes.rows["after"][index]) + self.delays.out_ns
            latest += self.delays.back_ns if way is Way.UNKNOWN else 0
        return self.widened(self.earliest_ns(index, way), latest)

    def widened(self, earliest_ns: int, latest_ns: int) -> Span:
        """Return a span on the clock that dates the events."""
        bound = self.probes.run_clock_bound_ns
        return make_span(min(earliest_ns, latest_ns) - bound, max(earliest_ns, latest_ns) + bound)


def _segments(outage: Outage, flow: _Flow, starts: list[int], ends: list[int], ways: list[Way]) -> Iterator[Segment]:
    probes, rows = flow.probes, flow.probes.rows
    has_passed = bool(np.any(probes.is_anchor[: starts[0]]))
    is_open = not np.any(probes.is_anchor[ends[-1] + 1 :])
    for number, (start, end, way) in enumerate(zip(starts, ends, ways, strict=True)):
        is_last, first = number == len(starts) - 1, flow.drop(start, way)
        onset = None
        if number == 0 and has_passed:
            onset = make_span(outage.onset_after_ns, first.latest_ns)
        elif number > 0 and way is Way.OUT and ways[number - 1] is Way.BACK:
            onset = make_span(flow.widened(int(rows["before"][start - 1]), first.latest_ns).earliest_ns, first.latest_ns)
        finish = None
        if is_last and not is_open:
            finish = flow.widened(flow.earliest_ns(end, way), outage.end_ns)
        elif not is_last and way is Way.OUT and ways[number + 1] is Way.BACK:
            finish = flow.widened(flow.earliest_ns(end, way), flow.earliest_ns(end + 1, Way.BACK))
        yield Segment(
            way=way,
            lost=end - start + 1,
            late=int(np.count_nonzero(probes.is_late[start : end + 1])),
            first=first,
            last=flow.drop(end, way),
            onset=onset,
            end=finish,
            is_open=is_last and is_open,
        )

"""Background loss: what a network loses with or without a switch, and how much of a flow's loss it explains.

A scenario that impairs its links says how much they lose. Each probe is then lost independently with the same probability r, so
a loss period of n probes has probability r^n. From some n on, not one is expected in a whole run: an outage that long has
another cause. A single shorter outage cannot be told from the background; only their number can.

Source: RFC 3357 (loss periods); the rest is arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from analysis.bounds import add_lengths
from analysis.measure import FlowMeasure

_CHANCE_MAX: Final = 0.001
"""Probability of one loss period that long in a whole run."""
_DEVIATIONS: Final = 4
"""Standard deviations above the expected number of losses: a chance of 1 in 30,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What the background explains of the loss of some flows."""

    length_max: int
    """The longest loss period that may be the background's, probes."""
    lost: int
    """Probes lost in loss periods up to that length."""
    allowed: int
    """The background explains at most this many."""
    offered: int


def find_background(measures: Iterable[FlowMeasure], loss_ratio: float) -> Background:
    """Return what a background loss of that ratio explains; a ratio of 0 explains nothing."""
    flows = tuple(measures)
    offered = sum(found.offered for found in flows)
    if loss_ratio <= 0 or not offered:
        return Background(length_max=0, lost=0, allowed=0, offered=offered)
    length_max = max(0, math.ceil(math.log(_CHANCE_MAX / offered) / math.log(loss_ratio)) - 1)
    expected = offered * loss_ratio
    return Background(
        length_max=length_max,
        lost=sum(outage.lost for found in flows for outage in found.outages if outage.lost <= length_max),
        allowed=math.ceil(expected + _DEVIATIONS * math.sqrt(expected)),
        offered=offered,
    )


def without_background(found: FlowMeasure, background: Background) -> FlowMeasure:
    """Return a flow's loss without the outages that the background may explain; the rest is judged one by one."""
    if not background.length_max:
        return found
    outages = tuple(outage for outage in found.outages if outage.lost > background.length_max)
    return replace(
        found,
        outages=outages,
        lost=sum(outage.lost for outage in outages),
        lost_near_end=sum(outage.near_end for outage in outages),
        lost_far_end=sum(outage.far_end for outage in outages),
        lost_unknown=sum(outage.unknown for outage in outages),
        downtime=add_lengths(outages),
    )

"""Which groups of losses a counter's total is about.

The kernel counts every packet once, and knows no time; the losses are known to the packet, and fall into a few groups that
happened together. Where only some choices of groups add up to the total, or nearly, a group is as likely to be meant as it is
among those choices. Nearly: a device that comes and goes drops a few packets that it does not count. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

GROUPS_MAX: Final = 40
TOTAL_MAX: Final = 100_000
"""Beyond either the choices are not counted."""
_FAR: Final = 5.0
"""Where the nearest choice is off by more packets than this, no choice means anything."""


def apportion(total: int, sizes: Sequence[int], uncounted: Sequence[int] | None = None) -> tuple[float, ...]:
    """Return for each group how likely it is that its losses are among those that were counted.

    Args:
        total: what was counted.
        sizes: losses of each group, positive.
        uncounted: how many of each group's losses may be missing in the count; None: none.

    Returns:
        How likely the choices of whole groups that add up to the total contain the group. Where none comes near (there was
        other traffic, or a group is mixed), or there are too many groups: the share of all losses that the total is. Where it
        is enough for all: 1; where nothing was counted: 0.
    """
    if total >= sum(sizes) or total <= 0:
        return (float(total > 0),) * len(sizes)
    groups = list(zip(sizes, uncounted or [0] * len(sizes), strict=True))
    if len(groups) <= GROUPS_MAX and sum(sizes) <= TOTAL_MAX:
        # One packet more or less is e times less likely: the last ones may be on their way when the counters are read.
        likelihood = np.exp(-np.abs(np.arange(sum(sizes) + 1) - total))
        every = float(np.dot(_count_choices(groups), likelihood))
        if every > math.exp(-_FAR) / max(missing + 1 for _, missing in groups):
            others = (_count_choices([*groups[:index], *groups[index + 1 :]]) for index in range(len(groups)))
            return tuple(max(0.0, 1 - float(np.dot(choices, likelihood[: choices.size])) / every) for choices in others)
    return (total / sum(sizes),) * len(sizes)


def _count_choices(groups: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Return for each sum, from 0 to that of all, how many choices of some of the groups add up to it.

    A group of which some may be uncounted adds a part of a choice to each sum that it may make.
    """
    ways = np.zeros(sum(size for size, _ in groups) + 1)
    ways[0] = 1
    for size, missing in groups:
        reached = np.concatenate(([0.0], np.cumsum(ways)))
        least = max(0, size - missing)
        # From `least` to `size`, each as likely: the mean of `ways` over what was there before.
        sums = np.arange(ways.size)
        upper, lower = np.clip(sums - least + 1, 0, None), np.clip(sums - size, 0, None)
        ways = ways + (reached[upper] - reached[lower]) / (size - least + 1)
    return ways

"""Attribution of a counter's total to groups of losses.

The kernel counts every packet once, without a time. The losses are known one by one and form a few groups that happened
together. If only some sets of groups add up to the total, a group is as likely as its share of those sets. A sum may be off by
a few packets, because packets may be on their way when the counters are read. Pure.
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


def apportion(total: int, sizes: Sequence[int]) -> tuple[float, ...]:
    """Return for each group the probability that the counter counted its losses.

    Args:
        total: what was counted.
        sizes: losses of each group, positive.

    Returns:
        The share of the sets of whole groups with that total that contain the group. If no set comes near the total (there was
        other traffic, or a group is mixed) or there are too many groups: total / all losses. 1 if the total covers all
        losses, 0 if nothing was counted.
    """
    if total >= sum(sizes) or total <= 0:
        return (float(total > 0),) * len(sizes)
    if len(sizes) <= GROUPS_MAX and sum(sizes) <= TOTAL_MAX:
        # One packet more or less is e times less likely: the last ones may be on their way when the counters are read.
        likelihood = np.exp(-np.abs(np.arange(sum(sizes) + 1) - total))
        every = float(np.dot(_count_choices(sizes), likelihood))
        if every > math.exp(-_FAR):
            others = (_count_choices([*sizes[:index], *sizes[index + 1 :]]) for index in range(len(sizes)))
            return tuple(max(0.0, 1 - float(np.dot(choices, likelihood[: choices.size])) / every) for choices in others)
    return (total / sum(sizes),) * len(sizes)


def _count_choices(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return for each sum, from 0 to that of all groups, how many sets of groups add up to it."""
    ways = np.zeros(sum(sizes) + 1)
    ways[0] = 1
    for size in sizes:
        ways[size:] += ways[:-size].copy()
    return ways

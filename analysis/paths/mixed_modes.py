"""The mixed-mode matrix: loss by the mode of the sender's node and the mode of the receiver's node.

While a cluster is switched some nodes still encapsulate and others do not any more. Which of these pairs lose tells what is
wrong: OVERLAY to NATIVE a receiver that dropped its tunnel too early, NATIVE to anything a missing cloud route. A lost probe
has no TTL, so the modes of all probes come from the events alone. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.paths.path import FlowPaths
from analysis.route_history import RouteMode


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeCell:
    """The probes of one pair of modes. Each offered probe is in one cell."""

    sender: RouteMode
    """Of the sender's node, toward the receiver's, while the probe was on its way out; UNKNOWN: its routes were rewritten."""
    receiver: RouteMode
    """Of the receiver's node, toward the sender's, while the answer was on its way back, or would have been."""
    offered: int
    lost: int
    near_end: int
    """Of the lost, lost on the way out."""
    far_end: int
    """Of the lost, lost on the way back."""

    @property
    def unknown(self) -> int:
        """Of the lost, those whose direction is not known."""
        return self.lost - self.near_end - self.far_end


MODES: Final = (RouteMode.OVERLAY, RouteMode.NATIVE, RouteMode.UNKNOWN)
"""In the order of the matrix. RouteMode, iterated, would leave UNKNOWN out: it is both bits."""
CELLS: Final = (4, RouteMode.UNKNOWN + 1, RouteMode.UNKNOWN + 1)
"""Offered, lost, near end and far end, by the modes of sender and receiver."""
Cells = npt.NDArray[np.int64]
"""Counts in the shape CELLS."""


def count_cells(found: FlowPaths) -> Cells:
    """Count the probes of one flow. What flows share is summed, so that no more than one of them is held at a time."""
    probes, counts = found.probes, np.zeros(CELLS, dtype=np.int64)
    offered = np.ones(probes.rows.size, dtype=np.bool_)
    for number, mask in enumerate((offered, probes.is_lost, probes.is_near_end, probes.is_far_end)):
        np.add.at(counts[number], (found.out.modes[mask], found.back.modes[mask]), 1)
    return counts


def make_matrix(counts: Cells) -> tuple[ModeCell, ...]:
    """Return the nine cells of some flows' summed counts, by sender, then by receiver: OVERLAY, NATIVE, UNKNOWN."""
    return tuple(
        ModeCell(
            sender=sender,
            receiver=receiver,
            offered=int(counts[0, sender, receiver]),
            lost=int(counts[1, sender, receiver]),
            near_end=int(counts[2, sender, receiver]),
            far_end=int(counts[3, sender, receiver]),
        )
        for sender in MODES
        for receiver in MODES
    )

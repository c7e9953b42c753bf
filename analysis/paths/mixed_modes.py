"""The mixed-mode matrix: loss by the mode of the sender's node and the mode of the receiver's node.

During a switch some nodes still encapsulate and others no longer do. The pair that loses tells what is wrong: OVERLAY to NATIVE
means that the receiver removed its tunnel too early, NATIVE to anything that a cloud route is missing. A lost probe has no TTL,
so the modes of all probes come from the events alone. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.paths.path import FlowPaths
from analysis.route_history import RouteMode


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeLoss:
    """The probes of one pair of modes: OVERLAY, NATIVE, or UNKNOWN while the node's routes were rewritten."""

    sender: str
    """Of the sender's node, toward the receiver's, while the probe was on its way out."""
    receiver: str
    """Of the receiver's node, toward the sender's, while the answer was on its way back, or would have been."""
    offered: int
    """Each offered probe is in one cell."""
    lost: int
    lost_near_end: int
    lost_far_end: int
    lost_unknown: int


MODES: Final = (RouteMode.OVERLAY, RouteMode.NATIVE, RouteMode.UNKNOWN)
"""In the order of the matrix. RouteMode, iterated, would leave UNKNOWN out: it is both bits."""
CELLS: Final = (4, RouteMode.UNKNOWN + 1, RouteMode.UNKNOWN + 1)
"""Offered, lost, near end and far end, by the modes of sender and receiver."""
Cells = npt.NDArray[np.int64]
"""Counts in the shape CELLS."""


def count_cells(found: FlowPaths) -> Cells:
    """Count the probes of one flow. The caller sums flow by flow, so that only one of them is in memory."""
    probes, counts = found.probes, np.zeros(CELLS, dtype=np.int64)
    offered = np.ones(probes.rows.size, dtype=np.bool_)
    for number, mask in enumerate((offered, probes.is_lost, probes.is_near_end, probes.is_far_end)):
        np.add.at(counts[number], (found.out.modes[mask], found.back.modes[mask]), 1)
    return counts


def make_matrix(counts: Cells) -> tuple[ModeLoss, ...]:
    """Return the nine cells of some flows' summed counts, by sender, then by receiver: OVERLAY, NATIVE, UNKNOWN."""
    return tuple(_make_cell(sender, receiver, counts[:, sender, receiver]) for sender in MODES for receiver in MODES)


def _make_cell(sender: RouteMode, receiver: RouteMode, counts: Cells) -> ModeLoss:
    offered, lost, near_end, far_end = counts.tolist()
    return ModeLoss(
        sender=str(sender.name),
        receiver=str(receiver.name),
        offered=offered,
        lost=lost,
        lost_near_end=near_end,
        lost_far_end=far_end,
        lost_unknown=lost - near_end - far_end,
    )

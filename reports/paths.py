"""The part of the report about paths, as rows of strings; the words are in templates/page-details.html.j2."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.paths.mixed_modes import ModeLoss
from hitless.words import Arm
from reports.path_summary import DirectionCounts
from reports.quantities import NONE, say_count, say_duration, say_ms, say_share
from reports.summary import Summary
from reports.table import Row


def egress_rows(summary: Summary) -> Iterator[Row]:
    """Yield what is known of the egress of the packets, out and back."""
    for way in ("out", "back"):
        said = {arm: _say_egress(getattr(found.paths, way)) for arm, found in summary.arms.items()}
        for label in next(iter(said.values()), {}):
            ungated, gated = (said[arm][label] if arm in said else NONE for arm in (Arm.UNGATED, Arm.GATED))
            yield Row(label=f"{way}: {label}", ungated=ungated, gated=gated)


def _say_egress(counts: DirectionCounts) -> dict[str, str]:
    return {
        "packets": say_count(counts.taken),
        "by the Preferred Egress": say_share(counts.preferred, counts.taken),
        "by the Next-Best Egress": say_share(counts.next_best, counts.taken),
        "not known": say_share(counts.unknown, counts.taken),
        "- TTL and events contradict": say_count(counts.contradicted),
        "by tunnel / directly / by the router": f"{counts.tunnel:,} / {counts.direct:,} / {counts.router:,}",
    }


def mode_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    """Yield the mode of the sender's node, of the receiver's, and of each arm lost of offered, and in which direction.

    Pairs of modes that no probe met are left out.
    """
    cells = {arm: {(cell.sender, cell.receiver): cell for cell in found.paths.matrix} for arm, found in summary.arms.items()}
    for pair in dict.fromkeys(pair for found in cells.values() for pair in found):
        if any(found[pair].offered for found in cells.values()):
            yield *pair, *(_say_loss(cells[arm][pair]) if arm in cells else NONE for arm in (Arm.UNGATED, Arm.GATED))


def _say_loss(cell: ModeLoss) -> str:
    if not cell.offered:
        return NONE
    ways = f" ({cell.lost_near_end:,} / {cell.lost_far_end:,} / {cell.lost_unknown:,})" if cell.lost else ""
    return f"{cell.lost:,} of {cell.offered:,}{ways}"


def transition_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    """Yield label, arm, number of flows, minimum, median, mean, and the longest with its bounds; transitions that were made."""
    accuracy_ms = summary.accuracy_ms
    for arm, paths in ((arm, found.paths) for arm, found in summary.arms.items()):
        for label, length in (
            (f"event transition ({paths.events_impaired:,} ended by an impaired probe)", paths.event_transition),
            ("first probe out by the Next-Best Egress", paths.first_out),
            ("first answer back by the Next-Best Egress", paths.first_back),
            ("recovery transition", paths.recovery_transition),
        ):
            spread = length.spread_ms
            if spread.flows:
                yield (
                    label,
                    arm,
                    f"{spread.flows:,} of {paths.flows:,}",
                    *(say_ms(value, accuracy_ms) for value in (spread.min, spread.median, spread.mean)),
                    say_duration(length.bounds_ms_max, accuracy_ms),
                )

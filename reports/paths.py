"""The part of the report about paths, as rows of strings; the words are in templates/page-details.html.j2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from analysis.paths.mixed_modes import ModeLoss
from hitless.words import Arm
from reports.path_summary import DirectionCounts, PathSummary
from reports.quantities import NONE, say_count, say_duration, say_ms, say_share
from reports.summary import Summary
from reports.table import Row, arm_row


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTables:
    """All three tables."""

    egress: tuple[Row, ...]
    modes: tuple[tuple[str, ...], ...]
    """Mode of the sender's node, of the receiver's; of each arm lost of offered, and in which direction."""
    transitions: tuple[tuple[str, ...], ...]
    """Label, arm, number of flows, minimum, median, mean, and the longest with its bounds."""


def make_path_tables(summary: Summary) -> PathTables:
    """Return the tables; pairs of modes that no probe met and transitions that no flow made are left out."""
    paths = {arm: found.paths for arm, found in summary.arms.items()}
    return PathTables(
        egress=tuple(_egress_rows(summary)),
        modes=tuple(_mode_rows(paths)),
        transitions=tuple(row for arm, found in paths.items() for row in _transition_rows(arm, found, summary.accuracy_ms)),
    )


def _egress_rows(summary: Summary) -> Iterator[Row]:
    lines: tuple[tuple[str, Callable[[DirectionCounts], str]], ...] = (
        ("packets", lambda counts: say_count(counts.taken)),
        ("by the Preferred Egress", lambda counts: say_share(counts.preferred, counts.taken)),
        ("by the Next-Best Egress", lambda counts: say_share(counts.next_best, counts.taken)),
        ("not known", lambda counts: say_share(counts.unknown, counts.taken)),
        ("- TTL and events contradict", lambda counts: say_count(counts.contradicted)),
        ("by tunnel / directly / by the router", lambda counts: f"{counts.tunnel:,} / {counts.direct:,} / {counts.router:,}"),
    )
    for label, say in lines:
        yield arm_row(summary, f"out: {label}", partial(lambda say, arm: say(arm.paths.out), say))
    for label, say in lines:
        yield arm_row(summary, f"back: {label}", partial(lambda say, arm: say(arm.paths.back), say))


def _mode_rows(paths: Mapping[Arm, PathSummary]) -> Iterator[tuple[str, ...]]:
    cells = {arm: {(cell.sender, cell.receiver): cell for cell in found.matrix} for arm, found in paths.items()}
    for pair in dict.fromkeys(pair for found in cells.values() for pair in found):
        if any(found[pair].offered for found in cells.values()):
            yield *pair, *(_say_loss(cells[arm][pair]) if arm in cells else NONE for arm in (Arm.UNGATED, Arm.GATED))


def _say_loss(cell: ModeLoss) -> str:
    if not cell.offered:
        return NONE
    ways = f" ({cell.lost_near_end:,} / {cell.lost_far_end:,} / {cell.lost_unknown:,})" if cell.lost else ""
    return f"{cell.lost:,} of {cell.offered:,}{ways}"


def _transition_rows(arm: Arm, found: PathSummary, accuracy_ms: float) -> Iterator[tuple[str, ...]]:
    for label, length in (
        (f"event transition ({found.events_impaired:,} ended by an impaired probe)", found.event_transition),
        ("first probe out by the Next-Best Egress", found.first_out),
        ("first answer back by the Next-Best Egress", found.first_back),
        ("recovery transition", found.recovery_transition),
    ):
        spread = length.spread_ms
        if spread.flows:
            yield (
                label,
                arm,
                f"{spread.flows:,} of {found.flows:,}",
                *(say_ms(value, accuracy_ms) for value in (spread.min, spread.median, spread.mean)),
                say_duration(length.bounds_ms_max, accuracy_ms),
            )

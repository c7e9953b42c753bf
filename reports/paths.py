"""The part of the report about paths, as rows of strings; the words are in templates/paths.md.j2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.paths.mixed_modes import ModeLoss
from hitless.words import Arm
from reports.path_summary import DirectionCounts, PathSummary, TransitionSpread
from reports.quantities import NONE, say_count, say_duration, say_ms, say_share
from reports.summary import Summary
from reports.table import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeRow:
    """One pair of modes, the arms beside each other."""

    sender: str
    receiver: str
    ungated: str
    """Lost of offered, and in which direction."""
    gated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRow:
    """One length of time of one arm over its flows."""

    label: str
    arm: Arm
    flows: str
    """To how many of the arm's flows it applies."""
    min: str
    median: str
    mean: str
    max: str
    """The longest, with its bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTables:
    """All three tables."""

    egress: tuple[Row, ...]
    modes: tuple[ModeRow, ...]
    transitions: tuple[TransitionRow, ...]


def make_path_tables(summary: Summary) -> PathTables:
    """Return the tables; pairs of modes that no probe met and transitions that no flow made are left out."""
    paths = {arm: found.paths for arm, found in summary.arms.items()}
    return PathTables(
        egress=_egress_rows(paths),
        modes=_mode_rows(paths),
        transitions=tuple(
            row for arm, found in paths.items() for row in _transition_rows(arm, found, summary.accuracy_ms) if row is not None
        ),
    )


def _egress_rows(paths: dict[Arm, PathSummary]) -> tuple[Row, ...]:
    def row(label: str, say: Callable[[DirectionCounts], str], read: Callable[[PathSummary], DirectionCounts]) -> Row:
        cells = {arm: say(read(paths[arm])) if arm in paths else NONE for arm in Arm}
        return Row(label=label, ungated=cells[Arm.UNGATED], gated=cells[Arm.GATED])

    ways: tuple[tuple[str, Callable[[PathSummary], DirectionCounts]], ...] = (
        ("out", lambda found: found.out),
        ("back", lambda found: found.back),
    )
    lines: tuple[tuple[str, Callable[[DirectionCounts], str]], ...] = (
        ("packets", lambda counts: say_count(counts.taken)),
        ("by the Preferred Egress", lambda counts: say_share(counts.preferred, counts.taken)),
        ("by the Next-Best Egress", lambda counts: say_share(counts.next_best, counts.taken)),
        ("not known", lambda counts: say_share(counts.unknown, counts.taken)),
        ("- TTL and events contradict", lambda counts: say_count(counts.contradicted)),
        ("by tunnel / directly / by the router", lambda counts: f"{counts.tunnel:,} / {counts.direct:,} / {counts.router:,}"),
    )
    return tuple(row(f"{way}: {label}", say, read) for way, read in ways for label, say in lines)


def _mode_rows(paths: dict[Arm, PathSummary]) -> tuple[ModeRow, ...]:
    cells = {arm: {(cell.sender, cell.receiver): cell for cell in found.matrix} for arm, found in paths.items()}
    pairs = dict.fromkeys(pair for found in cells.values() for pair, cell in found.items())
    return tuple(
        ModeRow(
            sender=pair[0],
            receiver=pair[1],
            ungated=_say_loss(cells[Arm.UNGATED][pair]) if Arm.UNGATED in cells else NONE,
            gated=_say_loss(cells[Arm.GATED][pair]) if Arm.GATED in cells else NONE,
        )
        for pair in pairs
        if any(found[pair].offered for found in cells.values())
    )


def _say_loss(cell: ModeLoss) -> str:
    if not cell.offered:
        return NONE
    ways = f" ({cell.lost_near_end:,} / {cell.lost_far_end:,} / {cell.lost_unknown:,})" if cell.lost else ""
    return f"{cell.lost:,} of {cell.offered:,}{ways}"


def _transition_rows(arm: Arm, found: PathSummary, accuracy_ms: float) -> tuple[TransitionRow | None, ...]:
    def row(label: str, length: TransitionSpread) -> TransitionRow | None:
        spread = length.spread_ms
        if not spread.flows:
            return None
        return TransitionRow(
            label=label,
            arm=arm,
            flows=f"{spread.flows:,} of {found.flows:,}",
            min=say_ms(spread.min, accuracy_ms),
            median=say_ms(spread.median, accuracy_ms),
            mean=say_ms(spread.mean, accuracy_ms),
            max=say_duration(length.bounds_ms_max, accuracy_ms),
        )

    return (
        row(f"event transition ({found.events_impaired:,} ended by an impaired probe)", found.event_transition),
        row("first probe out by the Next-Best Egress", found.first_out),
        row("first answer back by the Next-Best Egress", found.first_back),
        row("recovery transition", found.recovery_transition),
    )

"""The events of two runs of one scenario side by side: events of only one of them, order, and time since an anchor. Pure.

Nodes go by their numbers, since backends name them differently. Times start at three anchors, so that a delay in one phase does
not shift the later ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hitless.calico import CALICO_NODE
from hitless.events import Event
from hitless.history import History
from hitless.words import SECOND, Nanoseconds

ANCHORS: Final = {
    "switch.requested": "the operator's request",
    "gate.decided": "the gate's answer",
    f"manifest.applied DaemonSet {CALICO_NODE}": f"the DaemonSet {CALICO_NODE} is applied",
}
"""Label to its phase's name, in order of time."""
_FACTS: Final = ("kind", "name", "reason", "zone", "cause")
"""Facts that distinguish two events of one name, besides nodes and modes. Names of pods are random."""
_OF_THE_RUN: Final = ("run.", "calibration.", "load.")
_REPEATED: Final = frozenset({"gate.held"})
"""Their number depends on the back-off: only the first counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event of a run."""

    label: str
    """Name, facts and number of the node; the same in both runs."""
    t_ns: Nanoseconds
    """Run clock; the end of an event that takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event as both runs have it."""

    label: str
    phase: str
    """Label of the anchor that its times count from."""
    first_s: float | None
    """Seconds after the anchor in the first run; None: it has no such event."""
    second_s: float | None
    """The same in the second run."""
    is_moved: bool
    """Whether the event has another position among those of both runs."""


def read_steps(history: History) -> tuple[Step, ...]:
    """Return the events from the request on, in order of time."""
    numbers = {node.name: f"node {number}" for number, node in enumerate(history.facts.nodes, start=1)}
    numbers |= {node.pod_cidr: numbers[node.name] for node in history.facts.nodes}
    count: Counter[str] = Counter()
    steps: list[Step] = []
    for event in sorted(history.events, key=lambda one: one.t_ns):
        label = _label(event, numbers)
        if event.name.startswith(_OF_THE_RUN) or not (steps or label == next(iter(ANCHORS))):
            continue
        count[label] += 1
        if count[label] == 1:
            steps.append(Step(label=label, t_ns=event.t_ns))
        elif event.name not in _REPEATED:
            steps.append(Step(label=f"{label}, time {count[label]}", t_ns=event.t_ns))
    return tuple(steps)


def _label(event: Event, numbers: Mapping[str, str]) -> str:
    if event.name in {"gate.opened", "gate.not_applicable"}:
        return "gate.decided"
    facts = event.facts
    words = [event.name, *(str(facts[name]) for name in _FACTS if facts.get(name))]
    # A rewritten route of the lab says why; the kernel of a real node only that.
    if event.name == "calico.repointed":
        words = [event.name, str(facts["mode"])]
    if "node" in facts:
        words.append(numbers.get(facts["node"], facts["node"]))
    return " ".join(words)


def align(first: Sequence[Step], second: Sequence[Step]) -> tuple[Row, ...]:
    """Return a row for every event of either run, in the second run's order; events of only the first come after their
    neighbour.

    Raises:
        ValueError: a run has no request.
    """
    ours, theirs = ({step.label: step.t_ns for step in steps} for steps in (first, second))
    if any(next(iter(ANCHORS)) not in times for times in (ours, theirs)):
        raise ValueError("a run in which nothing was requested has no phases to compare")
    common = [step.label for step in second if step.label in ours]
    in_place = _longest_in_order([[step.label for step in first].index(label) for label in common])
    moved = {label for position, label in enumerate(common) if position not in in_place}
    order = [step.label for step in second]
    for before, step in zip((None, *first), first, strict=False):
        if step.label not in theirs:
            order.insert(0 if before is None else order.index(before.label) + 1, step.label)
    phase, rows = next(iter(ANCHORS)), []
    for label in order:
        phase = label if label in ANCHORS and label in ours and label in theirs else phase
        rows.append(
            Row(
                label=label,
                phase=phase,
                first_s=_since(ours, label, phase),
                second_s=_since(theirs, label, phase),
                is_moved=label in moved,
            )
        )
    return tuple(rows)


def _since(times: Mapping[str, Nanoseconds], label: str, anchor: str) -> float | None:
    return None if label not in times else (times[label] - times[anchor]) / SECOND


def _longest_in_order(numbers: Sequence[int]) -> frozenset[int]:
    """Return the positions of a longest rising subsequence: what is not in it has moved."""
    ends: list[int] = []
    last: list[int] = []
    before: dict[int, int | None] = {}
    for position, number in enumerate(numbers):
        place = bisect_left(ends, number)
        ends[place:], last[place:] = [number, *ends[place + 1 :]], [position, *last[place + 1 :]]
        before[position] = last[place - 1] if place else None
    kept: list[int] = []
    position_or_none = last[-1] if last else None
    while position_or_none is not None:
        kept.append(position_or_none)
        position_or_none = before[position_or_none]
    return frozenset(kept)


def to_markdown(rows: Sequence[Row], names: tuple[str, str]) -> str:
    """Return the rows as a table in Markdown, a line with the anchor before each phase."""
    lines = [f"| event | {names[0]}, s | {names[1]}, s | difference, s | order |", "|---|---:|---:|---:|---|"]
    phase = ""
    for row in rows:
        if row.phase != phase:
            phase = row.phase
            lines.append(f"| **after {ANCHORS[phase]}** | | | | |")
        difference = "" if row.first_s is None or row.second_s is None else f"{row.second_s - row.first_s:+.3f}"
        lacking = f"{names[0]} only" if row.second_s is None else f"{names[1]} only" if row.first_s is None else ""
        order = lacking or ("moved" if row.is_moved else "")
        lines.append(f"| {row.label} | {_seconds(row.first_s)} | {_seconds(row.second_s)} | {difference} | {order} |")
    return "\n".join(lines) + "\n"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

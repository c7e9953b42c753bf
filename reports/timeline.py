"""The timeline of a run for people: its events, the repeated ones condensed to one line with a count and a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hitless.events import Event
from hitless.history import History
from hitless.words import MILLISECOND, Kind

_LANDMARKS: Final = frozenset(
    {
        "run.started",
        "run.live",
        "run.settled",
        "run.timed_out",
        "run.interrupted",
        "run.probing_stopped",
        "switch.requested",
        "gate.opened",
        "gate.not_applicable",
        "fault.injected",
        "fault.cured",
        "roll.started",
        "roll.finished",
    }
)
"""Events that no line reaches across: what came before the gate opened and what came after are two lines."""

_TELLING: Final = ("kind", "name", "mode", "status", "reason", "actor", "fault", "cause", "replicas", "generation", "error")
"""Facts that make two events of one name different; the error of a held gate does not: it only spells what is missing."""

_SUMMED: Final = {"routes": "routes written", "removed": "routes removed"}
_FEW: Final = 4
"""Names that are spelled out; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the timeline."""

    first_ms: float
    """From the operator's request, or from the run's start where there is none."""
    last_ms: float
    name: str
    count: int
    text: str
    """The facts."""


def origin_ns(history: History) -> int:
    """Return the instant from which reports count: the Convergence Event Instant, else the run's start."""
    requested = history.first_event("switch.requested")
    return 0 if requested is None else requested.t_ns


def condense(history: History) -> tuple[Line, ...]:
    """Return the lines of a run, by the time of their first event."""
    groups: list[list[Event]] = []
    open_groups: dict[tuple[str, ...], list[Event]] = {}
    for event in history.events:
        if is_landmark(event):
            open_groups.clear()
        key = (event.name, *(f"{fact} {event.facts[fact]}" for fact in _telling(event)))
        if key not in open_groups:
            open_groups[key] = []
            groups.append(open_groups[key])
        open_groups[key].append(event)
    origin = origin_ns(history)
    return tuple(_line(group, origin) for group in groups)


def _telling(event: Event) -> list[str]:
    return [
        fact for fact in _TELLING if event.facts.get(fact) is not None and not (fact == "error" and "missing" in event.facts)
    ]


def is_landmark(event: Event) -> bool:
    """Return whether an event divides a run: the IPPool's apply re-points every node, so it does as well."""
    return event.name in _LANDMARKS or (event.name == "manifest.applied" and event.facts.get("kind") == Kind.IP_POOL)


def _line(group: Sequence[Event], origin: int) -> Line:
    return Line(
        first_ms=round((group[0].t_ns - origin) / MILLISECOND, 1),
        last_ms=round((group[-1].t_ns - origin) / MILLISECOND, 1),
        name=group[0].name,
        count=len(group),
        text=_say_facts(group),
    )


def _say_facts(group: Sequence[Event]) -> str:
    facts = group[0].facts
    parts = [f"{key} {facts[key]}" for key in _telling(group[0])]
    for key in ("zone", "node"):
        values = list(dict.fromkeys(str(event.facts[key]) for event in group if event.facts.get(key) is not None))
        if values:
            parts.append(f"{key} {', '.join(values)}" if len(values) <= _FEW else f"{len(values)} {key}s")
    if "missing" in facts:
        # The gate asks again and again: what it missed at last tells what it waited for.
        missing = [str(name) for name in group[-1].facts["missing"]]
        parts.append(f"last missing {', '.join(missing)}" if len(missing) <= _FEW else f"last missing {len(missing)} nodes")
    if "held_ns" in facts:
        parts.append(f"held {facts['held_ns'] / MILLISECOND:.1f} ms")
    for key, what in _SUMMED.items():
        if key in facts:
            parts += [f"{sum(int(event.facts.get(key, 0)) for event in group)} {what}"]
    return ", ".join(parts)

"""The cloud's routes over time: whether the table of a zone leads to a node, and what changed that.

The events tell. The first event of a route implies the state before it: a route that is created was missing, a route that is
deleted was there. Without an event a route exists where the run starts native, and where the route controller reports that
all routes exist. On a cluster that is only watched the tables are out of sight. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from analysis.bounds import Interval, instant_of
from hitless.events import Event
from hitless.faults import NODE_ROUTE_LOST
from hitless.history import History
from hitless.words import Mode

WATCHED: Final = "kubeconfig"
"""ClusterFacts.backend of a cluster whose cloud is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStep:
    """A route appears in a table, or disappears from it."""

    at: Interval
    is_missing: bool
    """Whether there is no route afterwards."""
    is_fault: bool
    """Whether a fault or its cure changed it; otherwise the route controller did."""
    text: str


class CloudRoutes:
    """The routes of all tables in one run."""

    def __init__(self, history: History) -> None:
        self._is_there = history.header.start_mode is Mode.NATIVE or history.first_event("routes.synced") is not None
        self._steps: dict[tuple[str, str], list[TableStep]] = {}
        for event in history.events:
            for place in changed_routes(event):
                self._steps.setdefault(place, []).append(_make_step(event))
        self.is_visible = history.facts.backend != WATCHED or bool(self._steps)
        """False: nothing is known of any table."""

    def toward(self, zone: str, node: str) -> tuple[bool, tuple[TableStep, ...]]:
        """Return whether the route to a node is missing in the table of a zone at first, and the steps that change that."""
        steps = self._steps.get((zone, node), [])
        was_missing = not steps[0].is_missing if steps else not self._is_there
        return was_missing, tuple(_alternating(steps, was_missing))


def changed_routes(event: Event) -> tuple[tuple[str, str], ...]:
    """Return zone and node of the route that an event tells of; there is at most one."""
    facts = event.facts
    if event.name in {"fault.injected", "fault.cured"} and facts["fault"] == NODE_ROUTE_LOST:
        facts = facts["options"]
    elif event.name not in {"route.created", "route.deleted"}:
        return ()
    return ((facts["zone"], facts["node"]),)


def is_route_there(event: Event) -> bool:
    """Return whether the route of `changed_routes` exists after the event."""
    return event.name in {"route.created", "fault.cured"}


def _make_step(event: Event) -> TableStep:
    is_fault = event.name.startswith("fault.")
    text = f"{event.name} {event.facts['fault']}" if is_fault else event.name
    return TableStep(at=instant_of(event), is_missing=not is_route_there(event), is_fault=is_fault, text=text)


def _alternating(steps: Iterable[TableStep], is_missing: bool) -> Iterator[TableStep]:  # noqa: FBT001 - the state before
    for step in steps:
        if step.is_missing is not is_missing:
            yield step
            is_missing = step.is_missing

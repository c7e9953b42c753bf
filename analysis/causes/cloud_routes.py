"""Timeline of the cloud routes: when each zone's route table had a route to each node, by the events.

The first event tells what was there before: a route that is created was missing, a route that is deleted was there. A table
without events is as the start mode needs it. On a cluster that is only watched the tables are out of sight. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from analysis.causes.candidates import CauseKind
from analysis.interval import Interval, instant_of
from hitless.events import Event
from hitless.history import History
from hitless.words import Mode

NODE_ROUTE_LOST: Final = "node-route-lost"
"""The fault that takes a route away below the route controller. Its event names zone and node in `options`."""
WATCHED: Final = "kubeconfig"
"""ClusterFacts.backend of a cluster whose cloud is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudStep:
    """A route came or went."""

    at: Interval
    is_present: bool
    """Afterwards."""
    kind: CauseKind
    """The cause if it went: ROUTE_DELETED or FAULT."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTimeline:
    """One route of one table."""

    is_present: bool
    """Before the first step."""
    steps: tuple[CloudStep, ...]
    """In order of time; each changes something."""


class CloudRoutes:
    """The routes of all tables in one run."""

    def __init__(self, history: History) -> None:
        self._is_native = history.header.start_mode is Mode.NATIVE
        self._was_synced = history.first_event("routes.synced") is not None
        self._steps: dict[tuple[str, str], list[CloudStep]] = {}
        for zone, node, step in _steps(history):
            self._steps.setdefault((zone, node), []).append(step)
        self.is_visible = history.facts.backend != WATCHED or bool(self._steps)
        """False: nothing is known of any table."""

    def toward(self, zone: str, node: str) -> CloudTimeline:
        """Return the route to a node in the table of a zone."""
        steps = self._steps.get((zone, node), [])
        # No route had to be created and the controller says that all are there: this one was there before.
        is_present = not steps[0].is_present if steps else self._is_native or self._was_synced
        found, now = [], is_present
        for step in steps:
            if step.is_present is not now:
                found.append(step)
                now = step.is_present
        return CloudTimeline(is_present=is_present, steps=tuple(found))


def _steps(history: History) -> Iterator[tuple[str, str, CloudStep]]:
    lost: list[tuple[str, str]] = []
    for event in history.events_named("route.created", "route.deleted", "fault.injected", "fault.cured"):
        facts = event.facts
        if event.name.startswith("route."):
            is_present, kind = event.name == "route.created", CauseKind.ROUTE_DELETED
            places = [(str(facts["zone"]), str(facts["node"]))]
        elif facts.get("fault") != NODE_ROUTE_LOST:
            continue
        else:
            is_present, kind = event.name == "fault.cured", CauseKind.FAULT
            options = facts.get("options") or {}
            if "zone" in options and "node" in options:
                places = [(str(options["zone"]), str(options["node"]))]
                lost = [one for one in lost if one not in places] if is_present else [*lost, *places]
            elif is_present:
                # Runs that were recorded before cures had options: one cure healed every lost route.
                places, lost = lost, []
            else:
                continue
        for zone, node in places:
            yield zone, node, CloudStep(at=instant_of(event), is_present=is_present, kind=kind, text=_say(event))


def _say(event: Event) -> str:
    return f"{event.name} {event.facts['fault']}" if "fault" in event.facts else event.name

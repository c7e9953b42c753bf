"""Times in which something about the next hops of two nodes, or a fault, breaks the path between them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from analysis.interval import Interval, instant_of, make_interval
from analysis.route_history import NextHop, RouteHistory, RouteStep
from hitless.history import History
from hitless.words import JsonObject

Condition = Callable[[NextHop, NextHop], bool]
"""Takes a node's next hop for a peer and the peer's for the node; returns whether the path is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault of the run."""

    name: str
    options: JsonObject
    """Empty in runs that were recorded before faults had options."""
    began: Interval
    ended: Interval | None
    """None: not cured."""


def list_faults(history: History) -> Iterator[InjectedFault]:
    """Yield the faults of a run, each with the first cure after it that names the same options, or none."""
    for event in history.events_named("fault.injected"):
        name, options = str(event.facts["fault"]), event.facts.get("options")
        cured = (
            one
            for one in history.events_named("fault.cured")
            if one.facts["fault"] == name and one.facts.get("options", options) == options and one.t_ns >= event.t_ns
        )
        cure = next(cured, None)
        yield InjectedFault(
            name=name,
            options=options or {},
            began=instant_of(event),
            ended=None if cure is None else instant_of(cure),
        )


def find_times(hops: RouteHistory, node: str, peer: str, is_broken: Condition) -> Iterator[tuple[Interval, Interval | None]]:
    """Yield when a condition began and ceased to hold; if it held from the start, it began at the run's start."""
    here, there = hops.toward(node, peer), hops.toward(peer, node)
    now = [here.first, there.first]
    began = make_interval(0, 0) if is_broken(*now) else None
    steps: list[tuple[RouteStep, int]] = [(step, 0) for step in here.steps] + [(step, 1) for step in there.steps]
    for step, side in sorted(steps, key=lambda entry: (entry[0].at.latest_ns, entry[0].at.earliest_ns)):
        now[side] = step.next_hop
        if is_broken(*now) and began is None:
            began = step.at
        elif began is not None and not is_broken(*now):
            yield began, step.at
            began = None
    if began is not None:
        yield began, None


def encapsulates(here: NextHop, _there: NextHop) -> bool:
    """Return whether the node sends by the tunnel."""
    return here is NextHop.TUNNEL

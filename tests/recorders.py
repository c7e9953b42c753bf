"""A Recorder for tests, which keeps the events in a list."""

from __future__ import annotations

from typing import Any

from hitless.events import Event
from hitless.ports import Clock
from hitless.words import MILLISECOND, Nanoseconds


class ListRecorder:
    """A Recorder that keeps its events.

    Args:
        clock: dates them.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.events: list[Event] = []

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        event = Event(t_ns=self.clock.now_ns() if t_ns is None else t_ns, name=name, facts=facts)
        self.events.append(event)
        return event

    def named(self, *names: str, **facts: object) -> list[Event]:
        return [e for e in self.events if e.name in names and all(e.facts.get(key) == facts[key] for key in facts)]

    def times_ms(self, *names: str, **facts: object) -> list[float]:
        return [event.t_ns / MILLISECOND for event in self.named(*names, **facts)]

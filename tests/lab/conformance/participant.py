"""What every Participant must do: the conformance suite of the port.

A test module takes the suite in by subclassing `ParticipantConformance` and giving four fixtures: `participants`, all that take
part in one run; `kube`, the API that they watch; `clock`, their clock, which jumps; and `switch_over`, which makes the change
that they react to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from hitless.loop import Loop
from hitless.ports import KubeApi, Participant
from hitless.words import SECOND, Kind, Nanoseconds
from tests.clocks import JumpingClock


class Held:
    """A participant whose every call is held to the contract."""

    def __init__(self, held: Participant, clock: JumpingClock) -> None:
        self._held, self._clock = held, clock
        self.name, self.watches = held.name, held.watches
        self.calls = 0

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        began_ns, threads = self._clock.now_ns(), threading.active_count()
        next_ns = self._held.reconcile(now_ns)
        self.calls += 1
        assert self._clock.now_ns() == began_ns, f"{self.name} waited"
        assert threading.active_count() == threads, f"{self.name} started a thread"
        assert next_ns is None or next_ns >= now_ns, f"{self.name} asks at {now_ns} to be called at {next_ns}"
        assert (self._held.name, self._held.watches) == (self.name, self.watches)
        return next_ns

    def is_settled(self) -> bool:
        answers = {self._held.is_settled() for _ in range(2)}
        assert len(answers) == 1, f"{self.name} answers differently when nothing happened in between"
        return answers.pop()


def hold(participants: Sequence[Participant], clock: JumpingClock) -> tuple[Held, ...]:
    return tuple(Held(one, clock) for one in participants)


class ParticipantConformance:
    def test_names_are_unique_and_kinds_are_watched(self, participants: Sequence[Participant]) -> None:
        names = [one.name for one in participants]
        assert sorted(set(names)) == sorted(names)
        assert all(names)
        assert all(one.watches <= frozenset(Kind) for one in participants)

    def test_a_whole_switch_is_made_without_waiting(
        self, participants: Sequence[Participant], kube: KubeApi, clock: JumpingClock, switch_over: Callable[[], None]
    ) -> None:
        held = hold(participants, clock)
        loop = Loop(held, kube, clock)
        loop.at(Nanoseconds(clock.now_ns() + SECOND), switch_over)
        loop.run(lambda: False, Nanoseconds(clock.now_ns() + 60 * SECOND))
        assert all(one.calls > 1 for one in held), [one.name for one in held if one.calls < 2]
        assert all(one.is_settled() for one in held), [one.name for one in held if not one.is_settled()]

    def test_asking_whether_it_is_settled_changes_nothing(
        self, participants: Sequence[Participant], kube: KubeApi, switch_over: Callable[[], None]
    ) -> None:
        switch_over()
        kube.take_changes()
        for one in participants:
            one.is_settled()
        assert kube.take_changes() == frozenset()

    def test_what_has_settled_stays_so_while_nothing_happens(
        self, participants: Sequence[Participant], kube: KubeApi, clock: JumpingClock, switch_over: Callable[[], None]
    ) -> None:
        loop = Loop(participants, kube, clock)
        switch_over()
        loop.run(lambda: False, Nanoseconds(clock.now_ns() + 60 * SECOND))
        unsettled = loop.run(
            lambda: not all(one.is_settled() for one in participants), Nanoseconds(clock.now_ns() + 60 * SECOND)
        )
        assert not unsettled

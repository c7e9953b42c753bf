"""The loop: who is called when, with a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from hitless.loop import Loop
from hitless.ports import KubeApi
from hitless.words import Kind, Nanoseconds
from tests.clocks import JumpingClock


class FakeKube:
    """Only what the loop uses."""

    def __init__(self) -> None:
        self.changes: set[Kind] = set()

    def take_changes(self) -> frozenset[Kind]:
        taken, self.changes = frozenset(self.changes), set()
        return taken


@dataclass
class FakeDouble:
    """Writes down when it was called; says when it wants to be called next."""

    name: str = "double"
    watches: frozenset[Kind] = frozenset()
    plan: list[int | None] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        self.calls.append(now_ns)
        next_ns = self.plan.pop(0) if self.plan else None
        return None if next_ns is None else Nanoseconds(next_ns)

    def is_settled(self) -> bool:
        return not self.plan


def make_loop(*doubles: FakeDouble) -> tuple[Loop, JumpingClock, FakeKube]:
    clock, kube = JumpingClock(), FakeKube()
    return Loop(doubles, cast("KubeApi", kube), clock), clock, kube


def never() -> bool:
    return False


def test_a_double_is_called_at_once_and_then_when_it_asked() -> None:
    double = FakeDouble(plan=[100, 250])
    loop, clock, _ = make_loop(double)
    assert not loop.run(never, Nanoseconds(1000))
    assert double.calls == [0, 100, 250]
    assert clock.now_ns() == 1000


def test_it_ends_when_it_is_over_and_says_so() -> None:
    double = FakeDouble(plan=[100])
    loop, clock, _ = make_loop(double)
    assert loop.run(double.is_settled, Nanoseconds(1000))
    assert clock.now_ns() == 0


def test_a_change_in_a_watched_kind_wakes_at_once() -> None:
    watcher = FakeDouble(name="watcher", watches=frozenset({Kind.NODE}), plan=[None, 900])
    other = FakeDouble(name="other", watches=frozenset({Kind.POD}))
    loop, _, kube = make_loop(watcher, other)
    loop.at(Nanoseconds(50), lambda: kube.changes.add(Kind.NODE))
    loop.run(never, Nanoseconds(1000))
    assert watcher.calls == [0, 50, 900]
    assert other.calls == [0]


def test_a_wake_up_that_was_replaced_does_not_come() -> None:
    watcher = FakeDouble(watches=frozenset({Kind.NODE}), plan=[500, 800])
    loop, _, kube = make_loop(watcher)
    loop.at(Nanoseconds(50), lambda: kube.changes.add(Kind.NODE))
    loop.run(never, Nanoseconds(1000))
    assert watcher.calls == [0, 50, 800]


def test_acts_come_in_the_order_in_which_they_were_planned_and_before_doubles() -> None:
    order: list[str] = []
    double = FakeDouble(plan=[70])
    loop, _, _ = make_loop(double)
    loop.at(Nanoseconds(70), lambda: order.append(f"first, double called {len(double.calls)} times"))
    loop.at(Nanoseconds(70), lambda: order.append(f"second, double called {len(double.calls)} times"))
    loop.run(never, Nanoseconds(100))
    assert order == ["first, double called 1 times", "second, double called 1 times"]
    assert double.calls == [0, 70]


def test_running_on_keeps_what_was_planned() -> None:
    double = FakeDouble(plan=[300])
    loop, _, _ = make_loop(double)
    loop.run(never, Nanoseconds(100))
    loop.run(never, Nanoseconds(400))
    assert double.calls == [0, 300]


def test_what_is_due_exactly_at_the_deadline_is_done() -> None:
    double = FakeDouble(plan=[100])
    loop, clock, _ = make_loop(double)
    acted: list[int] = []
    loop.at(Nanoseconds(100), lambda: acted.append(clock.now_ns()))
    assert not loop.run(never, Nanoseconds(100))
    assert (acted, double.calls) == ([100], [0, 100])


def test_what_was_due_before_the_deadline_is_done_even_when_the_loop_is_late() -> None:
    loop, clock, _ = make_loop()
    acted: list[int] = []
    loop.at(Nanoseconds(50), lambda: clock.wait_until(Nanoseconds(500)))
    loop.at(Nanoseconds(90), lambda: acted.append(clock.now_ns()))
    loop.at(Nanoseconds(101), lambda: acted.append(-1))
    assert not loop.run(never, Nanoseconds(100))
    assert acted == [500]

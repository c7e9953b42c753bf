"""Pacing, with clocks of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from probes.clocks import Bridge, take_pair
from probes.ticked_sender import Pacer


def first_due(interval_ns: int, seed: int) -> int:
    return Pacer(interval_ns, 0, seed).due_ns


def test_the_phase_is_random_and_within_an_interval() -> None:
    phases = {first_due(1_000_000, seed) for seed in range(50)}
    assert len(phases) == 50
    assert all(0 <= phase < 1_000_000 for phase in phases)
    assert Pacer(1_000_000, 0).due_ns != Pacer(1_000_000, 0).due_ns or Pacer(1_000_000, 0).due_ns != Pacer(1_000_000, 0).due_ns


def test_a_tick_is_not_sent_before_it_is_due() -> None:
    pacer = Pacer(100, 1000, seed=1)
    due = pacer.due_ns
    assert pacer.look(due - 1) is None
    assert pacer.look(due) == (due, 0)
    assert pacer.due_ns == due + 100


def test_a_tick_that_is_late_by_one_interval_is_sent() -> None:
    pacer = Pacer(100, 0, seed=1)
    due = pacer.due_ns
    assert pacer.look(due + 100) == (due, 0)
    assert pacer.due_ns == due + 100


def test_ticks_that_are_later_are_skipped_and_the_last_one_is_sent() -> None:
    pacer = Pacer(100, 0, seed=1)
    due = pacer.due_ns
    assert pacer.look(due + 350) == (due, 3)
    assert pacer.due_ns == due + 400


@given(st.integers(1, 1000), st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.integers(0, 99))
def test_every_tick_is_sent_once_or_skipped_once_and_never_caught_up(interval: int, pauses: list[int], seed: int) -> None:
    pacer = Pacer(interval, 0, seed)
    start, now, sent, skipped = pacer.due_ns, 0, [], []
    for pause in pauses:
        now += pause
        planned = pacer.due_ns
        if (found := pacer.look(now)) is not None:
            first, count = found
            skipped += [first + index * interval for index in range(count)]
            due = planned + count * interval
            assert 0 <= now - due <= interval
            sent.append(due)
    assert sorted(sent + skipped) == list(range(start, pacer.due_ns, interval))
    assert all(now - due > interval for due in skipped)


def test_the_narrowest_sandwich_makes_the_pair() -> None:
    readings = iter([0, 900, 1000, 1010, 2000, 2500, 3000, 3400, 4000, 4800])
    walls = iter([10_500, 11_005, 12_250, 13_200, 14_400])
    pair = take_pair(5, lambda: next(readings), lambda: next(walls))
    assert (pair.monotonic_ns, pair.wall_ns, pair.width_ns) == (1000, 11_005, 10)


def test_wall_times_come_back_to_the_run_clock() -> None:
    bridge = Bridge(271)
    pair = bridge.renew()
    assert bridge.offset_ns == pair.wall_ns - pair.monotonic_ns
    assert bridge.error & 0xFF
    assert not bridge.is_due(pair.monotonic_ns + 999_999_999)
    assert bridge.is_due(pair.monotonic_ns + 1_000_000_000)

"""Clocks of several kernels: two agents on a simulated network whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.classify import classify
from analysis.measure import find_outages
from clusters.kubernetes.clock_offsets import AgentRows, align, find_offsets
from hitless.records import REFLECTOR_ROW, SENDER_ROW, Rows
from hitless.words import MILLISECOND, SECOND, FlowId

INTERVAL_NS = 5 * MILLISECOND
OUT_NS, BACK_NS, TURN_NS = 150_000, 90_000, 20_000


def make_pair(
    *, offset_ns: int, drift_ppm: float = 0.0, seconds: int = 2, jitter_ns: int = 40_000, lost: tuple[int, int] = (0, 0)
) -> tuple[list[AgentRows], Rows, Rows]:
    """One flow from `a` to `b`, whose clock shows `offset_ns` more and runs faster.

    Probes from lost[0] to lost[1] - 1 are answered, but the answer is lost. Returns the agents and the truth of both tables.
    """
    count = seconds * SECOND // INTERVAL_NS
    random = np.random.default_rng(1)
    sender, log = np.zeros(count, SENDER_ROW), np.zeros(count, REFLECTOR_ROW)
    sender["flow"] = log["flow"] = 1
    sender["seq"] = log["seq"] = np.arange(count)
    sender["send_began_ns"] = 10 * SECOND + np.arange(count) * INTERVAL_NS
    sender["send_ended_ns"] = sender["send_began_ns"] + 5_000
    log["received"] = sender["send_began_ns"] + OUT_NS + random.integers(0, jitter_ns, count)
    log["sent"] = log["received"] + TURN_NS
    sender["received"] = log["sent"] + BACK_NS + random.integers(0, jitter_ns, count)
    sender["reflector_received"], sender["reflector_sent"] = log["received"], log["sent"]
    sender["copies"] = 1
    hole = slice(*lost)
    sender["copies"][hole] = 0
    for column in ("received", "reflector_received", "reflector_sent"):
        sender[column][hole] = -1
    seen, seen_log = sender.copy(), log.copy()
    for column in ("received", "sent"):
        seen_log[column] = log[column] + offset_ns + (log[column] * drift_ppm / 1e6).astype(np.int64)
    # What the answers say was read from b's wall clock, which is off by something else.
    for column in ("reflector_received", "reflector_sent"):
        seen[column][seen[column] != -1] += 77 * MILLISECOND
    empty = (np.zeros(0, SENDER_ROW), np.zeros(0, REFLECTOR_ROW))
    agents = [
        AgentRows(clock="A", epoch_bound_ns=SECOND, sender=seen, reflector=empty[1]),
        AgentRows(clock="B", epoch_bound_ns=SECOND, sender=empty[0], reflector=seen_log),
    ]
    return agents, sender, log


def test_one_clock_is_left_alone() -> None:
    agents, _, _ = make_pair(offset_ns=0)
    agents = [replace(agent, clock="same") for agent in agents]
    offsets = find_offsets(agents)
    assert {clock: (offset.middle_ns, offset.bound_ns) for clock, offset in offsets.items()} == {"same": (0, 0)}
    for before, after in zip(agents, align(agents, offsets), strict=True):
        assert np.array_equal(before.sender, after.sender)
        assert np.array_equal(before.reflector, after.reflector)


@given(offset_ns=st.integers(-3600 * SECOND, 3600 * SECOND), is_back=st.booleans())
def test_the_offset_is_found_within_its_bound(offset_ns: int, is_back: bool) -> None:  # noqa: FBT001 - drawn
    agents, _, log = make_pair(offset_ns=offset_ns)
    reference = "B" if is_back else "A"
    offsets = find_offsets(agents, reference)
    assert (offsets[reference].middle_ns, offsets[reference].bound_ns) == (0, 0)
    found, true_ns = (offsets["A"], offset_ns) if is_back else (offsets["B"], -offset_ns)
    assert abs(found.middle_ns - true_ns) <= found.bound_ns
    assert found.bound_ns <= (OUT_NS + BACK_NS) // 2 + 1_000
    if not is_back:
        assert np.abs(align(agents, offsets)[1].reflector["received"] - log["received"]).max() <= found.bound_ns


@pytest.mark.parametrize("drift_ppm", [-100.0, -5.0, 5.0, 100.0])
def test_a_clock_that_drifts_stays_within_the_bound(drift_ppm: float) -> None:
    agents, _, log = make_pair(offset_ns=123_456_789, drift_ppm=drift_ppm, seconds=60)
    offsets = find_offsets(agents)
    error_ns = np.abs(align(agents, offsets)[1].reflector["received"] - log["received"]).max()
    assert error_ns <= offsets["B"].bound_ns <= 1_500_000


def test_what_answers_say_comes_from_the_log_instead() -> None:
    agents, truth, _ = make_pair(offset_ns=-5 * SECOND)
    offsets = find_offsets(agents)
    sender = align(agents, offsets)[0].sender
    for column in ("reflector_received", "reflector_sent"):
        assert np.abs(sender[column] - truth[column]).max() <= offsets["B"].bound_ns
    assert np.array_equal(sender["send_began_ns"], truth["send_began_ns"])


def test_without_a_log_each_delay_is_the_whole_round_trip() -> None:
    agents, truth, _ = make_pair(offset_ns=-5 * SECOND)
    half = replace(agents[1], reflector=agents[1].reflector[:200])
    sender = align([agents[0], half], find_offsets([agents[0], half]))[0].sender
    assert np.array_equal(sender["reflector_received"][200:], truth["received"][200:])
    assert np.array_equal(sender["reflector_sent"][200:], truth["send_began_ns"][200:])


def test_clocks_that_nothing_ties_together_are_as_good_as_their_epochs() -> None:
    agents, _, _ = make_pair(offset_ns=5 * SECOND)
    silent = replace(agents[1], reflector=agents[1].reflector[:0])
    offset = find_offsets([agents[0], silent])["B"]
    assert (offset.middle_ns, offset.bound_ns) == (0, 2 * SECOND)


def test_clocks_are_tied_by_way_of_others() -> None:
    agents, _, _ = make_pair(offset_ns=7 * SECOND)
    onwards, _, _ = make_pair(offset_ns=2 * SECOND)
    sender, log = onwards[0].sender, onwards[1].reflector
    sender["flow"] = log["flow"] = 2
    for column in ("send_began_ns", "send_ended_ns", "received"):
        sender[column] += 7 * SECOND
    for column in ("received", "sent"):
        log[column] += 7 * SECOND
    middle = replace(agents[1], sender=sender)
    last = AgentRows(clock="C", epoch_bound_ns=0, sender=sender[:0], reflector=log)
    offset = find_offsets([agents[0], middle, last])["C"]
    assert abs(offset.middle_ns + 9 * SECOND) <= offset.bound_ns <= OUT_NS + BACK_NS + 2_000


@pytest.mark.parametrize("offset_ns", [0, 400_000, -30 * MILLISECOND, 9 * SECOND])
def test_a_wrong_clock_cannot_make_the_bounds_wrong(offset_ns: int) -> None:
    """The answers to 40 probes are lost: the path back was cut between two instants that are known here."""
    agents, _, log = make_pair(offset_ns=offset_ns, lost=(100, 140))
    last_ok, first_cut = int(log["sent"][99]), int(log["sent"][100])
    last_cut, first_ok = int(log["sent"][139]), int(log["sent"][140])
    offsets = find_offsets(agents)
    sender, moved = (rows for rows in (align(agents, offsets)[0].sender, align(agents, offsets)[1].reflector))
    bound_ns = 2 * offsets["B"].bound_ns
    probes = classify(sender, moved, 2 * SECOND, is_log_whole=True, clock_bound_ns=bound_ns, run_clock_bound_ns=7)
    (outage,) = find_outages(FlowId(1), probes)
    assert (outage.lost, outage.far_end) == (40, 40)
    assert outage.longest_ns is not None
    # The shortest outage that fits lasts from the first answer lost to the last one, the longest from the last that came.
    assert outage.shortest_ns <= last_cut - first_cut
    assert outage.longest_ns >= first_ok - last_ok
    assert outage.longest_ns - outage.shortest_ns <= 2 * INTERVAL_NS + 2 * MILLISECOND
    assert outage.onset_after_ns == sender["send_began_ns"][99] - 7
    assert outage.onset_before_ns >= first_cut

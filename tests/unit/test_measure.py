"""The arithmetic behind every number: hand-written probes, and a simulated path whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.classify import classify
from analysis.measure import blind_ns, find_outages
from hitless.records import NONE_NS, REFLECTOR_ROW, SENDER_ROW, Rows
from hitless.words import MILLISECOND, SECOND, FlowId

MS = int(MILLISECOND)
FLOW = FlowId(7)
THRESHOLD = 2 * int(SECOND)
OUT, BACK, TURN, CALL = 30_000, 40_000, 5_000, 10_000
"""One-way delays, turnaround in the reflector and length of the send call, ns."""


def make_sender(count: int, interval_ns: int = 5 * MS, phase_ns: int = 0) -> Rows:
    """Probes that were all answered."""
    rows = np.zeros(count, SENDER_ROW)
    rows["flow"] = FLOW
    rows["seq"] = np.arange(count)
    rows["send_began_ns"] = phase_ns + np.arange(count) * interval_ns
    rows["send_ended_ns"] = rows["send_began_ns"] + CALL
    rows["reflector_received"] = rows["send_began_ns"] + OUT
    rows["reflector_sent"] = rows["reflector_received"] + TURN
    rows["received"] = rows["reflector_sent"] + BACK
    rows["copies"] = 1
    return rows


def make_log(rows: Rows) -> Rows:
    """The reflector's log of these probes."""
    log = np.zeros(rows.size, REFLECTOR_ROW)
    for name, source in (("flow", "flow"), ("seq", "seq"), ("received", "reflector_received"), ("sent", "reflector_sent")):
        log[name] = rows[source]
    return log


def lose(rows: Rows, seqs: list[int]) -> None:
    """Take the answers of some probes away."""
    for name in ("received", "reflector_received", "reflector_sent"):
        rows[name][seqs] = NONE_NS
    rows["copies"][seqs] = 0


def test_nothing_lost_means_no_outage_and_a_blind_time() -> None:
    rows = make_sender(10)
    probes = classify(rows, make_log(rows), THRESHOLD, is_log_whole=True)
    assert find_outages(FLOW, probes) == ()
    assert blind_ns(probes) == 5 * MS + OUT + TURN + BACK


def test_near_end_loss_is_timed_by_the_sender() -> None:
    rows = make_sender(10)
    log = make_log(rows)
    log = log[(log["seq"] < 3) | (log["seq"] > 5)]
    lose(rows, [3, 4, 5])
    (outage,) = find_outages(FLOW, classify(rows, log, THRESHOLD, is_log_whole=True))
    assert (outage.first_seq, outage.lost, outage.near_end, outage.far_end, outage.unknown) == (3, 3, 3, 0, 0)
    assert outage.shortest_ns == 10 * MS - CALL - OUT
    assert outage.longest_ns == 20 * MS + OUT + TURN + BACK
    assert (outage.onset_after_ns, outage.onset_before_ns) == (10 * MS, 15 * MS + CALL + OUT)


def test_far_end_loss_is_timed_by_the_reflector() -> None:
    rows = make_sender(10)
    log = make_log(rows)
    lose(rows, [3, 4, 5])
    (outage,) = find_outages(FLOW, classify(rows, log, THRESHOLD, is_log_whole=True))
    assert (outage.near_end, outage.far_end, outage.unknown) == (0, 3, 0)
    assert outage.shortest_ns == 10 * MS - BACK


def test_without_a_whole_log_the_direction_is_unknown() -> None:
    rows = make_sender(10)
    log = make_log(rows)[:3]
    lose(rows, [3])
    (outage,) = find_outages(FLOW, classify(rows, log, THRESHOLD, is_log_whole=False))
    assert (outage.near_end, outage.far_end, outage.unknown) == (0, 0, 1)
    assert outage.shortest_ns == 0


def test_where_the_far_end_tells_no_time_a_drop_may_have_been_anywhere_in_a_round_trip() -> None:
    rows = make_sender(10)
    rows["reflector_received"] = rows["reflector_sent"] = NONE_NS  # a kernel that answers ICMP
    lose(rows, [3, 4, 5])
    (outage,) = find_outages(FLOW, classify(rows, make_log(rows)[:0], THRESHOLD, is_log_whole=False))
    assert outage.shortest_ns == 10 * MS - CALL - (OUT + TURN + BACK)
    assert outage.longest_ns == 20 * MS + OUT + TURN + BACK


@pytest.mark.parametrize("lost", [[0, 1], [8, 9]])
def test_an_outage_at_either_end_is_censored(lost: list[int]) -> None:
    rows = make_sender(10)
    log = make_log(rows)
    lose(rows, lost)
    (outage,) = find_outages(FLOW, classify(rows, np.delete(log, lost), THRESHOLD, is_log_whole=True))
    assert outage.is_censored
    assert outage.shortest_ns == 5 * MS - CALL - OUT


def test_every_probe_is_in_one_class() -> None:
    rows = make_sender(12)
    log = make_log(rows)
    lose(rows, [1])
    rows["received"][2] = rows["send_began_ns"][2] + THRESHOLD + 1  # late
    rows["copies"][3] = 2
    rows["received"][5] = rows["received"][6] + 1  # overtaken by 6
    rows["corrupted"][8] = 1
    rows["send_errno"][11] = 101
    probes = classify(rows, np.delete(log, [1]), THRESHOLD, is_log_whole=True)
    masks = (probes.is_lost, probes.is_duplicated, probes.is_reordered, probes.is_corrupted)
    assert [np.flatnonzero(mask).tolist() for mask in masks] == [[1, 2], [3], [5], [8]]
    assert np.flatnonzero(probes.is_late).tolist() == [2]
    assert np.flatnonzero(probes.is_near_end).tolist() == [1]
    assert (probes.rows.size, probes.send_errors) == (11, 1)


def test_a_late_probe_does_not_make_its_followers_reordered() -> None:
    rows = make_sender(6)
    rows["received"][1] = rows["received"][5] + THRESHOLD
    probes = classify(rows, make_log(rows), THRESHOLD, is_log_whole=True)
    assert np.flatnonzero(probes.is_reordered).tolist() == []
    assert np.flatnonzero(probes.is_lost).tolist() == [1]


def test_connections_of_their_own_have_no_order_to_keep() -> None:
    rows = make_sender(10)
    rows["received"][3] += 12 * MS
    assert classify(rows, make_log(rows), THRESHOLD, is_log_whole=True).is_reordered.sum() == 1
    assert classify(rows, make_log(rows), THRESHOLD, is_log_whole=True, is_stream=False).is_reordered.sum() == 0


def test_two_outages_are_distinguished() -> None:
    rows = make_sender(20)
    log = make_log(rows)
    lose(rows, [3, 4, 9])
    outages = find_outages(FLOW, classify(rows, np.delete(log, [3, 4, 9]), THRESHOLD, is_log_whole=True))
    assert [(outage.first_seq, outage.lost) for outage in outages] == [(3, 2), (9, 1)]


def test_a_probe_whose_answer_was_refused_was_lost_on_the_way_back() -> None:
    """The reflector's log has it without a send time: its host refused the answer, or its rate limit forbade one."""
    rows = make_sender(10)
    log = make_log(rows)
    log["sent"][[3, 4]] = NONE_NS
    lose(rows, [3, 4])
    (outage,) = find_outages(FLOW, classify(rows, log, THRESHOLD, is_log_whole=True))
    assert (outage.near_end, outage.far_end, outage.unknown) == (0, 2, 0)
    assert outage.shortest_ns == 5 * MS - BACK


@pytest.mark.parametrize(("held_out_ns", "near", "far"), [(THRESHOLD + MS, 1, 0), (THRESHOLD - MS, 0, 1)])
def test_a_late_probe_was_lost_on_the_way_that_made_it_late(held_out_ns: int, near: int, far: int) -> None:
    rows = make_sender(10)
    rows["reflector_received"][5] = rows["reflector_sent"][5] = rows["send_began_ns"][5] + held_out_ns
    rows["received"][5] = rows["send_began_ns"][5] + THRESHOLD + 2 * MS
    (outage,) = find_outages(FLOW, classify(rows, make_log(rows), THRESHOLD, is_log_whole=True))
    assert (outage.near_end, outage.far_end, outage.unknown) == (near, far, 0)


def test_a_late_probe_at_the_end_of_an_outage_does_not_stretch_it() -> None:
    rows = make_sender(10)
    log = make_log(rows)
    lose(rows, [3])
    rows["received"][4] = log["received"][4] = log["sent"][4] = rows["send_began_ns"][4] + THRESHOLD + MS
    (outage,) = find_outages(FLOW, classify(rows, np.delete(log, 3), THRESHOLD, is_log_whole=True))
    assert outage.longest_ns == 15 * MS + OUT + TURN + BACK
    assert outage.shortest_ns == 5 * MS - CALL - OUT


def test_a_corrupted_probe_does_not_shorten_the_blind_time() -> None:
    rows = make_sender(10)
    rows["corrupted"][4] = 1
    assert blind_ns(classify(rows, make_log(rows), THRESHOLD, is_log_whole=True)) == 10 * MS + OUT + TURN + BACK
    rows["corrupted"][3:6] = 1
    assert blind_ns(classify(rows, make_log(rows), THRESHOLD, is_log_whole=True)) == 20 * MS + OUT + TURN + BACK


def test_a_probe_that_overtakes_the_first_answered_one_ends_the_outage() -> None:
    rows = make_sender(10)
    log = make_log(rows)
    lose(rows, [3])
    rows["received"][4] += 17 * MS
    rows["received"][6] += 9 * MS
    probes = classify(rows, np.delete(log, 3), THRESHOLD, is_log_whole=True)
    (outage,) = find_outages(FLOW, probes)
    assert outage.longest_ns == 15 * MS + OUT + TURN + BACK
    assert outage.end_ns == 25 * MS + OUT + TURN + BACK
    assert blind_ns(probes) == 10 * MS + OUT + TURN + BACK


@given(
    lost=st.lists(st.sampled_from(["", "out", "back", "late out", "late back", "late"]), min_size=1, max_size=30),
    threshold_ns=st.integers(1 * MS, 40 * MS),
)
def test_the_bounds_never_cross(lost: list[str], threshold_ns: int) -> None:
    rows = make_sender(len(lost) + 20)
    log = make_log(rows)
    for seq, how in enumerate(lost, start=5):
        if how in {"late out", "late"}:
            log["received"][seq] = log["sent"][seq] = rows["send_began_ns"][seq] + 2 * threshold_ns // 3 * (
                1 if how == "late" else 2
            )
            rows["reflector_received"][seq] = rows["reflector_sent"][seq] = log["sent"][seq]
        if how.startswith("late"):
            rows["received"][seq] = rows["send_began_ns"][seq] + 3 * threshold_ns // 2
    lose(rows, [seq for seq, how in enumerate(lost, start=5) if how in ("out", "back")])
    log = np.delete(log, [seq for seq, how in enumerate(lost, start=5) if how == "out"])
    for outage in find_outages(FLOW, classify(rows, log, threshold_ns, is_log_whole=True)):
        assert outage.longest_ns is not None
        assert 0 <= outage.shortest_ns <= outage.longest_ns


@given(
    interval_us=st.integers(200, 20_000),
    phase_ns=st.integers(0, 20_000_000),
    start_ns=st.integers(100_000_000, 200_000_000),
    length_ns=st.integers(0, 300_000_000),
    drops_out=st.booleans(),
    drops_back=st.booleans(),
)
def test_the_truth_is_always_within_the_bounds(
    interval_us: int,
    phase_ns: int,
    start_ns: int,
    length_ns: int,
    drops_out: bool,  # noqa: FBT001 - Hypothesis passes keywords
    drops_back: bool,  # noqa: FBT001
) -> None:
    """A router half-way drops what passes it in [start, start + length), in either direction or both."""
    interval_ns = interval_us * 1_000
    rows = make_sender(600_000_000 // interval_ns, interval_ns, phase_ns)
    log = make_log(rows)
    end_ns = start_ns + length_ns
    passes_out = rows["send_began_ns"] + OUT // 2
    passes_back = rows["reflector_sent"] + BACK // 2
    near = drops_out & (passes_out >= start_ns) & (passes_out < end_ns)
    far = ~near & drops_back & (passes_back >= start_ns) & (passes_back < end_ns)
    lose(rows, np.flatnonzero(near | far).tolist())
    probes = classify(rows, log[~near], THRESHOLD, is_log_whole=True)
    outages = find_outages(FLOW, probes)
    if outages:
        (outage,) = outages
        assert outage.longest_ns is not None
        assert outage.shortest_ns <= length_ns <= outage.longest_ns
        assert outage.onset_after_ns <= start_ns <= outage.onset_before_ns
    elif drops_out or drops_back:
        blind = blind_ns(probes)
        assert blind is not None
        assert length_ns < blind

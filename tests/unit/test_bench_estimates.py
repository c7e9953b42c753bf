"""What a tool says of an outage, and how errors are summed up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.estimates import SentProbes, by_count_ns, by_times_ns, describe_errors, is_mean_reached
from bench.lab.injection import LENGTH_MS, Lengths, Truth

MS = 1_000_000


def make_truth(start_ns: int, length_ns: int, blur_ns: int = 0) -> Truth:
    end_ns = start_ns + length_ns
    return Truth(
        dropped_after_ns=start_ns,
        dropped_before_ns=start_ns + blur_ns,
        restored_after_ns=end_ns,
        restored_before_ns=end_ns + blur_ns,
    )


def make_probes(interval_ns: int, truths: list[Truth], phase_ns: int = 0, count: int = 300) -> SentProbes:
    sent = phase_ns + np.arange(count) * interval_ns
    lost = np.zeros(count, dtype=np.bool_)
    for truth in truths:
        lost |= (sent >= truth.dropped_after_ns) & (sent < truth.restored_after_ns)
    return SentProbes(sent_ns=sent, is_lost=lost)


def test_the_truth_has_a_middle_and_a_blur() -> None:
    truth = make_truth(0, 100 * MS, blur_ns=2 * MS)
    assert (truth.shortest_ns, truth.longest_ns) == (98 * MS, 102 * MS)
    assert (truth.middle_ns, truth.blur_ns) == (100 * MS, 2 * MS)


def test_every_outage_gets_its_own_losses() -> None:
    truths = [make_truth(201 * MS, 50 * MS), make_truth(601 * MS, 20 * MS)]
    probes = make_probes(10 * MS, truths)
    assert [by_count_ns(probes, truth, 10 * MS) for truth in truths] == [50 * MS, 20 * MS]
    assert [by_times_ns(probes, truth) for truth in truths] == [50 * MS, 20 * MS]


def test_who_lost_nothing_says_nothing() -> None:
    truth = make_truth(201 * MS, 5 * MS)
    probes = make_probes(10 * MS, [truth])
    assert (by_count_ns(probes, truth, 10 * MS), by_times_ns(probes, truth)) == (0, 0)


def test_a_tool_that_sends_too_slowly_is_wrong_by_count_and_right_by_times() -> None:
    truth = make_truth(201 * MS, 200 * MS)
    probes = make_probes(20 * MS, [truth])
    assert by_count_ns(probes, truth, 10 * MS) == 100 * MS
    assert by_times_ns(probes, truth) == 200 * MS
    assert probes.rate_hz == pytest.approx(50)


@given(interval_ns=st.integers(1 * MS, 20 * MS), phase_ns=st.integers(0, 20 * MS), length_ns=st.integers(0, 400 * MS))
def test_both_ways_are_off_by_one_interval_at_most(interval_ns: int, phase_ns: int, length_ns: int) -> None:
    truth = make_truth(200 * MS, length_ns)
    probes = make_probes(interval_ns, [truth], phase_ns, count=800 * MS // interval_ns)
    assert abs(by_count_ns(probes, truth, interval_ns) - length_ns) <= interval_ns
    assert abs(by_times_ns(probes, truth) - length_ns) <= interval_ns


def test_errors_are_summed_up_in_intervals() -> None:
    assert describe_errors([5.0, -10.0, 15.0, 0.0], 10.0) == {
        "outages": 4,
        "mean": 0.75,
        "standard_error": 0.3227,
        "largest": 1.5,
        "above_one": 1,
        "bias": 0.25,
    }
    assert describe_errors([], 10.0) == {"outages": 0}


def test_the_mean_is_reached_within_two_standard_errors() -> None:
    assert is_mean_reached({"mean": 0.35, "standard_error": 0.01})
    assert not is_mean_reached({"mean": 0.36, "standard_error": 0.01})
    assert not is_mean_reached({"mean": 0.30, "standard_error": 0.01})
    assert not is_mean_reached({"mean": 0.33, "standard_error": None})


def test_random_phases_give_a_third_of_an_interval() -> None:
    """The experiment's own lengths against ideal probes: the mean error is what the aim says."""
    lengths, random = Lengths(7, (60.0, 160.0)), np.random.default_rng(7)
    errors = []
    for _ in range(2000):
        length_ns = lengths.draw_s() * 1e9
        assert LENGTH_MS[0] * MS <= length_ns <= LENGTH_MS[1] * MS
        interval_ns = 1 * MS
        lost = np.floor((random.uniform(0, interval_ns) + length_ns) / interval_ns)
        errors.append(float(lost * interval_ns - length_ns))
    assert is_mean_reached(describe_errors(errors, 1 * MS))

"""The load second by second, on requests written by hand."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from analysis.load_seconds import load_seconds, tally, tally_uses
from hitless.load import ConnectionUse, RequestOutcome
from hitless.words import JsonObject
from tests.clocks import ms
from tests.unit.load_rows import INTERVAL_NS, load, request, rows

LATENCIES = ("latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "latency_ms_max")
NEW = {"use": ConnectionUse.NEW, "nth": 0}


def test_a_load_without_requests_has_no_seconds() -> None:
    assert load_seconds(load()) == ()
    counts = {"requests": 0, "answered": 0, "failed": 0, "aborted": 0, "missed": 0, "opened": 0, "failures": {}}
    assert asdict(tally(rows([]))) == {**counts, **dict.fromkeys(LATENCIES)}


def test_a_request_belongs_to_the_second_in_which_it_began() -> None:
    timed_out = {"outcome": RequestOutcome.TIMED_OUT, "status": 0}
    found = load_seconds(load(request(999.9, 2_000, **timed_out), request(1_000), request(1_500)))
    assert [(one.second, one.totals.requests, one.totals.failed) for one in found] == [(0, 1, 1), (1, 2, 0)]


def test_seconds_count_from_the_origin_and_none_is_left_out() -> None:
    found = load_seconds(load(request(100), request(4_100)), origin_ns=ms(2_500))
    assert [(one.second, one.totals.requests) for one in found] == [(-3, 1), (-2, 0), (-1, 0), (0, 0), (1, 1)]
    assert found[1].totals.latency_ms_p50 is None


def test_what_could_not_be_asked_is_counted_when_it_was_due() -> None:
    """A user that asked at 0.75 s and waited until 2.31 s was to ask each tenth of a second and missed all but the last."""
    late = request(2_310, due=ms(2_250), missed=14)
    found = load_seconds(load(request(750), late, request(2_400, **NEW)))
    assert [one.totals.missed for one in found] == [2, 10, 2]
    assert sum(one.totals.missed for one in found) == 14
    assert [one.uses["reused"].missed for one in found] == [2, 10, 2]
    assert [one.uses["new"].missed for one in found] == [0, 0, 0]


def test_missed_times_of_several_users_are_distinguished() -> None:
    found = load_seconds(load(request(1_050, due=ms(1_050), missed=1), request(1_020, due=ms(1_020), missed=2, **NEW)))
    assert [(one.second, one.totals.requests, one.totals.missed) for one in found] == [(0, 0, 3), (1, 2, 0)]


def test_failures_are_counted_by_kind_and_an_aborted_request_is_no_failure() -> None:
    found = tally(
        rows(
            [
                request(1),
                request(2, outcome=RequestOutcome.RESET),
                request(3, outcome=RequestOutcome.CONNECT_TIMED_OUT, nth=0),
                request(4, outcome=RequestOutcome.CONNECT_TIMED_OUT, nth=0),
                request(5, outcome=RequestOutcome.ABORTED),
            ]
        )
    )
    assert found.failures == {"connect timed out": 2, "reset": 1}
    assert (found.requests, found.answered, found.failed, found.aborted, found.opened) == (5, 1, 3, 1, 2)


def latencies(*requests: JsonObject) -> list[float | None]:
    return [getattr(tally(rows(requests)), name) for name in LATENCIES]


def test_percentiles_are_times_that_were_measured_and_of_answers_only() -> None:
    answered = [request(ms, took_ms=ms) for ms in range(1, 101)]
    failed = request(500, 2_000, outcome=RequestOutcome.TIMED_OUT)
    assert latencies(*answered, failed) == [50, 90, 99, 100]
    assert latencies(request(1, 7)) == [7, 7, 7, 7]
    assert latencies(failed) == [None, None, None, None]


def test_ways_of_connecting_are_counted_apart() -> None:
    found = tally_uses(rows([request(1), request(2, **NEW), request(3, **NEW)]))
    assert {use: (one.requests, one.opened) for use, one in found.items()} == {"reused": (1, 0), "new": (2, 2)}
    assert list(tally_uses(rows([request(1)]))) == ["reused"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9_000),
            st.integers(0, 3_000),
            st.sampled_from(RequestOutcome),
            st.sampled_from(ConnectionUse),
            st.integers(0, 30),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(-5_000, 5_000),
)
def test_seconds_and_ways_add_up_to_the_whole(
    made: list[tuple[int, int, RequestOutcome, ConnectionUse, int]], origin_ms: int
) -> None:
    requests = [request(began, took, outcome=outcome, use=use, missed=missed) for began, took, outcome, use, missed in made]
    records = load(*requests)
    whole, found = tally(records.rows), load_seconds(records, ms(origin_ms))
    for name in ("requests", "answered", "failed", "aborted", "missed", "opened"):
        assert sum(getattr(one.totals, name) for one in found) == getattr(whole, name)
        for one in found:
            assert sum(getattr(use, name) for use in one.uses.values()) == getattr(one.totals, name)
    assert whole.requests == whole.answered + whole.failed + whole.aborted
    assert [one.second for one in found] == list(range(found[0].second, found[-1].second + 1))
    earliest = min([*records.rows["began"], *(row["due"] - int(row["missed"]) * INTERVAL_NS for row in records.rows)])
    assert found[0].second == (earliest - ms(origin_ms)) // 1_000_000_000

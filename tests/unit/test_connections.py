"""What is said of connections, on rows written by hand, and on connections that meet outages (Hypothesis)."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.connections import Complaint, ConnectionMeasure, Stall, StallEnd, find_stalls, judge_flow, measure_connections
from hitless.records import ConnectionEvent, Rows
from hitless.words import SECOND, FlowClass, FlowId, Nanoseconds
from tests.clocks import ms
from tests.unit.tcp_rows import (
    DELAY_MS,
    INTERVAL_MS,
    message,
    messages,
    opened,
    quiet,
    story,
    tcp_flow,
    tcp_history,
    told,
)

FLOW = FlowId(7)
THRESHOLD_NS = Nanoseconds(2 * SECOND)


def judge(rows: Rows, connections: Rows | None = None, flow_class: FlowClass = FlowClass.TCP_ESTABLISHED) -> ConnectionMeasure:
    return judge_flow(flow_class, rows, story() if connections is None else connections, THRESHOLD_NS)


def only_stall(rows: Rows, connections: Rows) -> Stall:
    (stall,) = find_stalls(rows, connections)
    return stall


def test_a_quiet_connection_gives_no_cause() -> None:
    rows = quiet(0, 10)
    found = judge(rows, story(opened(), told(ConnectionEvent.CLOSED, 2500, seq=10)))
    assert (found.offered, found.answered, found.opened, found.complaints, found.stalls) == (10, 10, 1, {}, ())


def test_a_stall_that_recovered() -> None:
    waiting = [message(tick, delay_ms=950 - tick * 50, retransmits=3 if tick == 4 else 0) for tick in range(4, 16)]
    rows = messages(quiet(0, 4), *waiting, quiet(16, 10))
    found = judge(rows, story(opened(), told(ConnectionEvent.CLOSED, 3300, seq=26)))
    (stall,) = found.stalls
    assert stall.end is StallEnd.RECOVERED
    assert (stall.start_ns, stall.end_ns, stall.wait_ns) == (ms(200), ms(950), ms(750))
    assert stall.shortest_ns == ms(750)
    assert {complaint: found.count(complaint) for complaint in found.complaints} == {Complaint.STALLED: 1}


def test_exactly_the_least_time_out_is_no_stall() -> None:
    rows = messages(quiet(0, 2), message(2, delay_ms=200), quiet(3, 2))
    assert list(find_stalls(rows, opened())) == []


def test_a_stall_that_ended_in_a_reset_and_what_follows_on_the_next_connection() -> None:
    failed = [message(tick, delay_ms=None, failure=errno.ECONNRESET) for tick in range(2, 8)]
    waiting = message(8, delay_ms=300)  # was offered while there was no connection: it stalled on none
    rows = messages(quiet(0, 2), *failed, waiting, quiet(9, 3))
    connections = story(
        opened(),
        told(ConnectionEvent.RESET, 390, seq=8, errno=errno.ECONNRESET),
        told(ConnectionEvent.OPENED, 420, seq=9, connection=1),
    )
    found = judge(rows, connections)
    (stall,) = found.stalls
    assert (stall.start_ns, stall.end_ns, stall.end) == (ms(100), ms(390), StallEnd.RESET)
    assert (found.opened, found.unconnected_ns) == (2, ms(30))
    assert {one: found.count(one) for one in found.complaints} == {Complaint.RESET: 1, Complaint.STALLED: 1}


def test_a_reset_out_of_the_blue_is_no_stall() -> None:
    rows = messages(quiet(0, 2), message(2, delay_ms=None, failure=errno.ECONNRESET), quiet(3, 3))
    connections = story(
        opened(),
        told(ConnectionEvent.RESET, 101, seq=3, errno=errno.ECONNRESET),
        told(ConnectionEvent.OPENED, 102, seq=3, connection=1),
    )
    found = judge(rows, connections)
    assert (found.stalls, found.complaints, found.unconnected_ns) == ((), {Complaint.RESET: (ms(101),)}, ms(1))


def test_silence_until_the_end_is_a_silent_stall() -> None:
    rows = messages(quiet(0, 2), *(message(tick, delay_ms=None) for tick in range(2, 6)))
    stall = only_stall(rows, story(opened(), told(ConnectionEvent.CLOSED, 2300, seq=6)))
    assert (stall.end, stall.shortest_ns) == (StallEnd.SILENT, ms(2200))
    found = judge(rows, story(opened(), told(ConnectionEvent.CLOSED, 2300, seq=6)))
    assert found.count(Complaint.LOST) == 4


def test_an_agent_that_was_killed_leaves_a_stall_as_long_as_it_was_seen() -> None:
    rows = messages(quiet(0, 2), *(message(tick, delay_ms=None) for tick in range(2, 10)))
    stall = only_stall(rows, opened())
    assert (stall.end, stall.end_ns) == (StallEnd.SILENT, ms(450) + 5_000)


def test_what_was_not_even_tried_was_not_offered() -> None:
    found = judge(messages(quiet(0, 2), message(2, delay_ms=None, send_errno=errno.EMFILE)), opened())
    assert (found.offered, found.answered, found.complaints) == (2, 2, {})


def test_no_connection_for_a_while_then_for_good() -> None:
    rows = messages(quiet(0, 2), *(message(tick, delay_ms=None, failure=errno.ECONNREFUSED) for tick in range(2, 20)))
    connections = story(
        opened(),
        told(ConnectionEvent.ENDED, 90, seq=2),
        told(ConnectionEvent.REFUSED, 91, seq=2, connection=1, errno=errno.ECONNREFUSED),
        told(ConnectionEvent.TIMED_OUT, 700, seq=14, connection=1),
        told(ConnectionEvent.UNREACHABLE, 800, seq=16, connection=1, errno=errno.EHOSTUNREACH),
    )
    found = judge(rows, connections)
    assert found.unconnected_ns == ms(950 - 90)
    assert {one: found.count(one) for one in found.complaints} == dict.fromkeys(
        (Complaint.ENDED, Complaint.REFUSED, Complaint.TIMED_OUT, Complaint.UNREACHABLE), 1
    )


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (message(3), None),
        (message(3, delay_ms=999.9), None),
        (message(3, delay_ms=1000), Complaint.SLOW),
        (message(3, delay_ms=220, retransmits=1), Complaint.SLOW),
        (message(3, delay_ms=2000.1, retransmits=1), Complaint.LOST),
        (message(3, delay_ms=None), Complaint.LOST),
        (message(3, delay_ms=None, failure=errno.ECONNREFUSED), Complaint.REFUSED),
        (message(3, delay_ms=None, failure=errno.ECONNRESET), Complaint.RESET),
        (message(3, delay_ms=None, failure=errno.EPIPE), Complaint.ENDED),
        (message(3, delay_ms=None, failure=errno.ETIMEDOUT), Complaint.TIMED_OUT),
        (message(3, delay_ms=None, failure=errno.EHOSTUNREACH), Complaint.UNREACHABLE),
        (message(3, delay_ms=None, failure=errno.ENETUNREACH), Complaint.UNREACHABLE),
    ],
)
def test_what_became_of_one_new_connection(row: Rows, complaint: Complaint | None) -> None:
    found = judge(row, flow_class=FlowClass.TCP_CONNECT)
    assert found.complaints == ({} if complaint is None else {complaint: (ms(150),)})


def test_connections_that_opened_are_those_that_were_answered_reset_or_ended() -> None:
    failures = (0, errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ETIMEDOUT)
    rows = messages(*(message(tick, delay_ms=None if number else 1, failure=number) for tick, number in enumerate(failures)))
    assert judge(rows, flow_class=FlowClass.TCP_CONNECT).opened == 3


def test_every_tcp_flow_of_a_run_is_judged_by_its_own_rows() -> None:
    flows = [tcp_flow(7), tcp_flow(8)]
    rows = messages(quiet(0, 4, flow=7), quiet(0, 3, flow=8), message(3, delay_ms=None, flow=8))
    run = tcp_history(flows, rows, story(opened(flow=7), opened(flow=8)))
    found = measure_connections(run)
    assert list(found) == [7, 8]
    assert [(one.offered, one.count(Complaint.LOST)) for one in found.values()] == [(4, 0), (4, 1)]


ERRNOS = st.sampled_from([errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EIO])
FATES = st.one_of(
    st.builds(lambda delay, sent: {"delay_ms": delay, "retransmits": sent}, st.floats(0.1, 5000), st.integers(0, 3)),
    ERRNOS.map(lambda number: {"delay_ms": None, "failure": number}),
    st.just({"delay_ms": None}),
)


@given(st.lists(FATES, max_size=30))
def test_each_new_connection_has_one_fate(fates: list[dict[str, float]]) -> None:
    rows = messages(*(message(tick, **fate) for tick, fate in enumerate(fates)))  # type: ignore[arg-type]
    found = judge(rows, flow_class=FlowClass.TCP_CONNECT)
    others = sum(found.count(complaint) for complaint in Complaint if complaint is not Complaint.SLOW)
    assert found.answered + others == found.offered == len(fates)
    assert found.count(Complaint.SLOW) <= found.answered


OUTAGES = st.lists(st.tuples(st.floats(260, 3000), st.floats(0, 2000), st.floats(400, 1000)), min_size=1, max_size=5)


@given(OUTAGES, st.floats(0, 49))
def test_a_stall_holds_what_it_was_made_of(outages: list[tuple[float, float, float]], phase_ms: float) -> None:
    """Each outage is followed by the time that the connection needs to come back, then by a pause in which all is well."""
    truths, at_ms = [], 400.0 + phase_ms
    for length_ms, backoff_ms, pause_ms in outages:
        truths.append((at_ms, at_ms + length_ms + backoff_ms))
        at_ms += length_ms + backoff_ms + pause_ms
    rows = []
    for tick in range(round(at_ms / INTERVAL_MS) + 1):
        before_ms = tick * INTERVAL_MS
        back_ms = next((back for dropped, back in truths if dropped <= before_ms < back), before_ms)
        rows.append(message(tick, delay_ms=back_ms - before_ms + DELAY_MS))
    stalls = list(find_stalls(messages(*rows), story(opened(), told(ConnectionEvent.CLOSED, at_ms + 5000, seq=len(rows)))))
    assert [stall.end for stall in stalls] == [StallEnd.RECOVERED] * len(truths)
    for stall, (dropped_ms, back_ms) in zip(stalls, truths, strict=True):
        silence_ns = ms(back_ms - dropped_ms)
        # A nanosecond is the rounding of the simulation.
        assert silence_ns - ms(INTERVAL_MS) - 1 <= stall.shortest_ns <= silence_ns + ms(DELAY_MS) + 1
        assert stall.shortest_ns >= stall.wait_ns


@given(
    st.lists(st.tuples(FATES, st.booleans()), max_size=20),
    st.lists(
        st.tuples(st.sampled_from(ConnectionEvent), st.integers(0, 1000), st.integers(0, 20), st.integers(0, 3)), max_size=8
    ),
)
def test_every_recorded_run_is_judged(
    fates: list[tuple[dict[str, float], bool]], events: list[tuple[ConnectionEvent, int, int, int]]
) -> None:
    rows = messages(*(message(tick, **fate) for tick, (fate, is_kept) in enumerate(fates) if is_kept))  # type: ignore[arg-type]
    connections = story(
        *(told(what, at, seq=seq, connection=number) for what, at, seq, number in sorted(events, key=lambda e: e[1]))
    )
    found = judge(rows, connections)
    failed = int(np.count_nonzero(rows["failure"]))
    assert found.answered + found.count(Complaint.LOST) + failed == found.offered == rows.size
    assert all(stall.wait_ns > ms(200) for stall in found.stalls)
    assert found.unconnected_ns >= 0

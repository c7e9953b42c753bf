"""The likely length of an outage, held against a simulated path whose truth is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.classify import Probes, classify
from analysis.measure import find_outages
from hitless.records import NONE_NS, REFLECTOR_ROW, SENDER_ROW, Rows
from hitless.words import MILLISECOND, SECOND, FlowId

MS = int(MILLISECOND)
FLOW = FlowId(7)
THRESHOLD = 2 * int(SECOND)
OUT, BACK, CALL = 30_000, 40_000, 10_000
"""One-way delays and length of the send call, ns."""


def simulate(
    sent_ns: list[int] | range, start_ns: int, end_ns: int, *, turn_ns: int, drops_out: bool = True, drops_back: bool = True
) -> Probes:
    """A router half-way drops what passes it in [start, end), in either direction or both."""
    rows: Rows = np.zeros(len(sent_ns), SENDER_ROW)
    rows["flow"], rows["seq"], rows["send_began_ns"], rows["copies"] = FLOW, np.arange(len(sent_ns)), sent_ns, 1
    rows["send_ended_ns"] = rows["send_began_ns"] + CALL
    rows["reflector_received"] = rows["send_began_ns"] + OUT
    rows["reflector_sent"] = rows["reflector_received"] + turn_ns
    rows["received"] = rows["reflector_sent"] + BACK
    log: Rows = np.zeros(rows.size, REFLECTOR_ROW)
    for name, source in (("flow", "flow"), ("seq", "seq"), ("received", "reflector_received"), ("sent", "reflector_sent")):
        log[name] = rows[source]
    passes_out, passes_back = rows["send_began_ns"] + OUT // 2, rows["reflector_sent"] + BACK // 2
    near = drops_out & (passes_out >= start_ns) & (passes_out < end_ns)
    far = ~near & drops_back & (passes_back >= start_ns) & (passes_back < end_ns)
    for name in ("received", "reflector_received", "reflector_sent"):
        rows[name][near | far] = NONE_NS
    rows["copies"][near | far] = 0
    return classify(rows, log[~near], THRESHOLD, is_log_whole=True)


def only_likely(probes: Probes) -> int:
    (outage,) = find_outages(FLOW, probes)
    assert outage.likely_ns is not None
    return outage.likely_ns


def test_the_turnaround_does_not_count() -> None:
    """An outage of 20 ms between probes of 5 ms: the middle of the bounds is late by a part of the turnaround of 4 ms."""
    probes = simulate(range(0, 200 * MS, 5 * MS), 51 * MS, 71 * MS, turn_ns=4 * MS, drops_back=False)
    assert only_likely(probes) == 20 * MS
    (outage,) = find_outages(FLOW, probes)
    assert outage.longest_ns is not None
    assert (outage.shortest_ns + outage.longest_ns) // 2 > 22 * MS


def test_a_missed_tick_widens_the_window_by_its_own_time() -> None:
    sent = [*range(0, 50 * MS, 5 * MS), *range(55 * MS, 200 * MS, 5 * MS)]  # the tick of 50 ms was missed
    probes = simulate(sent, 47 * MS, 71 * MS, turn_ns=MS)
    assert only_likely(probes) == 22_500_000  # from half-way between 45 and 55 to half-way between 70 and 75


def test_one_cause_is_presumed_where_both_directions_lost() -> None:
    """The probe of 50 ms passed before the drop, its answer of 51 ms did not: so it began between the two."""
    probes = simulate(range(0, 200 * MS, 5 * MS), 50 * MS + 500_000, 71 * MS, turn_ns=MS)
    assert only_likely(probes) == 72_500_000 - (50 * MS + (MS + OUT) // 2)


def test_an_open_outage_has_no_likely_length() -> None:
    probes = simulate(range(0, 100 * MS, 5 * MS), 51 * MS, 500 * MS, turn_ns=MS)
    (outage,) = find_outages(FLOW, probes)
    assert outage.likely_ns is None


@given(
    interval_us=st.integers(500, 20_000),
    phase_ns=st.integers(0, 20_000_000),
    start_ns=st.integers(100_000_000, 200_000_000),
    length_ns=st.integers(0, 300_000_000),
    turn_us=st.integers(1, 2_000),
    drops=st.sampled_from([(True, False), (False, True), (True, True)]),
)
def test_the_error_is_never_above_one_interval(
    interval_us: int, phase_ns: int, start_ns: int, length_ns: int, turn_us: int, drops: tuple[bool, bool]
) -> None:
    interval_ns = interval_us * 1_000
    sent = range(phase_ns, 600_000_000, interval_ns)
    turn_ns = min(turn_us * 1_000, interval_ns)
    probes = simulate(sent, start_ns, start_ns + length_ns, turn_ns=turn_ns, drops_out=drops[0], drops_back=drops[1])
    for outage in find_outages(FLOW, probes):
        likely = outage.likely_ns
        assert likely is not None
        assert outage.longest_ns is not None
        assert outage.shortest_ns <= likely <= outage.longest_ns
        assert abs(likely - length_ns) <= interval_ns + OUT + BACK

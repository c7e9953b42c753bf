from dataclasses import replace

import numpy as np
import pytest

from analysis.evidence import Evidence
from checks.instrument import check
from hitless.facts import Flow
from hitless.history import History
from hitless.records import OVERFLOW_ROW, Rows, encode_address
from hitless.verdicts import Finding
from hitless.words import MILLISECOND, FlowClass, FlowId, FlowRole, FlowSet, Verdict
from tests.clocks import ms
from tests.unit.histories import (
    QUIET,
    clock_pairs,
    event,
    history,
    lost,
    pair_of_flows,
    records,
    report,
    switch_events,
)

SPARE = Flow(id=FlowId(3), source="node-a1-control", destination="node-b2-control", role=FlowRole.CALIBRATION)


def said(run: History, **budgets: float | None) -> list[Finding]:
    """What the check says, apart from that these small runs have no calibration flow."""
    return [finding for finding in check(Evidence(run), dict(budgets)) if finding.code != "not-calibrated"]


def _codes(run: History, **budgets: float | None) -> list[str]:
    return [finding.code for finding in check(Evidence(run), dict(budgets)) if finding.verdict == "INCONCLUSIVE"]


def test_a_good_run_raises_no_doubt() -> None:
    assert check.is_validity
    assert said(history()) == []


def test_a_control_flow_that_lost() -> None:
    (finding,) = said(history(records=records({1: QUIET, 2: lost(20, 2)})))
    assert finding.code == "control-lost"
    assert finding.text == (
        "the control flow node-a1-mesh > node-a1-control lost 2 of 58 probes: "
        "the machine lost them, not the switch; use a quieter machine"
    )


def calibrated(pattern: str, drop_ms: float, restore_ms: float) -> History:
    """A run whose calibration flow was dropped for this long, each call taking 0.2 ms."""
    pulse = event(
        restore_ms + 0.1,
        "calibration.pulsed",
        flow=3,
        drop_began_ns=ms(drop_ms - 0.1),
        drop_done_ns=ms(drop_ms + 0.1),
        restore_began_ns=ms(restore_ms - 0.1),
        restore_done_ns=ms(restore_ms + 0.1),
    )
    events = tuple(sorted((*switch_events(), pulse), key=lambda one: one.t_ns))
    return history(flows=(*pair_of_flows(), SPARE), events=events, records=records({1: QUIET, 2: QUIET, 3: pattern}))


def test_a_blackhole_that_is_measured_as_what_it_was() -> None:
    # Probes 3 to 7 leave at 25 to 45 ms.
    (finding,) = check(Evidence(calibrated(lost(3, 5), 22.5, 47.0)), {})
    assert (finding.verdict, finding.code) == (Verdict.PASS, "calibrated")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (QUIET, "calibration-missed"),
        (lost(3, 2)[:6] + "X" + lost(3, 2)[7:], "calibration-missed"),  # two outages for one
        (lost(3, 8), "calibration-off"),  # 15 ms more than there were
        (lost(3, 3), "calibration-off"),
        (lost(30, 5), "calibration-missed"),  # at another time
    ],
)
def test_a_blackhole_that_is_measured_as_something_else(pattern: str, expected: str) -> None:
    assert _codes(calibrated(pattern, 22.5, 47.0)) == [expected]


def test_a_cluster_without_calibration_says_so_and_the_lab_must_calibrate() -> None:
    run = history(flows=(*pair_of_flows(), SPARE), records=records({1: QUIET, 2: QUIET, 3: QUIET}))
    excuse = event(41, "calibration.not_possible")
    elsewhere = replace(run, events=tuple(sorted((*run.events, excuse), key=lambda one: one.t_ns)))
    assert [(finding.verdict, finding.code) for finding in check(Evidence(elsewhere), {})] == [(Verdict.PASS, "not-calibrated")]
    assert _codes(run) == ["not-calibrated"]
    assert [(finding.verdict, finding.code) for finding in check(Evidence(history()), {})] == [(Verdict.PASS, "not-calibrated")]


def overflow(run: History, *looks: tuple[float, float, int], is_reflector: bool, flow: int = 1) -> History:
    """The run with drops between these looks (ms, ms, datagrams), at the socket that serves this flow."""
    served = next(one for one in run.flows if one.id == flow)
    end = served.destination if is_reflector else served.source
    address = encode_address(next(one.address for one in run.facts.endpoints if one.name == end))
    rows = [(address, flow, is_reflector, ms(since_ms), ms(until_ms), dropped) for since_ms, until_ms, dropped in looks]
    return replace(run, records=replace(run.records, overflows=np.array(rows, dtype=OVERFLOW_ROW)))


def test_drops_of_the_probers_sockets_are_never_downtime() -> None:
    # Probes 20 and 21 leave at 110 and 115 ms and are not in the reflector's log.
    run = history(records=records({1: lost(20, 2), 2: QUIET}))
    assert Evidence(run).measures[FlowId(1)].lost == 2
    dropped = overflow(run, (60, 160, 2), is_reflector=True)
    found = Evidence(dropped).measures[FlowId(1)]
    assert (found.lost, found.lost_instrument, found.offered, found.downtime.shortest_ns) == (0, 2, 56, 0)
    (finding,) = said(dropped, instrument_loss_ratio=0.1)
    assert (finding.verdict, finding.code) == (Verdict.PASS, "instrument-loss")
    assert _codes(dropped) == ["receive-overflow"]  # 2 of 58 are more than one in a thousand


def test_answers_that_the_senders_socket_dropped_are_known_by_the_reflectors_log() -> None:
    run = history(records=records({1: lost(20, 2, "f"), 2: QUIET}))
    back = overflow(run, (60, 160, 2), is_reflector=False)
    assert Evidence(back).measures[FlowId(1)].lost_instrument == 2
    out = overflow(run, (60, 160, 2), is_reflector=True)
    assert Evidence(out).measures[FlowId(1)].lost_instrument == 0


def test_more_missing_than_dropped_is_in_doubt() -> None:
    run = history(records=records({1: lost(20, 5), 2: QUIET}))
    mixed = overflow(run, (60, 160, 2), is_reflector=True)
    assert Evidence(mixed).measures[FlowId(1)].lost == 0
    assert _codes(mixed) == ["instrument-loss-mixed"]


def test_an_overflow_of_several_looks_is_one() -> None:
    # Probe 20 leaves at 110 ms, as probe 39 does at 205: each look saw half of the drops, and those on its border once.
    run = history(records=records({1: lost(20, 20), 2: QUIET}))
    long = overflow(run, (60, 160, 10), (160, 260, 10), is_reflector=True)
    assert Evidence(long).measures[FlowId(1)].lost_instrument == 20
    assert _codes(long, instrument_loss_ratio=0.5) == []


def test_an_answer_is_dated_by_when_it_left_its_reflector() -> None:
    run = history(records=records({1: lost(20, 2, "f"), 2: QUIET}))
    late = run.records.reflector.copy()
    rows = (late["flow"] == 1) & np.isin(late["seq"], [20, 21])
    late["sent"][rows] += ms(100)
    slow = replace(run, records=replace(run.records, reflector=late))
    assert Evidence(overflow(slow, (200, 230, 2), is_reflector=False)).measures[FlowId(1)].lost_instrument == 2


def test_a_socket_answers_for_its_own_flows_alone() -> None:
    icmp = replace(pair_of_flows()[0], id=FlowId(3), flow_class=FlowClass.ICMP, flow_set=FlowSet.ICMP, role=FlowRole.POD)
    run = history(flows=(*pair_of_flows(), icmp), records=records({1: lost(20, 2, "f"), 2: QUIET, 3: lost(20, 2)}))
    found = Evidence(overflow(run, (60, 160, 2), is_reflector=False, flow=3)).measures
    assert (found[FlowId(1)].lost, found[FlowId(3)].lost) == (2, 0)


def test_an_outage_at_another_time_stays_one() -> None:
    run = history(records=records({1: lost(40, 5), 2: QUIET}))
    other = overflow(run, (60, 160, 2), is_reflector=True)
    assert Evidence(other).measures[FlowId(1)].lost == 5


def test_drops_that_an_agent_counts_and_did_not_date() -> None:
    reports = (report("sender"), report("reflector", receive_overflows=3))
    assert _codes(history(records=records({1: QUIET, 2: QUIET}, reports=reports))) == ["receive-overflow"]


def test_pressure_is_said_and_doubted_where_a_budget_asks() -> None:
    before = {"machine": {"Pressure.cpu_some_us": 1_000, "Pressure.read_at_us": 5_000_000}}
    after = {"machine": {"Pressure.cpu_some_us": 151_000, "Pressure.read_at_us": 5_300_000}}
    run = history(counters_before=before, counters_after=after)
    (finding,) = said(run)
    assert (finding.verdict, finding.code) == (Verdict.PASS, "cpu-pressure")
    assert "for 50% of the time" in finding.text
    assert _codes(run, pressure_ratio=0.4) == ["cpu-pressure"]


def test_unknown_pressure_is_not_none() -> None:
    machine = {"machine": {"Neigh.table_fulls": 0}}
    run = history(counters_before=machine, counters_after=machine)
    (finding,) = said(run)
    assert (finding.verdict, finding.code) == (Verdict.PASS, "cpu-pressure-unknown")
    assert _codes(run, pressure_ratio=0.4) == ["cpu-pressure-unknown"]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (clock_pairs(0, 0, 0), []),
        (clock_pairs(0, 500, 1000, 1500, 2000), []),  # slewing at 500 ppm
        (clock_pairs(0, 0, 700, 700), ["clock-step"]),
        (clock_pairs(0, 0, -700, -700), ["clock-step"]),
        (clock_pairs(0, 3_600_000_000), ["clock-step"]),
        (clock_pairs(0, 700, width_ns=60_000), []),  # a pair is no better than its width
        (clock_pairs(0, 120, every_ns=10 * MILLISECOND), ["clock-step"]),
        (clock_pairs(0), []),
    ],
)
def test_steps_of_the_clock_are_distinguished_from_slewing(pairs: Rows, expected: list[str]) -> None:
    assert _codes(history(records=records({1: QUIET, 2: QUIET}, clocks={"reflector": pairs}))) == expected


def test_an_overflowing_neighbour_table() -> None:
    run = history(counters_before={"machine": {"Neigh.table_fulls": 3}}, counters_after={"machine": {"Neigh.table_fulls": 5}})
    assert _codes(run) == ["neighbour-table-full"]

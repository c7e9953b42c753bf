"""What other tools would have said: outages by hand, and samplers simulated step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evidence import JudgedRun
from analysis.measure import Outage
from bench.estimators.estimate import Path, Reading, estimate_arm, make_path, read_flow
from bench.estimators.table import say_mean, say_range, say_share, tool_rows
from bench.estimators.tools import Tool, Unit, make_fping, make_tools
from bench.estimators.tries import Tries, connect, fails_possibly, fails_surely, send_again
from bench.estimators.windows import Hits, count_hits, heads, leave_out, make_windows, meet
from hitless.words import MILLISECOND, SECOND, Arm, FlowId, FlowRole, FlowSet, Nanoseconds
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import QUIET, header, history, lost, pair_of_flows, records

MS, S = int(MILLISECOND), int(SECOND)
FPING = make_fping(1000)
_TOOLS = {tool.name: tool for tool in make_tools(4)}
NEW = _TOOLS["OpenShift, new connections"]
NEW_REFUSED = _TOOLS["OpenShift, new connections, refused at once"]
REUSED = _TOOLS["OpenShift, reused connections"]
CILIUM = _TOOLS["Cilium, no-interrupted-connections"]
DETECTOR = _TOOLS["network-problem-detector"]
DETECTOR_REFUSED = _TOOLS["network-problem-detector, refused at once"]


def down(*seconds: tuple[float, float]) -> Path:
    """A flow of which it is known exactly when it was down."""
    windows = make_windows((round(begin * S), round(end * S)) for begin, end in seconds)
    return Path(surely=windows, possibly=windows, until_ns=None)


def make_outage(since_ms: float, certain_ms: float, shortest_ms: float, end_ms: float, *, is_censored: bool = False) -> Outage:
    return Outage(
        flow=FlowId(1),
        first_seq=1,
        lost=1,
        near_end=1,
        far_end=0,
        unknown=0,
        shortest_ns=Nanoseconds(round(shortest_ms * MS)),
        longest_ns=None if is_censored else Nanoseconds(round((end_ms - since_ms) * MS)),
        onset_after_ns=Nanoseconds(round(since_ms * MS)),
        onset_before_ns=Nanoseconds(round(certain_ms * MS)),
        end_ns=Nanoseconds(round(end_ms * MS)),
    )


def test_adjacent_windows_are_merged_and_empty_ones_dropped() -> None:
    assert make_windows([(5, 7), (1, 3), (3, 4), (9, 9), (6, 8)]) == ((1, 4), (5, 8))


def test_windows_meet_and_are_left_out() -> None:
    assert meet(((0, 10), (20, 30)), ((5, 22), (25, 26))) == ((5, 10), (20, 22), (25, 26))
    assert leave_out(((0, 10), (20, 30)), ((5, 22), (25, 26))) == ((0, 5), (22, 25), (26, 30))
    assert leave_out(((0, 10),), ()) == ((0, 10),)
    assert heads(((0, 10), (20, 22)), 3) == ((0, 3), (20, 22))


def test_without_windows_no_sample_fails() -> None:
    assert count_hits((), 7) == Hits(fewest=0, most=0, nothing=1.0)


def test_two_windows_share_one_phase() -> None:
    # Of the phases 0 to 1000: 0 to 100 and 500 to 600 hit both windows, the others one of them.
    assert count_hits(((0, 600), (1500, 2100)), 1000) == Hits(fewest=1, most=2, nothing=0.0)
    assert count_hits(((0, 600), (2200, 2300)), 1000) == Hits(fewest=0, most=2, nothing=0.4)


@given(
    spans=st.lists(st.tuples(st.integers(-60, 60), st.integers(-60, 60)), max_size=5),
    period=st.integers(1, 25),
)
def test_hits_are_those_of_every_phase_counted_one_by_one(spans: list[tuple[int, int]], period: int) -> None:
    windows = make_windows(spans)
    counts = [
        sum(begin <= sample < end for begin, end in windows for sample in range(phase - 100 * period, 100, period))
        for phase in range(period)
    ]
    assert count_hits(windows, period) == Hits(fewest=min(counts), most=max(counts), nothing=counts.count(0) / period)


def test_syns_are_sent_as_linux_sends_them() -> None:
    # Measured on Linux 6.18: 0, 1.02, 2.05, 3.07, 4.09, 5.11, 7.13, 11.20, 19.39 s.
    seen = [0, 1018, 2047, 3067, 4090, 5114, 7130, 11195, 19391]
    tries = connect(30 * S)
    assert [one.earliest_ns // S for one in tries] == [0, 1, 2, 3, 4, 5, 7, 11, 19]
    assert all(one.earliest_ns <= at * MS <= one.latest_ns for one, at in zip(tries, seen, strict=True))


@pytest.mark.parametrize(
    "seen", [[0, 218, 658, 1486, 3150, 6670], [0, 212, 644, 1476, 3140, 6468], [0, 419, 839, 1667, 3331, 6631]]
)
def test_a_segment_is_sent_again_as_linux_does(seen: list[int]) -> None:
    # Measured on Linux 6.18: messages each 50 ms and each 10 ms, and one alone after a tail loss probe at 0.22 s.
    tries = send_again(7 * S)
    assert [one.earliest_ns // (200 * MS) for one in tries] == [0, 1, 3, 7, 15, 31]
    assert all(one.earliest_ns <= at * MS <= one.latest_ns for one, at in zip(tries, seen, strict=True))


def test_fping_counts_its_losses_times_its_period() -> None:
    assert read_flow(FPING, down((0, 0.25))) == Reading(report=(0.0, 1000.0), nothing=(0.75, 0.75))
    assert read_flow(FPING, down((5.5, 8.0))) == Reading(report=(2000.0, 3000.0), nothing=(0.0, 0.0))
    assert read_flow(make_fping(10), down((0, 0.25))) == Reading(report=(250.0, 250.0), nothing=(0.0, 0.0))


@given(length_ns=st.integers(1, 20 * S), begin_ns=st.integers(0, 10 * S), period_ms=st.integers(1, 2000))
def test_fping_is_off_by_less_than_its_period(length_ns: int, begin_ns: int, period_ms: int) -> None:
    windows = ((begin_ns, begin_ns + length_ns),)
    reading = read_flow(make_fping(period_ms), Path(surely=windows, possibly=windows, until_ns=None))
    least, most = reading.report
    assert most is not None
    assert length_ns / MS - period_ms < least <= most < length_ns / MS + period_ms
    assert reading.nothing[0] == reading.nothing[1] == pytest.approx(max(0, 1 - length_ns / (period_ms * MS)))


def test_what_the_records_leave_open_widens_the_range() -> None:
    # Down for certain from 15 to 995 ms, and perhaps from 5 to 1015 ms.
    path = make_path([make_outage(5, 15, 980, 1015)])
    assert path == Path(surely=((15 * MS, 995 * MS),), possibly=((5 * MS, 1015 * MS),), until_ns=None)
    assert read_flow(FPING, path) == Reading(report=(0.0, 2000.0), nothing=(0.0, 0.02))


def test_the_events_clock_does_not_widen_it() -> None:
    assert make_path([make_outage(3, 17, 980, 1015)], clock_bound_ns=2 * MS) == make_path([make_outage(5, 15, 980, 1015)])


def test_the_certain_part_never_reaches_out_of_the_possible_one() -> None:
    assert make_path([make_outage(10, 30, 40, 50)]).surely == ((30 * MS, 50 * MS),)
    assert make_path([make_outage(10, 60, 5, 50)]).surely == ()


def test_an_outage_without_an_end_has_no_most() -> None:
    path = make_path([make_outage(0, 0, 2500, 2500, is_censored=True)], is_open=True)
    assert (path.surely, path.until_ns) == (((0, 2500 * MS),), 2500 * MS)
    assert read_flow(FPING, path) == Reading(report=(2000.0, None), nothing=(0.0, 0.0))
    # What a tool sampled after the probing does not count.
    short = make_path([make_outage(0, 0, 250, 250, is_censored=True)], is_open=True)
    assert read_flow(FPING, short) == Reading(report=(0.0, None), nothing=(0.75, 0.75))
    # A dial at any time before the end may fail after it; none is certain to.
    assert read_flow(NEW, path) == Reading(report=(0.0, None), nothing=(0.0, 1.0))


def test_a_new_connection_outlives_what_is_over_before_its_last_syn() -> None:
    assert read_flow(NEW, down((0, 10.9))) == Reading(report=(0.0, 0.0), nothing=(1.0, 1.0))
    # The last SYN of 16 s goes out after 11 s, or up to 12.375: who began in the first 0.625 s fails, in the first 2 s may.
    assert read_flow(NEW, down((0, 13))) == Reading(report=(0.0, 2000.0), nothing=(0.0, 0.375))


def test_a_refused_connection_is_as_good_as_a_datagram() -> None:
    assert read_flow(NEW_REFUSED, down((0, 2.5))) == Reading(report=(2000.0, 3000.0), nothing=(0.0, 0.0))


def test_reused_connections_fail_when_none_of_them_works_for_16_s() -> None:
    assert read_flow(REUSED, down((0, 12.5))) == Reading(report=(0.0, 0.0), nothing=(1.0, 1.0))
    # 14 s: the first request may fail (sent the last time after 12.6 to 14.4 s); the second is saved by a later dial.
    assert read_flow(REUSED, down((0, 14))) == Reading(report=(0.0, 1000.0), nothing=(0.0, 1.0))
    # 20 s: the first, then those that began at least 16 s before the end (certain), or 15 s (possible).
    assert read_flow(REUSED, down((0, 20))) == Reading(report=(4000.0, 5000.0), nothing=(0.0, 0.0))


def test_cilium_sees_no_outage_that_is_over_within_three_seconds() -> None:
    assert read_flow(CILIUM, down((0, 2.9))) == Reading(report=(0.0, 0.0), nothing=(1.0, 1.0))
    assert read_flow(CILIUM, down((0, 4))) == Reading(report=(0.0, 1.0), nothing=(0.0, 1.0))


def test_cilium_counts_an_outage_of_more_than_five_seconds_once() -> None:
    assert read_flow(CILIUM, down((0, 5.2))) == Reading(report=(1.0, 1.0), nothing=(0.0, 0.0))
    assert read_flow(CILIUM, down((0, 60))) == Reading(report=(1.0, 1.0), nothing=(0.0, 0.0))
    assert read_flow(CILIUM, down((0, 6), (20, 26))) == Reading(report=(2.0, 2.0), nothing=(0.0, 0.0))


def test_the_problem_detector_dials_each_agent_in_turn() -> None:
    assert read_flow(DETECTOR, down((0, 18.9))) == Reading(report=(0.0, 0.0), nothing=(1.0, 1.0))
    # 25 s: a dial in the first 6 s may fail, with one each 20 s; in the first 3.625 s it does, with one each 120 s if all hang.
    reading = read_flow(DETECTOR, down((0, 25)))
    assert reading.report == (0.0, 1.0)
    assert reading.nothing == pytest.approx((1 - 6 / 20, 1 - 3.625 / 120))
    assert read_flow(DETECTOR_REFUSED, down((0, 25))) == Reading(report=(1.0, 2.0), nothing=(0.0, 0.0))
    assert read_flow(DETECTOR_REFUSED, down((0, 5))) == Reading(report=(0.0, 1.0), nothing=(0.75, 0.75))


@st.composite
def outage_with_margins(draw: st.DrawFn) -> tuple[Path, tuple[int, int]]:
    """A path with one outage, and a truth that is compatible with what is known of it."""
    begin = draw(st.integers(0, 5 * S))
    length = draw(st.integers(1, 40 * S))
    margins = [draw(st.integers(0, 20 * MS)) for _ in range(4)]
    surely = make_windows([(begin + margins[0], begin + length - margins[1])])
    possibly = ((begin - margins[2], begin + length + margins[3]),)
    return Path(surely=surely, possibly=possibly, until_ns=None), (begin, begin + length)


def _is_dropped(at: int, truth: tuple[int, int]) -> bool:
    return truth[0] <= at < truth[1]


def _fails(sample: int, tries: Tries, lateness: Sequence[float], truth: tuple[int, int]) -> bool:
    """Simulate one sample, each try somewhere between its two ends."""
    times = [
        one.earliest_ns + round(late * (one.latest_ns - one.earliest_ns)) for one, late in zip(tries, lateness, strict=False)
    ]
    return all(_is_dropped(sample + time, truth) for time in times)


LATENESS = st.lists(st.floats(0, 1), min_size=16, max_size=16)


@given(made=outage_with_margins(), phase=st.floats(0, 1, exclude_max=True), lateness=LATENESS)
@pytest.mark.parametrize("tool", [FPING, make_fping(10), NEW, NEW_REFUSED, DETECTOR, DETECTOR_REFUSED])
def test_a_simulated_sampler_is_within_the_range(
    tool: Tool, made: tuple[Path, tuple[int, int]], phase: float, lateness: list[float]
) -> None:
    path, truth = made
    first = -10 * S + int(phase * tool.quickest_ns)
    samples = range(first, truth[1], tool.quickest_ns)
    told = tool.worth * sum(_fails(sample, tool.first.possibly, lateness, truth) for sample in samples)
    reading = read_flow(tool, path)
    least, most = reading.report
    assert most is not None
    assert least <= told <= most
    assert told > 0 or reading.nothing[1] > 0
    assert told == 0 or reading.nothing[0] < 1


@given(made=outage_with_margins(), phase=st.integers(0, S - 1), lateness=LATENESS)
def test_a_simulated_pool_of_connections_is_within_the_range(
    made: tuple[Path, tuple[int, int]], phase: int, lateness: list[float]
) -> None:
    path, truth = made
    failed = 0
    is_first = True
    for sample in range(phase - 10 * S, truth[1], S):
        if not _is_dropped(sample, truth):
            continue
        if is_first:
            failed += _fails(sample, REUSED.first.possibly, lateness, truth)
        else:  # served by whichever dial of this second or of those that follow comes through
            failed += all(_is_dropped(dial, truth) for dial in range(sample, sample + 16 * S, S))
        is_first = False
    least, most = read_flow(REUSED, path).report
    assert most is not None
    assert least <= failed * 1000 <= most


@given(
    spans=st.lists(st.tuples(st.integers(0, 90 * S), st.integers(0, 90 * S)), max_size=4),
    patience_s=st.integers(1, 31),
)
def test_what_fails_for_certain_may_fail(spans: list[tuple[int, int]], patience_s: int) -> None:
    windows = make_windows(spans)
    for tries in (connect(patience_s * S), send_again(patience_s * S)):
        surely, possibly = fails_surely(windows, tries), fails_possibly(windows, tries)
        assert leave_out(surely, possibly) == ()
        assert leave_out(possibly, windows) == ()


def _ungated(pattern: str, trial: int = 1) -> JudgedRun:
    return judged(history(header=header(arm=Arm.UNGATED, trial=trial), records=records({1: pattern, 2: QUIET})))


def test_an_arm_adds_its_flows_and_averages_its_trials() -> None:
    # Ten lost probes, 5 ms apart: 44.945 to 55.1 ms; the second trial loses nothing.
    found = estimate_arm([_ungated(lost(20, 10)), _ungated(QUIET, trial=2)])
    assert (found.flows, found.flows_hit) == (2, 1)
    assert (found.worst_flow_ms, found.all_flows_ms) == ((44.945, 55.1), (44.945, 55.1))
    fping = found.tools["fping -o -p 10"]
    assert (fping.unit, fping.worst_flow, fping.all_flows) == (Unit.MILLISECONDS, (40.0, 60.0), (40.0, 60.0))
    slow = found.tools["fping -o -p 1000"]
    assert (slow.worst_flow, slow.all_flows) == ((0.0, 1000.0), (0.0, 1000.0))
    assert slow.flows_reported == pytest.approx((0.044945, 0.0551))
    assert slow.nothing == pytest.approx(((1 + 1 - 0.0551) / 2, (1 + 1 - 0.044945) / 2))


def test_flows_have_phases_of_their_own() -> None:
    run = comparison(1).runs_of(Arm.UNGATED)[0]
    found = estimate_arm([run]).tools["fping -o -p 1000"]
    silent = 1.0
    for measure in run.measures.values():
        silent *= 1 - measure.downtime.shortest_ns / SECOND
    assert found.nothing[1] == pytest.approx(silent, abs=1e-6)


def test_only_the_small_udp_mesh_counts() -> None:
    mesh, control = pair_of_flows()
    others = [
        replace(mesh, id=FlowId(3), flow_set=FlowSet.ICMP),
        replace(mesh, id=FlowId(4), role=FlowRole.HOST, flow_set=FlowSet.HOST_TO_POD),
    ]
    hit = lost(20, 10)
    run = judged(history(flows=(mesh, control, *others), records=records({1: QUIET, 2: hit, 3: hit, 4: hit})))
    found = estimate_arm([run])
    assert (found.flows, found.flows_hit, found.worst_flow_ms, found.all_flows_ms) == (1, 0, None, (0, 0))
    assert {(one.worst_flow, one.all_flows, one.nothing) for one in found.tools.values()} == {(None, (0, 0), (1.0, 1.0))}


@pytest.mark.parametrize(("pattern", "is_open"), [(lost(48, 10), True), (lost(0, 10), False)])
def test_only_an_outage_that_is_open_at_the_end_has_no_most(pattern: str, is_open: bool) -> None:  # noqa: FBT001 - a case
    fping = estimate_arm([_ungated(pattern)]).tools["fping -o -p 10"]
    assert fping.worst_flow is not None
    assert (fping.worst_flow[1] is None) == is_open
    assert (fping.all_flows[1] is None) == is_open


def test_the_report_has_a_line_a_tool_below_ours() -> None:
    runs = [run for run in comparison().runs if run.history.header.arm is Arm.UNGATED]
    ours, slow, fast, *_ = rows = list(tool_rows(estimate_arm(runs), 5))
    assert len(rows) == 1 + len(make_tools(4))
    lengths = ("250.0 to 260.1 ms ±5", "3,559.5 to 3,721.6 ms ±5")
    assert ours == ("hitless", "a probe each 5 ms; an outage's two lengths", *lengths, "16", "-")
    assert (slow[2], *slow[4:]) == ("0 to 1,000 ms", "3.6 to 3.7", "12.0% to 13.3%")
    assert (fast[2], *fast[4:]) == ("240 to 270 ms", "16.0", "0.0%")


def test_what_is_said_of_ranges() -> None:
    assert say_range(None, Unit.MILLISECONDS) == "-"
    assert say_range((0.0, 12000.0), Unit.MILLISECONDS) == "0 to 12,000 ms"
    assert say_range((1.0, 1.0), Unit.RESTARTS) == "1 restarts"
    assert say_range((2.0, None), Unit.FAILED_CHECKS) == ">= 2 failed checks"
    assert (say_mean((1.0, 1.04)), say_share((0.5, 0.61))) == ("1.0", "50.0% to 61.0%")

"""An outage taken apart by direction, and what is known of the beginning and the end of each part."""

from __future__ import annotations

from analysis.causes.segments import STRETCHES_MAX, Segment, Splitter
from analysis.classify import Way, classify_flow
from analysis.evidence import Evidence
from hitless.history import History
from tests.unit.histories import INTERVAL_NS, ONE_WAY_NS, START_NS, history, records

CALL_NS = 5_000


def segments(pattern: str) -> tuple[Segment, ...]:
    run: History = history(records=records({1: pattern, 2: "." * len(pattern)}))
    flow = run.flows[0]
    (outage,) = Evidence(run).measures[flow.id].outages
    return Splitter(classify_flow(run, flow)).split(outage)


def sent_ns(tick: int) -> int:
    return START_NS + tick * INTERVAL_NS


def test_one_direction_is_one_stretch() -> None:
    (found,) = segments("..." + "XXXX" + "...")
    assert (found.way, found.lost, found.is_open) == (Way.OUT, 4, False)
    assert found.onset is not None
    assert (found.onset.earliest_ns, found.onset.latest_ns) == (sent_ns(2), sent_ns(3) + CALL_NS + ONE_WAY_NS)
    assert found.end is not None
    assert (found.end.earliest_ns, found.end.latest_ns) == (sent_ns(6), sent_ns(7) + 2 * ONE_WAY_NS)


def test_what_the_way_back_did_is_hidden_while_the_way_out_is_broken() -> None:
    out, back = segments("..." + "XXX" + "ff" + "..")
    assert (out.way, out.lost, back.way, back.lost) == (Way.OUT, 3, Way.BACK, 2)
    assert back.onset is None
    assert out.end is not None
    assert (out.end.earliest_ns, out.end.latest_ns) == (sent_ns(5), sent_ns(6) + ONE_WAY_NS)
    assert back.end is not None


def test_the_way_out_that_breaks_later_hides_the_end_of_the_other() -> None:
    back, out = segments("..." + "ff" + "XXX" + "..")
    assert (back.way, back.end) == (Way.BACK, None)
    assert out.onset is not None
    assert (out.onset.earliest_ns, out.onset.latest_ns) == (sent_ns(4), sent_ns(5) + CALL_NS + ONE_WAY_NS)


def test_an_outage_from_the_first_probe_on_has_no_onset() -> None:
    (found,) = segments("XXX" + ".....")
    assert found.onset is None
    assert found.end is not None


def test_an_outage_until_the_last_probe_is_open() -> None:
    (found,) = segments("....." + "XXX")
    assert (found.end, found.is_open) == (None, True)


def test_the_late_are_counted() -> None:
    (found,) = segments("..." + "LLL" + "..")
    assert (found.lost, found.late) == (3, 3)


def test_an_outage_that_changes_direction_all_the_time_is_of_unknown_direction() -> None:
    (found,) = segments("..." + "Xf" * STRETCHES_MAX + "...")
    assert (found.way, found.lost) == (Way.UNKNOWN, 2 * STRETCHES_MAX)


def test_one_slow_answer_does_not_widen_the_onset_of_an_outage() -> None:
    quick, slow = segments("." * 200 + "XXX" + "..")[0], segments("R" + "." * 199 + "XXX" + "..")[0]
    assert quick.onset == slow.onset


def test_a_cut_hides_where_the_one_ended_and_the_other_began() -> None:
    pattern = "..." + "X" * 10 + "..."
    run = history(records=records({1: pattern, 2: "." * len(pattern)}))
    splitter = Splitter(classify_flow(run, run.flows[0]))
    (outage,) = Evidence(run).measures[run.flows[0].id].outages
    (whole,) = splitter.split(outage)
    before, after = splitter.cut(whole, [sent_ns(7) + 1, sent_ns(1), sent_ns(15)])
    assert (before.lost, after.lost) == (5, 5)
    assert (before.onset, before.end) == (whole.onset, None)
    assert (after.onset, after.end) == (None, whole.end)
    assert after.first.earliest_ns == sent_ns(8)

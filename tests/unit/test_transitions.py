"""The transitions of one flow, by histories written by hand: asked for at 50 ms, nodes re-pointed from 101 to 102 ms."""

from __future__ import annotations

from analysis.bounds import Length
from analysis.convergence import Transitions, find_transitions
from analysis.evidence import Evidence
from hitless.history import History
from tests.clocks import ms
from tests.unit.histories import INTERVAL_NS, ONE_WAY_NS, QUIET, SWITCHED, held, history, lost, records
from tests.unit.test_path import IN_ZONE, repoint

CALL_MS = 0.005
ONE_WAY_MS = ONE_WAY_NS / 1e6
INTERVAL_MS = INTERVAL_NS / 1e6


def transitions(told: History) -> Transitions:
    (found,) = Evidence(told).paths()
    return find_transitions(found, ms(50))


def length(shortest_ms: float, likely_ms: float | None, longest_ms: float | None) -> Length:
    likely_ns, longest_ns = (None if bound is None else ms(bound) for bound in (likely_ms, longest_ms))
    return Length(shortest_ns=ms(shortest_ms), likely_ns=likely_ns, longest_ns=longest_ns)


def test_a_flow_that_loses_nothing_leaves_the_old_path_between_two_probes() -> None:
    assert transitions(history()) == Transitions(
        event=length(50, 52.5, 55 + ONE_WAY_MS),
        is_impaired=False,
        first_out=length(50, 52.5, 55 + ONE_WAY_MS),
        first_back=length(50, 52.5 + ONE_WAY_MS, 55 + 2 * ONE_WAY_MS),
        recovery=length(0, ONE_WAY_MS, INTERVAL_MS + 2 * ONE_WAY_MS),
    )


def test_both_ways_change_each_at_its_time() -> None:
    told = repoint(history(records=records({1: QUIET, 2: QUIET})), a1=(151, 152), b1=(101, 102))
    found = transitions(told)
    assert (found.first_out, found.first_back) == (
        length(100, 102.5, 105 + ONE_WAY_MS),
        length(50, 52.5 + ONE_WAY_MS, 55 + 2 * ONE_WAY_MS),
    )
    assert found.event == found.first_back
    assert found.recovery == length(100 - 55 - 2 * ONE_WAY_MS, 50, 105 + 2 * ONE_WAY_MS - 50)


def test_a_lost_probe_ends_the_event_transition_and_the_first_answer_begins_the_recovery() -> None:
    found = transitions(history(records=records({1: lost(19, 10), 2: QUIET}, ttls={1: SWITCHED})))
    assert found == Transitions(
        event=length(50, 52.5, 55 + CALL_MS + ONE_WAY_MS),
        is_impaired=True,
        first_out=length(100, 102.5, 105 + ONE_WAY_MS),
        first_back=length(100, 102.5 + ONE_WAY_MS / 2, 105 + 2 * ONE_WAY_MS),
        recovery=length(0, ONE_WAY_MS / 2, INTERVAL_MS + 2 * ONE_WAY_MS),
    )


def test_the_way_out_may_work_while_answers_are_still_lost() -> None:
    found = transitions(history(records=records({1: "." * 19 + "XXXXffff" + "." * 31, 2: QUIET}, ttls={1: SWITCHED})))
    assert (found.first_out, found.first_back) == (
        length(70, 72.5, 75 + ONE_WAY_MS),
        length(90, 92.5 + ONE_WAY_MS, 95 + 2 * ONE_WAY_MS),
    )
    assert found.recovery == length(90 - 75 - ONE_WAY_MS, 20 + ONE_WAY_MS, 95 + 2 * ONE_WAY_MS - 70)


def test_a_later_loss_puts_the_end_of_the_recovery_off() -> None:
    found = transitions(history(records=records({1: lost(39, 1), 2: QUIET}, ttls={1: SWITCHED})))
    assert found.event == length(50, 52.5, 55 + ONE_WAY_MS)
    assert found.recovery == length(205 - 105 - ONE_WAY_MS, 105 + ONE_WAY_MS / 2, 210 + 2 * ONE_WAY_MS - 100)


def test_a_recovery_that_never_ends_has_no_longest() -> None:
    found = transitions(history(records=records({1: "." * 25 + "X" * 33, 2: QUIET}, ttls={1: SWITCHED})))
    assert found.recovery == length(295 - 105 - ONE_WAY_MS, None, None)


def test_without_an_answer_by_the_new_path_there_is_no_recovery() -> None:
    found = transitions(history(records=records({1: lost(19, 39), 2: QUIET}, ttls={1: SWITCHED})))
    assert (found.first_out, found.first_back, found.recovery) == (None, None, None)
    assert found.event == length(50, 52.5, 55 + CALL_MS + ONE_WAY_MS)


def test_what_happened_before_the_request_is_no_consequence_of_it() -> None:
    found = transitions(held(records=records({1: lost(4, 2), 2: QUIET})))
    assert found == Transitions(event=None, is_impaired=False, first_out=None, first_back=None, recovery=None)


def test_probes_of_unknown_path_widen_the_length() -> None:
    told = repoint(history(flows=(IN_ZONE,), records=records({1: QUIET})), a1=(101, 122), a2=(101, 122))
    found = transitions(told)
    assert found.event == found.first_out == length(50, 62.5, 75 + ONE_WAY_MS)
    assert found.recovery == length(0, ONE_WAY_MS, 75 + 2 * ONE_WAY_MS - 50)

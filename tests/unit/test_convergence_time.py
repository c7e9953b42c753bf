"""The Route-Specific Convergence Time of a flow, against histories written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.evidence import Evidence
from hitless.history import History
from hitless.words import FlowId, Mode, Nanoseconds
from tests.unit.histories import (
    QUIET,
    SWITCHED,
    cleaned,
    event,
    header,
    history,
    records,
    repointed,
    switch_events,
    with_calico,
)

REQUEST_MS = 50
ANSWERED_MS = 0.1
"""A round trip of the hand-written probes, which are sent at 10, 15, 20, ... ms."""


def convergence_ms(told: History, flow: int = 1) -> float | None:
    found = Evidence(told).measures[FlowId(flow)].convergence_ns
    return None if found is None else found / 1e6


def test_it_ends_with_the_first_probe_on_the_new_path_once_both_nodes_are_there() -> None:
    assert convergence_ms(history()) == pytest.approx(105 + ANSWERED_MS - REQUEST_MS)
    early = records({1: QUIET, 2: QUIET}, ttls={1: "t" * 10 + "r" * 48})
    assert convergence_ms(history(records=early)) == pytest.approx(105 + ANSWERED_MS - REQUEST_MS)
    late = records({1: QUIET, 2: QUIET}, ttls={1: "t" * 30 + "r" * 28})
    assert convergence_ms(history(records=late)) == pytest.approx(160 + ANSWERED_MS - REQUEST_MS)


def test_it_ends_after_the_last_impaired_probe_and_must_hold() -> None:
    lost = records({1: "." * 25 + "X" + "." * 32, 2: QUIET}, ttls={1: SWITCHED})
    assert convergence_ms(history(records=lost)) == pytest.approx(140 + ANSWERED_MS - REQUEST_MS)
    too_late = records({1: "." * 50 + "X" + "." * 7, 2: QUIET}, ttls={1: SWITCHED})
    assert convergence_ms(history(records=too_late)) is None


def test_a_run_may_settle_at_the_last_change_and_its_sender_may_miss_ticks_then() -> None:
    told = history(
        events=switch_events(pool_ms=247, settled_ms=250),
        records=records({1: "." * 48 + " " * 3 + "." * 7, 2: QUIET}, ttls={1: "t" * 48 + "r" * 10}),
    )
    assert convergence_ms(told) == pytest.approx(265 + ANSWERED_MS - REQUEST_MS)
    assert convergence_ms(replace(told, records=records({1: QUIET, 2: QUIET}, ttls={1: "t" * 50 + "r" * 8}))) is None


def test_a_flow_waits_for_its_own_peers_routes_alone() -> None:
    others = repointed(100, "node-a2", "node-b1", "node-b2", mode=Mode.OVERLAY)
    one_by_one = [
        change
        for at_ms, peer in ((102, "node-a2"), (130, "node-b1"), (151, "node-b2"))
        for change in repointed(at_ms, "node-a1", mode=Mode.OVERLAY, peers=[peer])
    ]
    told = history(
        header=header(start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY),
        records=records({1: QUIET, 2: QUIET}, ttls={1: "r" * 19 + "t" * 39}),
    )
    assert convergence_ms(with_calico(told, *others, *one_by_one)) == pytest.approx(130 + ANSWERED_MS - REQUEST_MS)
    assert convergence_ms(with_calico(told, *others, one_by_one[0])) is None


def test_a_cleanup_that_removes_nothing_leaves_the_node_where_it_was() -> None:
    (b1,) = repointed(100, "node-b1")
    assert convergence_ms(with_calico(history(), b1, cleaned(121, "node-a1", 4, took_ms=0))) == pytest.approx(
        125 + ANSWERED_MS - REQUEST_MS
    )
    assert convergence_ms(with_calico(history(), b1, cleaned(121, "node-a1", 0, took_ms=0))) is None
    told = with_calico(history(), b1, cleaned(121, "node-a1", 0, took_ms=0), *repointed(146, "node-a1", took_ms=0))
    assert convergence_ms(told) == pytest.approx(150 + ANSWERED_MS - REQUEST_MS)


def test_a_node_that_goes_back_has_not_arrived() -> None:
    there_and_back = [*repointed(100, "node-a1", "node-b1"), *repointed(140, "node-a1", mode=Mode.OVERLAY)]
    assert convergence_ms(with_calico(history(), *there_and_back)) is None


def test_without_a_request_or_a_change_of_mode_there_is_no_convergence_time() -> None:
    silent = tuple(one for one in switch_events() if one.name != "switch.requested")
    assert convergence_ms(history(events=silent)) is None
    assert convergence_ms(history(header=header(end_mode=Mode.OVERLAY, validation_ns=Nanoseconds(0)))) is None


def test_of_several_requests_the_last_one_for_the_end_mode_counts() -> None:
    told = history()
    again = [event(60, "switch.requested", mode="OVERLAY"), event(80, "switch.requested", mode="NATIVE")]
    several = replace(told, events=tuple(sorted([*told.events, *again], key=lambda one: one.t_ns)))
    assert convergence_ms(several) == pytest.approx(105 + ANSWERED_MS - 80)

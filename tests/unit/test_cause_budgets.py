"""No candidate claims more losses than its counter moved, and no loss is unexplained that a counter has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.bounds import make_interval
from analysis.causes.attribution import keep_budgets
from analysis.causes.candidates import Candidate, CauseKind, KernelCounter
from analysis.causes.explanations import Explanation, Likelihood
from analysis.causes.segments import Segment
from analysis.classify import Way
from analysis.evidence import Evidence
from hitless.history import History
from hitless.words import FlowId, Nanoseconds
from tests.unit.cause_runs import all_routes, counters, down, route, run_with
from tests.unit.histories import facts, history, repointed

FILTER = KernelCounter(name="TcpExt.IPReversePathFilter", places=frozenset({"node-b1"}))
NO_ROUTE = KernelCounter(name="IpExt.InNoRoutes", places=frozenset({"vpc"}))
ROUNDING = 0.01
"""Packets."""


def explanation(lost: int, **odds: float) -> Explanation:
    """A segment with the odds of a filter, of a missing route, and of a candidate without a counter."""
    instant = make_interval(0, 0)
    segment = Segment(way=Way.OUT, start=0, stop=lost, late=0, first=instant, last=instant, onset=None, end=None, is_open=False)
    kinds = {"filter": FILTER, "no_route": NO_ROUTE, "fault": None}
    likelihoods = tuple(
        Likelihood(
            candidate=Candidate(
                kind=CauseKind.FAULT,
                subject=name,
                text="",
                prior=weight,
                counter=kinds[name],
            ),
            evidence=[],
        )
        for name, weight in odds.items()
    )
    return Explanation(flow=FlowId(1), interval_ns=Nanoseconds(1), segment=segment, likelihoods=likelihoods)


def moved(**by: int) -> History:
    found = {"node-b1": {FILTER.name: by.get("filter", 0)}, "vpc": {NO_ROUTE.name: by.get("no_route", 0)}}
    before = {"node-b1": {FILTER.name: 0}, "vpc": {NO_ROUTE.name: 0}}
    return history(counters_before=before, counters_after=found)


def claimed(explanations: Sequence[Explanation], name: str) -> float:
    return sum(
        one.segment.lost * likelihood.weight / one.total
        for one in explanations
        for likelihood in one.likelihoods
        if likelihood.candidate.subject == name
    )


def test_what_a_counter_cannot_hold_goes_to_the_other_candidate_of_the_same_losses() -> None:
    both = [explanation(100, filter=1000.0, no_route=50.0)]
    keep_budgets(both, moved(filter=10, no_route=200))
    assert claimed(both, "filter") == pytest.approx(10, abs=ROUNDING)
    assert claimed(both, "no_route") == pytest.approx(90 * 50 / 51, abs=1)


def test_what_no_counter_can_hold_is_unexplained() -> None:
    alone = [explanation(100, filter=1000.0), explanation(50, filter=1000.0)]
    keep_budgets(alone, moved(filter=30))
    assert claimed(alone, "filter") == pytest.approx(30, abs=ROUNDING)


def test_a_loss_is_not_unexplained_while_a_counter_that_covers_it_has_room() -> None:
    doubted = [explanation(20, filter=0.01)]
    keep_budgets(doubted, moved(filter=25))
    assert claimed(doubted, "filter") == pytest.approx(18, abs=ROUNDING)
    tight = [explanation(20, filter=0.01)]
    keep_budgets(tight, moved(filter=19))
    assert claimed(tight, "filter") < 1


def test_a_candidate_without_a_counter_has_no_budget() -> None:
    free = [explanation(100, fault=1000.0)]
    keep_budgets(free, moved())
    assert claimed(free, "fault") > 99


ODDS = st.floats(0, 1e9)


@example(segments=[(1, 5e-324, 0.0, 0.0)], by=(1, 0))
@given(
    segments=st.lists(st.tuples(st.integers(1, 300), ODDS, ODDS, ODDS), max_size=8),
    by=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_claimed_is_never_more_than_moved(segments: list[tuple[int, float, float, float]], by: tuple[int, int]) -> None:
    explanations = [explanation(lost, filter=a, no_route=b, fault=c) for lost, a, b, c in segments]
    keep_budgets(explanations, moved(filter=by[0], no_route=by[1]))
    assert claimed(explanations, "filter") <= by[0] + ROUNDING
    assert claimed(explanations, "no_route") <= by[1] + ROUNDING


def strict_run(created_ms: float, took_ms: float) -> History:
    """node-b1 leaves the tunnel first; its strict filter drops for 20 ms, then node-a1 sends to a gateway without a route."""
    events = [
        *all_routes(60, but=[("a", "node-b1")]),
        *repointed(300, "node-b1"),
        *repointed(320, "node-a1"),
        route(created_ms, "created", "a", "node-b1", took_ms=took_ms),
    ]
    by = counters(node_b1={"TcpExt.IPReversePathFilter": 4}, vpc={"IpExt.InNoRoutes": 40})
    return run_with(down(300, created_ms - 1), events, facts=replace(facts(), rp_filter=1), **by)


@pytest.mark.parametrize("took_ms", [1, 150])
def test_a_strict_filter_claims_what_it_counted_and_the_missing_route_the_rest(took_ms: float) -> None:
    run = strict_run(500, took_ms)
    (found,) = Evidence(run).causes
    scores = {cause.kind: cause.score for cause in found.causes}
    assert scores[CauseKind.REVERSE_PATH_FILTER] * found.outage.lost <= 4 + ROUNDING
    assert scores[CauseKind.POOL_BEFORE_ROUTES] * found.outage.lost == pytest.approx(36, abs=1)
    assert CauseKind.UNEXPLAINED not in scores

"""Causes that the kernel's counters tell: what they accuse, acquit and share out."""

from __future__ import annotations

from dataclasses import replace

from analysis.causes.candidates import CauseKind
from analysis.evidence import Evidence
from hitless.facts import Flow
from hitless.words import FlowId, FlowRole
from tests.unit.cause_runs import LONG, all_routes, counters, down, only, route, run_with
from tests.unit.histories import facts, records, repointed


def test_a_counter_that_did_not_move_acquits() -> None:
    events = [*all_routes(60), *repointed(100), route(300, "deleted", "a", "node-b1"), route(500, "created", "a", "node-b1")]
    guilty = run_with(down(300, 499), events, **counters(vpc={"IpExt.InNoRoutes": 40}))
    assert only(guilty).cause.kind is CauseKind.ROUTE_DELETED
    assert "IpExt.InNoRoutes of vpc moved by 40; it could have counted 40 lost probes" in only(guilty).cause.text
    beside = [*events[:-2], route(250, "deleted", "a", "node-b1")]  # it began, and did not end, at another time
    innocent = run_with(down(300, 499), beside, **counters())
    assert only(innocent).cause.kind is CauseKind.UNEXPLAINED


def test_a_strict_filter_while_the_modes_differ() -> None:
    events = [*all_routes(60), *repointed(100, "node-a1"), *repointed(600, "node-b1")]
    moved = counters(node_b1={"TcpExt.IPReversePathFilter": 40})
    found = only(run_with(down(300, 499), events, **moved)).cause
    assert (found.kind, found.subjects) == (CauseKind.REVERSE_PATH_FILTER, ("rp_filter of node-b1",))
    elsewhere = counters(node_a1={"TcpExt.IPReversePathFilter": 40})
    assert only(run_with(down(300, 499), events, **elsewhere)).cause.kind is CauseKind.UNEXPLAINED


def test_a_strict_filter_needs_modes_that_differ() -> None:
    moved = counters(node_b1={"TcpExt.IPReversePathFilter": 40})
    run = run_with(down(300, 499), [*all_routes(60), *repointed(100)], **moved)
    assert only(run).cause.kind is CauseKind.UNEXPLAINED


def test_a_cluster_of_strict_filters_needs_no_counter() -> None:
    events = [*all_routes(60), *repointed(300, "node-a1"), *repointed(500, "node-b1")]
    found = only(run_with(down(300, 499), events, facts=replace(facts(), rp_filter=1))).cause
    assert found.kind is CauseKind.REVERSE_PATH_FILTER
    assert "their modes began to differ" in found.text


def test_a_tunnel_device_that_is_gone_at_the_receiver() -> None:
    found = only(run_with(down(300, 499), [], **counters(node_b1={"Udp.NoPorts": 40}))).cause
    assert (found.kind, found.subjects) == (CauseKind.TUNNEL_GONE, ("tunnel device of node-b1",))


def test_a_counter_that_is_too_small_for_all_is_not_believed_for_each() -> None:
    found = only(run_with(down(300, 499), [], **counters(node_b1={"Udp.NoPorts": 4})))
    assert [cause.kind for cause in found.causes] == [CauseKind.UNEXPLAINED]


def test_a_prober_without_a_socket_is_the_instrument() -> None:
    found = only(run_with(down(300, 499), [], **counters(node_b1_mesh={"Udp.NoPorts": 40}))).cause
    assert (found.kind, found.subjects) == (CauseKind.INSTRUMENT, ("socket of node-b1-mesh",))


def test_a_cause_that_takes_over_during_an_outage_has_its_share() -> None:
    """A tunnel that is gone, until the sender stops to use it and finds that the cloud has no route."""
    events = [*all_routes(60, but=[("a", "node-b1")]), *repointed(400), route(600, "created", "a", "node-b1")]
    found = only(run_with(down(300, 599), events, **counters(node_b1={"Udp.NoPorts": 20}, vpc={"IpExt.InNoRoutes": 40})))
    assert [cause.kind for cause in found.causes[:2]] == [CauseKind.POOL_BEFORE_ROUTES, CauseKind.TUNNEL_GONE]
    assert [round(cause.score, 1) for cause in found.causes[:2]] == [0.7, 0.3]


def test_where_one_counter_covers_either_outage_the_flows_that_were_hit_decide() -> None:
    """A blackhole of one flow, then a tunnel that is gone for both: as many losses each, and a counter for half of them."""
    flows = tuple(
        Flow(id=FlowId(number), source=f"node-a{number}-mesh", destination="node-b1-mesh", role=FlowRole.MESH)
        for number in (1, 2)
    )
    blackholed, gone = down(300, 499), down(700, 799)
    lost_twice = "".join("X" if "X" in pair else "." for pair in zip(blackholed, gone, strict=True))
    run = run_with(LONG, [], **counters(node_b1={"Udp.NoPorts": 40}))
    run = replace(run, flows=flows, records=records({1: lost_twice, 2: gone}))
    first, *others = Evidence(run).causes
    assert first.cause.kind is CauseKind.UNEXPLAINED
    assert [found.cause.kind for found in others] == [CauseKind.TUNNEL_GONE] * 2

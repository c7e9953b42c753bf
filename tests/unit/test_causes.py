"""Causes of outages in hand-written runs: the right cause comes first, and without a cause there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.causes.candidates import CauseKind
from analysis.evidence import Evidence
from hitless.events import Event
from hitless.facts import Endpoint, Flow
from hitless.words import Arm, FlowClass, FlowId, FlowRole, FlowSet, IpFamily, Mode, Overlay
from tests.clocks import ms
from tests.unit.cause_runs import SAME_ZONE, TICKS, all_routes, down, only, route, run_with
from tests.unit.histories import (
    QUIET,
    cleaned,
    event,
    facts,
    header,
    history,
    lost,
    node_facts,
    pair_of_flows,
    records,
    repointed,
)


def test_the_pool_before_the_route_of_the_senders_zone() -> None:
    events = [*all_routes(60, but=[("a", "node-b1")]), *repointed(300), route(500, "created", "a", "node-b1")]
    found = only(run_with(down(300, 499), events)).cause
    assert (found.kind, found.subjects) == (CauseKind.POOL_BEFORE_ROUTES, ("route of zone a to node-b1",))
    assert found.score > 0.99
    assert "zone a had no route to it" in found.text
    assert "node-a1 re-pointed to NATIVE (IPPool) at +250.0 ms" in found.text
    assert "it ended as route.created at +450.0 ms" in found.text


def test_what_was_lost_on_the_way_back_is_the_reflectors_zone_s() -> None:
    events = [*all_routes(60, but=[("b", "node-a1")]), *repointed(300), route(500, "created", "b", "node-a1")]
    found = only(run_with(down(300, 499, "f"), events)).cause
    assert (found.kind, found.subjects) == (CauseKind.POOL_BEFORE_ROUTES, ("route of zone b to node-a1",))


def test_a_missing_route_of_the_other_direction_explains_nothing() -> None:
    events = [*all_routes(60, but=[("b", "node-a1")]), *repointed(300), route(500, "created", "b", "node-a1")]
    assert only(run_with(down(300, 499, "X"), events)).cause.kind is CauseKind.UNEXPLAINED


def test_one_outage_of_both_directions_names_both_routes() -> None:
    missing = [("a", "node-b1"), ("b", "node-a1")]
    cures = [route(400, "created", "a", "node-b1"), route(600, "created", "b", "node-a1")]
    pattern = "".join("X" if mark == "X" else other for mark, other in zip(down(300, 399), down(300, 599, "f"), strict=True))
    found = only(run_with(pattern, [*all_routes(60, but=missing), *repointed(300), *cures])).cause
    assert found.kind is CauseKind.POOL_BEFORE_ROUTES
    assert found.subjects == ("route of zone b to node-a1", "route of zone a to node-b1")
    assert found.score > 0.99


def test_a_route_that_never_came_explains_an_outage_without_end() -> None:
    events = [*all_routes(60, but=[("a", "node-b1")]), *repointed(300)]
    found = only(run_with(down(300, 2000), events))
    assert found.outage.is_censored
    assert found.cause.kind is CauseKind.POOL_BEFORE_ROUTES


def test_cleanup_routes_takes_the_wire_away_from_peers_of_the_same_zone() -> None:
    events = [*all_routes(60, but=[("a", "node-a2")]), *repointed(300), cleaned(400, "node-a1")]
    events.append(route(500, "created", "a", "node-a2"))
    found = only(run_with(down(400, 499), events, flows=SAME_ZONE)).cause
    assert (found.kind, found.subjects) == (CauseKind.CLEANUP_BEFORE_ROUTES, ("route of zone a to node-a2",))


def test_cleanup_routes_that_removed_nothing_is_no_cause() -> None:
    events = [*all_routes(60, but=[("a", "node-a2")]), *repointed(300), cleaned(400, "node-a1", removed=0)]
    assert only(run_with(down(400, 499), events, flows=SAME_ZONE)).cause.kind is CauseKind.UNEXPLAINED


def test_birds_withdrawal_is_distinguished_from_the_pools_change() -> None:
    events = [*all_routes(60, but=[("a", "node-a2")]), *repointed(300)]
    gone = event(600, "calico.repointed", node="node-a1", mode="NATIVE", cause="graceful-restart expired", routes=1)
    events += [replace(gone, facts={**gone.facts, "peers": ["node-a2"], "began_ns": ms(599)})]
    found = only(run_with(down(600, 2000), events, flows=SAME_ZONE)).cause
    assert found.kind is CauseKind.WITHDRAWAL_BEFORE_ROUTES


def test_a_deleted_route() -> None:
    events = [*all_routes(60), *repointed(100), route(300, "deleted", "a", "node-b1"), route(500, "created", "a", "node-b1")]
    found = only(run_with(down(300, 499), events)).cause
    assert (found.kind, found.subjects) == (CauseKind.ROUTE_DELETED, ("route of zone a to node-b1",))
    assert "it began as route.deleted" in found.text


def test_a_route_that_was_not_needed_yet_is_no_cause() -> None:
    """In OVERLAY no packet asks for a cloud route."""
    events = [*all_routes(60), route(300, "deleted", "a", "node-b1"), route(500, "created", "a", "node-b1")]
    assert only(run_with(down(300, 499), events)).cause.kind is CauseKind.UNEXPLAINED


def test_a_route_of_another_zone_s_table_is_no_cause() -> None:
    events = [*all_routes(60), *repointed(100), route(300, "deleted", "b", "node-b1"), route(500, "created", "b", "node-b1")]
    assert only(run_with(down(300, 499), events)).cause.kind is CauseKind.UNEXPLAINED


def test_an_injected_fault_is_named_with_what_it_broke() -> None:
    options = {"zone": "a", "node": "node-b1"}
    fault = [
        event(300, "fault.injected", fault="node-route-lost", options=options, began_ns=ms(299)),
        event(500, "fault.cured", fault="node-route-lost", options=options, began_ns=ms(499)),
    ]
    found = only(run_with(down(300, 499), [*all_routes(60), *repointed(100), *fault])).cause
    assert (found.kind, found.subjects) == (CauseKind.FAULT, ("node-route-lost: route of zone a to node-b1",))
    assert found.score > 0.99


def test_a_fault_without_details_is_attributed_by_its_times() -> None:
    fault = [event(300, "fault.injected", fault="cable-cut"), event(500, "fault.cured", fault="cable-cut")]
    found = only(run_with(down(300, 499), fault)).cause
    assert (found.kind, found.subjects) == (CauseKind.FAULT, ("cable-cut",))


PREFIX_LOST = [
    event(300, "fault.injected", fault="node-prefix-lost", options={"node": "node-b1"}, began_ns=ms(299)),
    event(500, "fault.cured", fault="node-prefix-lost", options={"node": "node-b1"}, began_ns=ms(499)),
]


def test_a_lost_prefix_explains_an_outage_of_ipv6_and_none_of_ipv4() -> None:
    run = run_with(down(300, 499), PREFIX_LOST)
    ipv6 = tuple(replace(flow, ip_family=IpFamily.IPV6) for flow in run.flows)
    kinds = [only(one).cause.kind for one in (run, replace(run, flows=ipv6))]
    assert kinds == [CauseKind.UNEXPLAINED, CauseKind.FAULT]


def test_a_missing_cloud_route_explains_no_outage_of_ipv6() -> None:
    run = run_with(down(100, 299), [*repointed(100), *all_routes(300)])
    ipv6 = tuple(replace(flow, ip_family=IpFamily.IPV6) for flow in run.flows)
    kinds = [only(one).cause.kind for one in (run, replace(run, flows=ipv6))]
    assert kinds == [CauseKind.POOL_BEFORE_ROUTES, CauseKind.UNEXPLAINED]


def test_an_api_that_is_away_drops_no_packet() -> None:
    fault = [event(300, "fault.injected", fault="kube-api-down", options={}), event(500, "fault.cured", fault="kube-api-down")]
    assert [cause.kind for cause in only(run_with(down(300, 499), fault)).causes] == [CauseKind.UNEXPLAINED]


def test_a_condition_is_said_to_coincide_and_is_no_cause() -> None:
    written = event(298, "condition.written", node="node-b1", status="True", reason="NoRouteCreated", actor="crc")
    (found,) = only(run_with(down(300, 499), [written])).causes
    assert found.kind is CauseKind.UNEXPLAINED
    assert "condition.written of node-b1 coincides, but cannot drop a packet" in found.text


def test_nothing_at_all_is_unexplained() -> None:
    (found,) = only(run_with(down(300, 499), [])).causes
    assert (found.kind, found.subjects, found.score, found.text) == (CauseKind.UNEXPLAINED, (), 1.0, "no candidate was found")


@pytest.mark.parametrize("created_ms", [450, 650])
def test_no_cause_comes_after_its_effect(created_ms: float) -> None:
    flap = [route(320, "deleted", "a", "node-b1"), route(created_ms, "created", "a", "node-b1")]
    assert only(run_with(down(300, 499), [*all_routes(60), *repointed(100), *flap])).cause.kind is CauseKind.UNEXPLAINED


def test_a_flow_that_works_although_its_route_is_missing_was_hit_by_something_else() -> None:
    events = [*all_routes(60, but=[("a", "node-b1")]), *repointed(100)]
    assert only(run_with(down(700, 749), events)).cause.kind is CauseKind.UNEXPLAINED


def test_answers_after_the_threshold_were_not_dropped() -> None:
    found = only(run_with(lost(30, 10, "L", TICKS), [])).cause
    assert found.kind is CauseKind.LATE
    assert "10 of 10 answers came after the threshold" in found.text


def test_a_control_flow_that_is_down_accuses_the_machine() -> None:
    run = run_with(down(300, 499), [], control=down(300, 499))
    assert only(run).cause.kind is CauseKind.INSTRUMENT
    assert only(run, flow=2).cause.kind is CauseKind.INSTRUMENT


def test_a_pod_that_no_cloud_route_covers() -> None:
    cluster = facts()
    moved = tuple(
        replace(endpoint, address="100.120.0.66") if endpoint.name == "node-b1-mesh" else endpoint
        for endpoint in cluster.endpoints
    )
    run = run_with(
        down(300, 2000),
        [*all_routes(60), *repointed(300)],
        facts=replace(cluster, endpoints=moved),
        header=header(overlay=Overlay.VXLAN),
    )
    assert (only(run).cause.kind, only(run).cause.subjects) == (CauseKind.POD_OUTSIDE_CIDR, ("pods of node-b1",))


def test_a_roll_is_believed_only_where_it_coincides_to_the_probe() -> None:
    rolled = [event(298, "pod.deleted", node="node-b1", pod="calico-node-x")]
    assert only(run_with(down(300, 499), rolled)).cause.kind is CauseKind.POD_ROLL
    early = [event(250, "pod.deleted", node="node-b1", pod="calico-node-x")]
    assert only(run_with(down(300, 499), early)).cause.kind is CauseKind.UNEXPLAINED


def test_a_masqueraded_flow_breaks_when_its_node_re_points() -> None:
    cluster = facts()
    host = Endpoint(name="node-a1-host", node="node-a1", zone="a", address="10.250.0.10", is_host=True)
    flow = Flow(
        id=FlowId(1),
        source="node-a1-host",
        destination="node-b1-mesh",
        role=FlowRole.SERVICE,
        flow_class=FlowClass.TCP_ESTABLISHED,
        flow_set=FlowSet.HOST_CLUSTER_IP,
    )
    run = run_with(
        down(300, 340),
        [*all_routes(60), *repointed(300)],
        facts=replace(cluster, endpoints=(*cluster.endpoints, host)),
        flows=(flow, pair_of_flows()[1]),
    )
    assert only(run).cause.kind is CauseKind.MASQUERADE_CHANGED


def test_where_nodes_tell_nothing_the_end_decides() -> None:
    """A kind cluster: the pool's apply is known, and when a route came; not when each node re-pointed."""
    applied = event(300, "manifest.applied", kind="IPPool", name="default-ipv4-ippool", mode="NATIVE")
    events = [*all_routes(60, but=[("a", "node-b1")]), applied, route(500, "created", "a", "node-b1")]
    found = only(run_with(down(320, 499), events)).cause
    assert found.kind is CauseKind.POOL_BEFORE_ROUTES
    assert "it ended as route.created" in found.text


def test_where_the_cloud_cannot_be_seen_it_is_said() -> None:
    applied = event(300, "manifest.applied", kind="IPPool", name="default-ipv4-ippool", mode="NATIVE")
    found = only(run_with(down(320, 499), [applied], facts=replace(facts(), backend="kubeconfig")))
    pool = next(cause for cause in found.causes if cause.kind is CauseKind.POOL_BEFORE_ROUTES)
    assert "the route table of zone a is not visible" in pool.text
    assert found.cause.kind is CauseKind.UNEXPLAINED


def test_a_run_that_starts_native_has_its_routes() -> None:
    native = header(start_mode=Mode.NATIVE, end_mode=Mode.NATIVE, arm=Arm.UNGATED)
    events = [route(300, "deleted", "a", "node-a2"), route(500, "created", "a", "node-a2")]
    found = only(run_with(down(300, 499), events, header=native, flows=SAME_ZONE)).cause
    assert found.kind is CauseKind.ROUTE_DELETED


def test_a_calibration_is_not_asked_for_its_cause() -> None:
    flows = (replace(pair_of_flows()[0], role=FlowRole.CALIBRATION), pair_of_flows()[1])
    run = run_with(down(300, 499), [], flows=flows)
    assert Evidence(run).causes == ()


def test_a_run_that_lost_nothing_has_no_causes() -> None:
    run = history(records=records({1: QUIET, 2: QUIET}))
    assert Evidence(run).causes == ()


EVENTS = st.lists(
    st.one_of(
        st.builds(
            route,
            st.floats(60, 900),
            st.sampled_from(["created", "deleted"]),
            st.sampled_from("ab"),
            NODES := st.sampled_from([node.name for node in node_facts()]),
        ),
        st.builds(
            lambda at_ms, node, mode: repointed(at_ms, node, mode=mode)[0],
            st.floats(60, 900),
            NODES,
            st.sampled_from(Mode),
        ),
        st.builds(cleaned, st.floats(60, 900), NODES),
        st.builds(lambda at_ms, node: event(at_ms, "pod.deleted", node=node, pod="x"), st.floats(60, 900), NODES),
    ),
    max_size=12,
)


@given(pattern=st.text("..XfLDRC", min_size=TICKS, max_size=TICKS), events=EVENTS)
def test_the_scores_of_every_outage_make_one(pattern: str, events: list[Event]) -> None:
    run = run_with(pattern, events)
    measures = Evidence(run).measures
    found = Evidence(run).causes
    assert [one.outage for one in found] == [outage for flow in run.flows for outage in measures[flow.id].outages]
    for one in found:
        scores = [cause.score for cause in one.causes]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=0.15)
        assert len({cause.kind for cause in one.causes}) == len(one.causes)
        assert all(cause.evidence for cause in one.causes)


def test_packets_that_do_not_fit_into_the_tunnel() -> None:
    flow = replace(pair_of_flows()[0], octets=1472, flow_set=FlowSet.UDP_NATIVE_MTU)
    native = header(start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY)
    changes: dict[str, Any] = {"header": native, "facts": replace(facts(), overlay_pod_mtu=1480)}
    run = run_with(down(300, 2000), repointed(300, mode=Mode.OVERLAY), flows=(flow, pair_of_flows()[1]), **changes)
    assert (only(run).cause.kind, only(run).cause.subjects) == (CauseKind.TOO_LARGE, ("packets of 1500 octets",))
    small = run_with(down(300, 2000), repointed(300, mode=Mode.OVERLAY), **changes)
    assert only(small).cause.kind is CauseKind.UNEXPLAINED


def test_a_packet_between_the_old_route_and_the_new_one_meets_the_gateway() -> None:
    """BIRD replaces a route by deleting and adding it; a peer of the same zone needs no cloud route before and after."""
    events = [*all_routes(60, but=[("a", "node-a2")]), *repointed(300.04)]
    found = only(run_with(down(300, 300), events, flows=SAME_ZONE)).cause
    assert (found.kind, found.subjects) == (CauseKind.POOL_BEFORE_ROUTES, ("route of zone a to node-a2",))
    with_route = [*all_routes(60), *repointed(300.04)]
    assert only(run_with(down(300, 300), with_route, flows=SAME_ZONE)).cause.kind is CauseKind.UNEXPLAINED

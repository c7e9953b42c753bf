"""By what each node reached each other node, by events written by hand: one timeline, which every reader shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.bounds import make_interval
from analysis.causes.path_candidates import RouteCandidates
from analysis.cloud_routes import CloudRoutes
from analysis.evidence import Evidence
from analysis.route_history import LAG_NS, LEAD_NS, OBSERVED, NextHop, RouteHistory, RouteMode
from checks.convergence import check
from hitless.events import Event
from hitless.facts import Flow
from hitless.history import History
from hitless.words import FlowId, FlowRole, IpFamily, Mode, Overlay
from tests.clocks import ms
from tests.unit.histories import (
    ROUTER_TTL,
    cleaned,
    event,
    facts,
    header,
    held,
    history,
    records,
    repointed,
    switch_events,
    with_calico,
)

MESH = Flow(id=FlowId(1), source="node-a1-mesh", destination="node-b1-mesh", role=FlowRole.MESH)
OVERLAY, NATIVE, UNKNOWN = RouteMode.OVERLAY, RouteMode.NATIVE, RouteMode.UNKNOWN


def rewritten(began: float, ended: float, mode: Mode = Mode.NATIVE, peers: list[str] | None = None, cause: str = "x") -> Event:
    return repointed(ended, "node-a1", mode=mode, cause=cause, took_ms=ended - began, peers=peers)[0]


def modes(told: History, *spans: tuple[float, float], node: str = "node-a1", peer: str = "node-b1") -> list[int]:
    since, until = (np.array([ms(span[side]) for span in spans], dtype=np.int64) for side in (0, 1))
    found: list[int] = RouteHistory(told).toward(node, peer).between(since, until).tolist()
    return found


def test_a_route_is_unknown_while_it_is_rewritten_and_where_a_span_holds_both() -> None:
    told = with_calico(history(), rewritten(100, 120))
    assert modes(told, (0, 99), (99, 100), (110, 111), (120, 121), (0, 500)) == [OVERLAY, UNKNOWN, UNKNOWN, NATIVE, UNKNOWN]


def test_other_nodes_changes_and_other_peers_routes_are_not_its_own() -> None:
    told = with_calico(history(), rewritten(100, 120, peers=["node-a2", "node-b1"]))
    assert modes(told, (130, 130), peer="node-b1") == [NATIVE]
    assert modes(told, (130, 130), peer="node-b2") == [OVERLAY]
    assert modes(told, (130, 130), node="node-b1", peer="node-a1") == [OVERLAY]


def test_cleanup_routes_leaves_the_native_path_and_one_that_removes_nothing_changes_nothing() -> None:
    told = with_calico(history(), cleaned(101, "node-a1", 4))
    assert modes(told, (100.5, 100.6), (102, 103)) == [UNKNOWN, NATIVE]
    assert modes(with_calico(told, cleaned(101, "node-a1", 0)), (100.5, 100.6), (102, 103)) == [OVERLAY, OVERLAY]


def test_a_node_may_go_back() -> None:
    told = with_calico(history(), rewritten(100, 101), rewritten(150, 151, Mode.OVERLAY), cleaned(201, "node-a1", 4))
    assert modes(told, (0, 1), (102, 103), (152, 153), (202, 203)) == [OVERLAY, NATIVE, OVERLAY, NATIVE]


def test_rewriting_a_route_to_what_it_was_leaves_nothing_unknown() -> None:
    told = with_calico(history(), rewritten(100, 101), cleaned(160, "node-a1", 4, took_ms=10))
    assert modes(told, (140, 170)) == [NATIVE]


def test_it_begins_with_the_start_mode() -> None:
    assert modes(with_calico(history(header=header(start_mode=Mode.NATIVE)), rewritten(100, 101)), (0, 1)) == [NATIVE]
    assert modes(held(), (0, 10_000)) == [OVERLAY]


def test_nodes_that_tell_nothing_are_unknown_from_before_the_pool_was_seen_until_it_has_surely_reached_them() -> None:
    told = with_calico(history(events=switch_events(pool_ms=2000)))
    assert modes(told, (0, 999), (999, 1001), (4999, 4999), (5000, 5000)) == [OVERLAY, UNKNOWN, UNKNOWN, NATIVE]
    asked = replace(told, events=tuple(sorted([*told.events, event(1990, "gate.opened")], key=lambda one: one.t_ns)))
    assert modes(asked, (1001, 1989), (1991, 1992)) == [OVERLAY, UNKNOWN]
    untouched = tuple(one for one in switch_events() if one.name == "switch.requested")
    assert modes(held(events=untouched), (300, 301)) == [OVERLAY]


def test_where_the_final_routes_contradict_what_was_inferred_the_mode_stays_unknown() -> None:
    told = with_calico(history(events=switch_events(pool_ms=2000)))
    strayed = replace(told, final_nodes=held().final_nodes)
    assert modes(strayed, (0, 999), (999, 1001), (9000, 9001)) == [OVERLAY, UNKNOWN, UNKNOWN]
    assert RouteHistory(strayed).toward("node-a1", "node-b1").arrival(Mode.NATIVE) is None
    assert modes(replace(told, final_nodes=()), (9000, 9001)) == [NATIVE]


def hops(told: History, node: str, peer: str) -> list[NextHop]:
    found = RouteHistory(told).toward(node, peer)
    return [found.first, *(step.next_hop for step in found.steps)]


def test_a_switch_goes_from_the_tunnel_to_wire_or_gateway_and_then_to_the_gateway() -> None:
    switched = with_calico(history(), rewritten(99, 100), cleaned(200, "node-a1", 4))
    assert hops(switched, "node-a1", "node-a2") == [NextHop.TUNNEL, NextHop.WIRE, NextHop.GATEWAY]
    assert hops(switched, "node-a1", "node-b1") == [NextHop.TUNNEL, NextHop.GATEWAY]
    assert hops(switched, "node-b1", "node-a1") == [NextHop.TUNNEL]


def test_a_reversion_ends_in_the_tunnel() -> None:
    told = with_calico(history(header=header(start_mode=Mode.NATIVE)), rewritten(99, 100, Mode.OVERLAY))
    assert hops(told, "node-a1", "node-b1") == [NextHop.GATEWAY, NextHop.TUNNEL]


def test_without_bird_no_route_is_on_the_wire() -> None:
    told = with_calico(history(header=header(overlay=Overlay.VXLAN)), rewritten(99, 100, cause="IPPool"))
    assert hops(told, "node-a1", "node-a2") == [NextHop.TUNNEL, NextHop.GATEWAY]


@pytest.mark.parametrize("cause", ["IPPool", OBSERVED])
def test_what_a_node_or_its_kernel_told_is_not_inferred(cause: str) -> None:
    assert not RouteHistory(with_calico(history(), rewritten(99, 100, cause=cause))).is_inferred
    assert RouteHistory(with_calico(history())).is_inferred


def test_the_departure_from_the_tunnel_is_the_first_that_a_node_told() -> None:
    told = with_calico(history(), cleaned(98, "node-a1", 4, took_ms=3), rewritten(99, 100))
    step = RouteHistory(told).departure()
    assert step is not None
    assert (step.at, step.text) == (make_interval(ms(95), ms(98)), "cleanup-routes on node-a1")
    assert RouteHistory(with_calico(history())).departure() is None


def pool_applied(at_ms: float, mode: Mode = Mode.NATIVE) -> Event:
    return event(at_ms, "manifest.applied", kind="IPPool", name="default-ipv4-ippool", mode=mode.value)


def replaced(deleted_ms: float, ready_ms: float, node: str = "node-a1") -> list[Event]:
    return [event(deleted_ms, "pod.deleted", node=node, pod="old"), event(ready_ms, "pod.ready", node=node, pod="new")]


def inferred(*events: Event, start_mode: Mode = Mode.OVERLAY) -> RouteHistory:
    ordered = tuple(sorted(events, key=lambda one: one.t_ns))
    return RouteHistory(history(events=ordered, header=header(start_mode=start_mode), final_nodes=()))


def test_nodes_that_tell_nothing_follow_the_pool_and_are_cleaned_up_as_their_pod_is_replaced() -> None:
    found = inferred(pool_applied(5000), *replaced(9000, 9500)).toward("node-a1", "node-a2")
    assert [step.next_hop for step in found.steps] == [NextHop.WIRE, NextHop.GATEWAY]
    assert [step.at for step in found.steps] == [
        make_interval(ms(5000) - LEAD_NS, ms(5000) + LAG_NS),
        make_interval(ms(9000) - LEAD_NS, ms(9500)),
    ]


def test_a_node_whose_pod_is_being_replaced_may_miss_the_pools_change_until_the_new_pod_is_ready() -> None:
    found = inferred(pool_applied(5000), *replaced(5300, 20_000)).toward("node-a1", "node-b1")
    assert found.steps[0].at.latest_ns == ms(20_000)


def test_a_pod_replaced_under_a_native_template_cleans_up_before_the_pool_changes() -> None:
    template = event(1000, "manifest.applied", kind="DaemonSet", name="calico-node", mode="NATIVE")
    found = inferred(template, *replaced(2000, 3000), pool_applied(9000)).toward("node-a1", "node-a2")
    assert [(step.next_hop, step.at) for step in found.steps] == [(NextHop.GATEWAY, make_interval(ms(1000), ms(3000)))]


def test_back_in_overlay_the_routes_come_once_the_last_new_pod_is_ready() -> None:
    events = [pool_applied(5000, Mode.OVERLAY), *replaced(6000, 40_000, "node-b2")]
    found = inferred(*events, start_mode=Mode.NATIVE).toward("node-a1", "node-b1")
    assert found.arrival(Mode.OVERLAY) == make_interval(ms(4000), ms(40_000))


REAL_TICKS = 8000
"""40 s of probes."""


def real_switch(ttls: str = "r") -> History:
    """A switch as a real cluster records it: objects and pods, no word of the nodes' routes."""
    nodes = [node.name for node in facts().nodes]
    events = [
        event(0, "run.started"),
        event(2000, "run.live"),
        event(3000, "switch.requested", mode="NATIVE"),
        event(6000, "manifest.applied", kind="DaemonSet", name="calico-node", mode="NATIVE"),
        pool_applied(6050),
        event(6060, "roll.started", generation=2),
        *(one for index, node in enumerate(nodes) for one in replaced(7000 + 4000 * index, 10_000 + 4000 * index, node)),
        event(22_500, "roll.finished", generation=2),
        event(23_000, "run.settled"),
        event(40_000, "run.probing_stopped"),
    ]
    pattern, switched = "." * REAL_TICKS, "t" * 1220 + ttls * (REAL_TICKS - 1220)
    return history(
        header=header(validation_ns=ms(5000)),
        events=tuple(sorted(events, key=lambda one: one.t_ns)),
        flows=(MESH, replace(MESH, id=FlowId(2), destination="node-a2-mesh")),
        records=records({1: pattern, 2: pattern}, ttls={1: switched}),
    )


def test_convergence_paths_and_causes_agree_on_a_switch_that_a_real_cluster_recorded() -> None:
    told = real_switch()
    assert [(found.verdict, found.code) for found in check(Evidence(told), {}) if found.code != "converged"] == []
    times = [Evidence(told).measures[flow.id].convergence_ns for flow in told.flows]
    # Between zones the TTL proves the new path with the probe of 6,110 ms; within the zone the new pod of node-a1 does.
    assert times == [ms(6110.1 - 3000), ms(10_000.1 - 3000)]
    between, within = Evidence(told).paths()
    assert np.flatnonzero(between.out.is_next_best)[0] == 1220
    assert np.flatnonzero(within.out.is_next_best)[0] == (10_000 - 10) / 5
    assert not np.any(between.out.is_contradicted | between.back.is_contradicted)
    missing = RouteCandidates(told, RouteHistory(told), CloudRoutes(told), frozenset()).toward(
        "node-a2", "node-a1", "100.96.0.2"
    )
    assert [(one.began, one.ended) for one in missing] == [(make_interval(ms(10_000), ms(14_000)), None)]
    assert Evidence(told).causes == ()


def test_a_real_switch_whose_packets_stay_in_the_tunnel_did_not_converge() -> None:
    told = real_switch(ttls="t")
    told.records.sender["forward_ttl"][1] = ROUTER_TTL  # the router counts itself
    found = {(one.verdict, one.code, one.flow) for one in check(Evidence(told), {}) if one.verdict != "PASS"}
    assert found == {("FAIL", "flow-not-converged", 1), ("FAIL", "path-not-switched", 1)}


@given(
    # Two changes at one instant leave no instant to the first of them.
    changes=st.lists(st.tuples(st.integers(1, 10), st.integers(0, 5), st.sampled_from(Mode)), max_size=6),
    spans=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), min_size=1, max_size=8),
)
def test_a_span_holds_every_mode_of_every_instant_in_it(
    changes: list[tuple[int, int, Mode]], spans: list[tuple[int, int]]
) -> None:
    events, at = [], 0
    for gap, length, mode in changes:
        events.append(rewritten(at + gap, at + gap + length, mode))
        at += gap + length
    told = with_calico(history(), *events, event(1000, "calico.cleanup_routes", node="node-a2", removed=1))
    expected = []
    for since, length in spans:
        found = RouteMode(0)
        for instant in range(since, since + length + 1):
            found |= RouteMode(modes(told, (instant, instant))[0])
        expected.append(found)
    assert modes(told, *((since, since + length) for since, length in spans)) == expected


@given(st.lists(st.lists(st.sampled_from(["node-a2", "node-a3", "node-b1", "node-c2"]), max_size=3) | st.none(), max_size=4))
def test_the_few_timelines_of_a_node_are_all_that_it_has(named: list[list[str] | None]) -> None:
    cluster = facts("abc", 4)
    changes = [
        rewritten(100 + 20 * number, 110 + 20 * number, Mode.NATIVE if number % 2 == 0 else Mode.OVERLAY, peers)
        for number, peers in enumerate(named)
    ]
    routes = RouteHistory(with_calico(history(facts=cluster), *changes))
    every = [routes.toward("node-a1", node.name) for node in cluster.nodes if node.name != "node-a1"]
    found = routes.timelines("node-a1")
    assert all(line in found for line in every)
    assert all(line in every for line in found)
    assert len(found) <= 2 + len({peer for peers in named for peer in peers or ()})


def test_ipv6_goes_by_the_gateway_in_the_lab_and_is_unknown_elsewhere() -> None:
    told = with_calico(history(), rewritten(100, 120))
    watched = replace(told, facts=replace(told.facts, backend="kubeconfig"))
    found = [RouteHistory(one).toward("node-a1", "node-b1", IpFamily.IPV6) for one in (told, watched)]
    assert [one.between(np.array([ms(50)]), np.array([ms(500)])).tolist() for one in found] == [[NATIVE], [UNKNOWN]]
    assert found[0].first is NextHop.GATEWAY

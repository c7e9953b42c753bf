"""What the events say of cloud routes and next hops: the two timelines that a missing route is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from analysis.bounds import make_interval
from analysis.causes.candidates import MUST, Candidate, CauseKind
from analysis.causes.path_candidates import RouteCandidates
from analysis.cloud_routes import CloudRoutes
from analysis.route_history import RouteHistory
from hitless.events import Event
from hitless.history import History
from hitless.words import Mode
from tests.clocks import ms
from tests.unit.histories import event, facts, header, history, repointed

A1, A2, B1 = "node-a1", "node-a2", "node-b1"


def run(*events: Event, **changes: Any) -> History:  # noqa: ANN401 - any field
    return history(events=tuple(sorted(events, key=lambda one: one.t_ns)), **changes)


def native(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {"header": header(start_mode=Mode.NATIVE, **changes)}


def route(at_ms: float, name: str, zone: str = "a", node: str = B1) -> Event:
    return event(at_ms, f"route.{name}", zone=zone, cidr="100.96.2.0/24", node=node, began_ns=ms(at_ms - 2))


def candidates(history_: History, node: str, peer: str, address: str) -> list[Candidate]:
    return list(
        RouteCandidates(history_, RouteHistory(history_), CloudRoutes(history_), frozenset()).toward(node, peer, address)
    )


def test_a_route_that_is_created_was_missing_before() -> None:
    missing, steps = CloudRoutes(run(route(100, "created"))).toward("a", B1)
    assert missing
    assert [(step.at, step.is_missing) for step in steps] == [(make_interval(ms(98), ms(100)), False)]


def test_a_route_that_is_deleted_was_there_before() -> None:
    missing, steps = CloudRoutes(run(route(100, "deleted"))).toward("a", B1)
    assert not missing
    assert [step.is_missing for step in steps] == [True]


def test_a_table_without_events_is_as_the_start_mode_needs_it() -> None:
    assert CloudRoutes(run()).toward("a", B1) == (True, ())
    assert CloudRoutes(run(**native())).toward("a", B1) == (False, ())
    assert CloudRoutes(run(event(50, "routes.synced", nodes=4))).toward("a", B1) == (False, ())


def test_a_route_that_was_created_before_the_cure_is_not_created_twice() -> None:
    lost = event(100, "fault.injected", fault="node-route-lost", options={"zone": "a", "node": B1})
    cured = replace(lost, t_ns=ms(200), name="fault.cured")
    found = CloudRoutes(run(lost, route(150, "created"), cured, **native()))
    _, steps = found.toward("a", B1)
    assert [step.is_missing for step in steps] == [True, False]
    assert [step.is_fault for step in steps] == [True, False]
    assert found.toward("b", B1) == (False, ())


def test_only_a_watched_cluster_hides_its_tables() -> None:
    watched = replace(facts(), backend="kubeconfig")
    assert CloudRoutes(run()).is_visible
    assert not CloudRoutes(run(facts=watched)).is_visible


def test_a_trouble_lasts_from_the_need_to_the_route() -> None:
    (found,) = candidates(run(*repointed(100, A1), route(300, "created")), A1, B1, "100.96.2.2")
    assert (found.kind, found.began, found.ended) == (
        CauseKind.POOL_BEFORE_ROUTES,
        make_interval(ms(99), ms(100)),
        make_interval(ms(298), ms(300)),
    )


def test_where_need_and_loss_overlap_it_began_with_the_later_of_both() -> None:
    (found,) = candidates(run(*repointed(100, A1), route(100.5, "deleted")), A1, B1, "100.96.2.2")
    assert found.began == make_interval(ms(99), ms(100.5))


def test_a_route_that_was_there_in_time_is_no_trouble() -> None:
    assert candidates(run(route(90, "created"), *repointed(100, A1)), A1, B1, "100.96.2.2") == []


def test_a_trouble_that_is_only_inferred_is_less_likely_than_one_that_a_node_told() -> None:
    applied = event(100, "manifest.applied", kind="IPPool", name="default-ipv4-ippool", mode="NATIVE")
    (told,) = candidates(run(applied, *repointed(110, A1), route(200, "created")), A1, B1, "")
    (inferred,) = candidates(run(applied, route(200, "created")), A1, B1, "")
    assert inferred.prior < told.prior == MUST


def test_the_tunnel_ends_a_trouble_too() -> None:
    (found,) = candidates(run(*repointed(100, A1), *repointed(300, A1, mode=Mode.OVERLAY)), A1, B1, "100.96.2.2")
    assert (found.ended, found.end_text) == (make_interval(ms(299), ms(300)), "node-a1 re-pointed to OVERLAY (IPPool)")


def test_a_counter_is_summed_over_its_places_and_unknown_where_one_lacks_it() -> None:
    before, after = {"vpc": {"a": 1}, "x": {}}, {"vpc": {"a": 4}, "x": {"a": 2}}
    moved = history(counters_before=before, counters_after=after).moved
    assert (moved("a", ["vpc"]), moved("a", ["vpc", "x"]), moved("b", ["vpc"]), moved("a", ["y"])) == (
        3,
        5,
        None,
        None,
    )
    assert moved("a", []) is None


def test_a_pod_outside_its_nodes_cidr_is_beyond_every_route() -> None:
    switched = run(route(90, "created"), *repointed(100, A1))
    (found,) = candidates(switched, A1, B1, "100.120.0.2")
    assert (found.kind, found.ended) == (CauseKind.POD_OUTSIDE_CIDR, None)
    assert [candidates(switched, A1, B1, address) for address in ("fd00::2", "")] == [[], []]

"""The main path, on a cluster of fakes: what is done in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hitless.facts import CloudRoute
from hitless.plan import PlannedFault
from hitless.store import read_history
from hitless.words import MILLISECOND, Nanoseconds
from tests.unit.run_fakes import FACTS, FLOWS, HEADER, FakeCluster, execute, make_records


def test_everything_happens_in_order_and_is_stored(tmp_path: Path) -> None:
    cluster = execute(tmp_path)
    assert cluster.calls == ["up", "counters", "start", "is_live", "request", "stop", "collect", "counters", "inspect", "down"]
    history = read_history(tmp_path)
    assert history.header == HEADER
    assert history.facts == FACTS
    assert history.flows == FLOWS
    assert [event.name for event in history.events] == [
        "run.started",
        "run.live",
        "calibration.not_possible",
        "run.settled",
        "run.probing_stopped",
    ]
    assert history.records.sender.tolist() == make_records().sender.tolist()
    assert history.records.reports == make_records().reports
    assert history.records.clocks["sender"].tolist() == make_records().clocks["sender"].tolist()
    assert history.counters_after == {"vpc": {"Ip.InReceives": 1}}
    assert history.errors == ()
    assert not (tmp_path / "agents").exists()


def test_the_tables_of_all_zones_are_read_at_the_end_where_a_cluster_has_any(tmp_path: Path) -> None:
    execute(tmp_path)
    routes = tuple(CloudRoute(zone=zone, cidr="100.96.0.0/24", node="node-a1") for zone in "ab")
    assert read_history(tmp_path).final_cloud_routes == routes


def test_no_table_is_read_where_the_tables_are_out_of_reach(tmp_path: Path) -> None:
    cluster = FakeCluster()
    cluster.offered = frozenset()
    execute(tmp_path, cluster)
    history = read_history(tmp_path)
    assert (history.final_cloud_routes, history.errors) == (None, ())


def test_faults_are_cured_in_reverse_order_at_the_end(tmp_path: Path) -> None:
    faults = tuple(
        PlannedFault(name=name, options={}, at_ns=Nanoseconds(at_ms * MILLISECOND), for_ns=for_ns)
        for name, at_ms, for_ns in (("a", 0, None), ("b", 1, None), ("c", 1, Nanoseconds(MILLISECOND)))
    )
    cluster = execute(tmp_path, faults=faults, is_until_settled=False)
    assert [call for call in cluster.calls if "inject" in call or "cure" in call] == [
        "inject a",
        "inject b",
        "inject c",
        "cure c",
        "cure b",
        "cure a",
    ]


def test_a_faults_events_tell_what_it_broke_and_when(tmp_path: Path) -> None:
    fault = PlannedFault(name="a", options={"zone": "b"}, at_ns=Nanoseconds(0), for_ns=None)
    execute(tmp_path, faults=(fault,), is_until_settled=False)
    injected, cured = read_history(tmp_path).events_named("fault.injected", "fault.cured")
    assert (injected.facts["fault"], injected.facts["options"]) == ("a", {"zone": "b"})
    assert (cured.facts["fault"], cured.facts["options"]) == ("a", {"zone": "b"})
    assert injected.facts["began_ns"] <= injected.t_ns <= cured.facts["began_ns"] <= cured.t_ns


def test_a_fault_breaks_the_node_that_the_cluster_has_at_the_place_that_the_scenario_names(tmp_path: Path) -> None:
    cluster = FakeCluster()
    places = (("kind-control-plane", "a"), ("kind-worker", "b"), ("kind-worker2", "b"))
    nodes = tuple(replace(FACTS.nodes[0], name=name, zone=zone) for name, zone in places)
    cluster.facts = replace(FACTS, nodes=nodes)
    fault = PlannedFault(name="a", options={"node": "node-b2"}, at_ns=Nanoseconds(0), for_ns=None)
    execute(tmp_path, cluster, faults=(fault,), is_until_settled=False)
    events = read_history(tmp_path).events_named("fault.injected", "fault.cured")
    assert [event.facts["options"] for event in events] == [{"node": "kind-worker2"}] * 2


def test_a_run_does_not_settle_before_every_fault_was_injected(tmp_path: Path) -> None:
    late = PlannedFault(name="a", options={}, at_ns=Nanoseconds(3 * MILLISECOND), for_ns=None)
    cluster = execute(tmp_path, faults=(late,))
    assert "inject a" in cluster.calls
    assert [event.name for event in read_history(tmp_path).events][-4:] == [
        "fault.injected",
        "run.settled",
        "fault.cured",
        "run.probing_stopped",
    ]


def test_a_run_makes_every_request_before_it_settles(tmp_path: Path) -> None:
    later = Nanoseconds(3 * MILLISECOND)
    cluster = execute(tmp_path, requests_ns=(Nanoseconds(0), later))
    assert [call for call in cluster.calls if call.startswith("request")] == ["request", "request 1"]
    (settled,) = read_history(tmp_path).events_named("run.settled")
    assert settled.t_ns >= MILLISECOND + later


def test_a_request_that_was_never_made_is_said(tmp_path: Path) -> None:
    never = (Nanoseconds(0), Nanoseconds(9 * MILLISECOND))
    execute(tmp_path, requests_ns=never, is_until_settled=False)
    expected = "probing: the run ended before 1 request; lengthen duration_s, or inject and request earlier"
    assert read_history(tmp_path).errors == (expected,)


def test_a_fault_of_the_switch_is_injected_and_cured_there(tmp_path: Path) -> None:
    fault = PlannedFault(name="own", options={}, at_ns=Nanoseconds(0), for_ns=None)
    cluster = execute(tmp_path, faults=(fault,), is_until_settled=False)
    assert [call for call in cluster.calls if "own part" in call] == ["inject own part", "cure own part"]


def test_a_fault_that_was_never_injected_is_said(tmp_path: Path) -> None:
    never = PlannedFault(name="a", options={}, at_ns=Nanoseconds(9 * MILLISECOND), for_ns=None)
    cluster = execute(tmp_path, faults=(never,))
    assert "inject a" not in cluster.calls
    assert read_history(tmp_path).errors == (
        "probing: the run ended before 1 fault; lengthen duration_s, or inject and request earlier",
    )


def test_a_fault_that_is_due_exactly_at_the_end_is_injected_and_cured(tmp_path: Path) -> None:
    last = PlannedFault(name="a", options={}, at_ns=Nanoseconds(5 * MILLISECOND), for_ns=None)
    cluster = execute(tmp_path, faults=(last,), is_until_settled=False)
    assert [call for call in cluster.calls if call.endswith(" a")] == ["inject a", "cure a"]
    history = read_history(tmp_path)
    assert history.errors == ()
    start_ns = MILLISECOND  # the baseline
    assert [event.t_ns for event in history.events_named("fault.injected")] == [start_ns + 5 * MILLISECOND]

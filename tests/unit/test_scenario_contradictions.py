"""Scenarios that contradict themselves are refused by one message; what they prepare is there before the first request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gardener.conditions import network_unavailable
from hitless.documents import read_document
from hitless.errors import UsageError
from hitless.facts import CloudRoute
from hitless.words import Arm, JsonObject, Kind
from scenarios.initial import Initial
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.plan import Options, make_case, make_plan
from tests.clocks import JumpingClock
from tests.unit.fakes_gardener import NODES, Bench
from tests.unit.histories import facts


def load(tmp_path: Path, **changes: Any) -> Any:  # noqa: ANN401 - any field
    document: JsonObject = read_document(CATALOGUE / "plain-switch.yaml")
    document |= {"shoot": str(CATALOGUE.parent / "shoots" / "aws-1.36.yaml"), **changes}
    path = tmp_path / "plain-switch.yaml"
    path.write_text(json.dumps(document))
    return load_scenario(path)


def fault(name: str, at_ms: float, for_ms: float | None = None, **options: object) -> JsonObject:
    step: JsonObject = {"name": name, "at_ms": at_ms, "options": options}
    return step if for_ms is None else {**step, "for_ms": for_ms}


ON = {"at_ms": 300, "overlay": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"then": [{"at_ms": 300, "overlay": False}]},
            "then.0: found the values that the Shoot already has; expected a change of what ",
        ),
        ({"then": [ON, {"at_ms": 300, "overlay": False}]}, "then.1.at_ms.fast: found 300; expected after 300 ms"),
        ({"then": [{"at_ms": 0, "overlay": True}]}, "then.0.at_ms.fast: found 0; expected after 0 ms, the request before"),
        ({"then": [{"at_ms": 6001, "overlay": True}]}, "then.0.at_ms.fast: found 6001; expected after 0 ms, "),
        ({"request": {}, "then": [ON]}, "then: found 1; expected no further requests without a first one"),
        ({"faults": [fault("meteorite", 0)]}, "faults.0.name: found 'meteorite'; expected calico-node-lingers, "),
        ({"faults": [fault("mtu-lowered", 0, node="node-a1")]}, "faults.0.options: found 'node'; expected node, octets"),
        (
            {"faults": [fault("source-check-on", 0, node="node-c1")]},
            "faults.0.options.node: found node-c1; expected one of the topology: node-a1, node-a2, node-b1, node-b2",
        ),
        (
            {"faults": [fault("route-api-down", 0), fault("route-api-down", 50, 10)]},
            "faults.1.at_ms.fast: found 50; expected a time at which the same fault route-api-down is not active",
        ),
        (
            {"faults": [fault("kube-api-down", 0, 100), fault("node-unregistered", 50, 500, node="node-a1")]},
            "faults.1.at_ms.fast: found 50 ms; expected a time at which the API is available: node-unregistered needs it",
        ),
        (
            {"faults": [fault("kube-api-down", 400, 200), fault("node-unregistered", 50, 500, node="node-a1")]},
            "faults.1.at_ms.fast: found 550 ms; expected a time at which the API is available",
        ),
        (
            {"faults": [fault("node-leaves", 100, 500, node="node-a1")]},
            "faults.0.for_ms: found 500; expected no time, because node-leaves is permanent",
        ),
        (
            {"faults": [fault("node-leaves", 100, node="node-a1"), fault("calico-node-restart", 200, node="node-a1")]},
            "faults.1.at_ms.fast: found 200; expected before 100 ms, when node-a1 leaves",
        ),
        (
            {"faults": [fault("node-leaves", 0, node=node) for node in ("node-a1", "node-a2", "node-b1")]},
            "faults: found 1 node that stays; expected at least 2 nodes that stay",
        ),
        (
            {"initial": {"conditions": {"all": "RouteCreated", "node-a1": "absent"}}},
            "initial.conditions: found all, node-a1; expected all alone, or names of nodes",
        ),
        ({"initial": {"deleting": ["node-z1"]}}, "initial.deleting: found node-z1; expected nodes of the topology: node-a1, "),
        ({"initial": {"not_ready": ["node-z1"]}}, "initial.not_ready: found node-z1; expected nodes of the topology: "),
        ({"initial": {"tables": {"c": []}}}, "initial.tables: found zone c; expected the topology's zones a, b"),
        (
            {"initial": {"tables": {"a": ["node-a1", "node-a2"]}}, "cloud": {"quota": {"a": 1}}},
            "initial.tables.a: found 2 routes; expected at most the quota, 1",
        ),
        ({"initial": {"conditions": {"node-a1": "Up"}}}, "initial.conditions.node-a1: found Up"),
    ],
)  # fmt: skip
def test_a_contradiction_gives_one_message(changes: JsonObject, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        load(tmp_path, **changes)
    assert message in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_two_restarts_of_one_pod_may_follow_each_other(tmp_path: Path) -> None:
    steps = [fault("calico-node-restart", at_ms, node="node-a1") for at_ms in (100, 300)]
    assert [step.at_ms.fast for step in load(tmp_path, faults=steps).faults] == [100, 300]


def test_the_last_request_says_what_is_wanted_and_each_mode_that_is_asked_for_can_be_the_end(tmp_path: Path) -> None:
    off_again = {"at_ms": 600, "overlay": False}
    case = make_case(load(tmp_path, then=[ON, off_again]), Options())
    assert [shoot.overlay_enabled for shoot in case.wanted] == [False, True, False]
    assert case.scenario.wanted == "NATIVE"
    assert [at_ms.fast for at_ms in case.scenario.requests_at_ms] == [0, 300, 600]
    assert load(tmp_path, then=[ON]).arm_plans[Arm.GATED].end == "NATIVE"


def test_a_node_may_be_broken_before_it_leaves(tmp_path: Path) -> None:
    steps = [fault("calico-node-restart", 100, node="node-a1"), fault("node-leaves", 200, node="node-a1")]
    assert load(tmp_path, faults=steps).leaving_nodes == {"node-a1"}


def test_no_pod_of_a_node_that_leaves_is_probed(tmp_path: Path) -> None:
    case = make_case(load(tmp_path, faults=[fault("node-leaves", 200, node="node-b2")]), Options())
    here = facts()
    elsewhere = replace(
        here,
        nodes=tuple(replace(node, name=f"kind-{node.name}") for node in here.nodes),
        endpoints=tuple(replace(end, node=f"kind-{end.node}") for end in here.endpoints),
    )
    for found in (here, elsewhere):
        flows = make_plan(case, Arm.GATED, 1, JumpingClock()).make_flows(found)
        ends = {end.rpartition("-")[0] for flow in flows for end in (flow.source, flow.destination)}
        assert ends == {"node-a1", "node-a2", "node-b1"}


def test_fewer_nodes_than_a_fault_names_are_refused(tmp_path: Path) -> None:
    scenario = load(tmp_path, faults=[fault("source-check-on", 0, node="node-b2")])
    with pytest.raises(UsageError, match="found node-b2; expected one of the topology: node-a1, node-b1"):
        make_case(scenario, Options(nodes_per_zone=1))


def prepared(initial: Initial) -> Bench:
    bench = Bench()
    initial.prepare(bench.kube, bench.tables, facts(), bench.recorder)
    return bench


def test_conditions_are_there_before_the_request() -> None:
    bench = prepared(Initial(conditions={"node-a1": "RouteCreated", "node-b2": "absent"}))
    reasons = {
        node["metadata"]["name"]: [entry["reason"] for entry in network_unavailable(node)]
        for node in bench.kube.list(Kind.NODE)
    }
    assert reasons == {"node-a1": ["RouteCreated"], "node-a2": ["CalicoIsUp"], "node-b1": ["CalicoIsUp"], "node-b2": []}


def test_a_condition_whose_status_was_patched_keeps_its_reason() -> None:
    bench = prepared(Initial(conditions={"all": "RouteCreated/Unknown"}))
    entries = {(entry["status"], entry["reason"]) for node in bench.kube.list(Kind.NODE) for entry in network_unavailable(node)}
    assert entries == {("Unknown", "RouteCreated")}


def test_a_node_that_is_not_ready_says_so_once_and_keeps_its_condition() -> None:
    bench = prepared(Initial(not_ready=("node-b2",)))
    ready = {
        node["metadata"]["name"]: [entry["status"] for entry in node["status"]["conditions"] if entry["type"] == "Ready"]
        for node in bench.kube.list(Kind.NODE)
    }
    assert ready == {"node-a1": ["True"], "node-a2": ["True"], "node-b1": ["True"], "node-b2": ["False"]}
    assert [entry["reason"] for entry in network_unavailable(bench.kube.get(Kind.NODE, "node-b2"))] == ["CalicoIsUp"]


def test_a_node_that_is_being_deleted_says_so_and_keeps_its_condition() -> None:
    bench = prepared(Initial(deleting=("node-b2",)))
    node = bench.kube.get(Kind.NODE, "node-b2")
    assert "deletionTimestamp" in node["metadata"]
    assert [entry["reason"] for entry in network_unavailable(node)] == ["CalicoIsUp"]


def test_what_is_said_of_a_node_is_prepared_at_its_place_whatever_its_name() -> None:
    nodes = tuple(replace(node, name=f"kind-{number}") for number, node in enumerate(NODES))
    bench = Bench(nodes=nodes)
    initial = Initial(conditions={"node-b2": "absent"}, tables={"b": ("node-a2",)})
    initial.prepare(bench.kube, bench.tables, replace(facts(), nodes=nodes), bench.recorder)
    assert [node["metadata"]["name"] for node in bench.kube.list(Kind.NODE) if not network_unavailable(node)] == ["kind-3"]
    assert [route.node for route in bench.tables.list("b")] == ["kind-1"]


def test_a_table_has_the_routes_that_are_asked_for_and_no_others() -> None:
    bench = prepared(Initial(tables={"a": ("node-a1", "node-b2")}))
    by_name = {node.name: node for node in NODES}
    wanted = tuple(CloudRoute(zone="a", cidr=by_name[name].pod_cidr, node=name) for name in ("node-a1", "node-b2"))
    assert bench.tables.list("a") == wanted
    assert bench.tables.list("b") == ()
    assert [facts["node"] for facts in bench.facts("route.created")] == ["node-a1", "node-b2"]

from dataclasses import replace

import pytest

from analysis.evidence import Evidence
from checks.hygiene import check
from hitless.facts import CloudRoute
from hitless.history import History
from hitless.words import JsonObject, Mode, Overlay, Verdict
from tests.unit.histories import facts, header, held, history, node_object, tunnel_route


def _codes(run: History) -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.code) for finding in check(Evidence(run), {})]


def _with_routes(*extra: JsonObject) -> History:
    run = history()
    first, *others = run.final_nodes
    return replace(run, final_nodes=(replace(first, routes=(*first.routes, *extra)), *others))


def test_a_clean_end_in_either_mode() -> None:
    assert _codes(history()) == []
    assert _codes(held()) == []


def test_nodes_that_were_not_read() -> None:
    assert _codes(history(final_nodes=())) == [("INCONCLUSIVE", "nodes-not-read")]


@pytest.mark.parametrize(
    ("route", "code", "what"),
    [
        (
            tunnel_route(facts().nodes[1]),
            "tunnel-route-left",
            "node-a1 still has 1 route into the tunnel: unicast 100.96.1.0/24",
        ),
        (
            {"dst": "100.96.1.0/24", "protocol": 12, "dev": "eth0", "via": "10.250.0.11"},
            "bird-route-left",
            "node-a1 still has 1 route of BIRD (protocol 12): unicast 100.96.1.0/24",
        ),
        (
            {"dst": "100.96.0.0/24", "type": "blackhole", "protocol": 12},
            "bird-route-left",
            "node-a1 still has 1 route of BIRD (protocol 12): blackhole 100.96.0.0/24",
        ),
        (
            {"dst": "100.96.0.0/26", "type": "blackhole", "protocol": 80},
            "felix-blackhole-left",
            "node-a1 still has 1 blackhole of Felix (protocol 80): blackhole 100.96.0.0/26",
        ),
    ],
)
def test_what_may_not_be_left_after_a_switch(route: JsonObject, code: str, what: str) -> None:
    (finding,) = check(Evidence(_with_routes(route)), {})
    assert (finding.verdict, finding.code, finding.text) == ("FAIL", code, what)


def test_many_routes_are_cut_short() -> None:
    routes = [{"dst": f"100.96.{number}.0/24", "protocol": 12, "dev": "eth0"} for number in range(5)]
    (finding,) = check(Evidence(_with_routes(*routes)), {})
    assert finding.text.endswith(
        "5 routes of BIRD (protocol 12): unicast 100.96.0.0/24, unicast 100.96.1.0/24, unicast 100.96.2.0/24 and 2 more"
    )


def test_tunl0_may_stay_and_vxlan_may_not() -> None:
    run = history()
    first, *others = run.final_nodes
    left = replace(first, devices=(*first.devices, "vxlan.calico"))
    run = replace(run, final_nodes=(left, *others))
    assert "tunl0" in first.devices
    assert _codes(run) == []
    assert _codes(replace(run, header=header(overlay=Overlay.VXLAN))) == [("FAIL", "tunnel-device-left")]


def test_the_overlay_must_be_whole_where_it_stays() -> None:
    run = held()
    first, *others = run.final_nodes
    broken = replace(first, routes=first.routes[:-1], devices=("lo", "eth0"))
    findings = list(check(Evidence(replace(run, final_nodes=(broken, *others))), {}))
    assert [finding.code for finding in findings] == ["tunnel-route-missing", "tunnel-device-missing"]
    assert findings[0].text == "node-a1 has routes into the tunnel to 2 of 3 peers"


def test_network_unavailable_hurts_only_a_native_node() -> None:
    stuck = node_object("node-b2", "True", "NoRouteCreated")
    (finding,) = check(Evidence(history(final_objects=(stuck,))), {})
    assert (finding.verdict, finding.text) == ("FAIL", "node-b2 has NetworkUnavailable=True, reason NoRouteCreated")
    assert _codes(held(final_objects=(stuck,))) == [("PASS", "network-unavailable")]
    bare = {**stuck, "status": {"conditions": None}}
    assert "network-unavailable" not in [code for _, code in _codes(history(final_objects=(bare,)))]


def _with_bird(missing: int = 0) -> History:
    """A native end in which calico-node runs BIRD, as createPodRoutes asks for; one node lacks this many routes."""
    probe: JsonObject = {"exec": {"command": ["/bin/calico-node", "-felix-ready", "-bird-ready"]}}
    template: JsonObject = {"spec": {"containers": [{"name": "calico-node", "readinessProbe": probe}]}}
    bird = {"kind": "DaemonSet", "metadata": {"name": "calico-node"}, "spec": {"template": template}}
    run = history()
    routes = {
        state.node: [
            {"dst": node.pod_cidr, "type": "unicast", "protocol": 12, "dev": "eth0", "via": node.gateway}
            for node in run.facts.nodes
            if node.name != state.node
        ]
        for state in run.final_nodes
    }
    del routes[run.final_nodes[0].node][:missing]
    blackhole = {"dst": "100.96.9.0/24", "type": "blackhole", "protocol": 12}
    states = tuple(replace(one, routes=(*one.routes, *routes[one.node], blackhole)) for one in run.final_nodes)
    objects = tuple(one for one in run.final_objects if one["kind"] != "DaemonSet")
    return replace(run, final_nodes=states, final_objects=(*objects, bird))


def test_where_bird_runs_at_the_end_its_routes_belong_there() -> None:
    assert _codes(_with_bird()) == []


def test_where_bird_runs_at_the_end_a_missing_route_is_found() -> None:
    assert _codes(_with_bird(missing=1)) == [("FAIL", "bird-route-missing")]


def _table_routes(run: History) -> tuple[CloudRoute, ...]:
    zones = sorted(run.facts.zone_gateways)
    return tuple(CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name) for zone in zones for node in run.facts.nodes)


def test_routes_that_stay_on_the_way_back_are_told_and_judged_where_a_budget_asks() -> None:
    way_back = replace(header(), start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY)
    run = replace(held(), header=way_back, final_cloud_routes=_table_routes(held()))
    (told,) = check(Evidence(run), {})
    assert (told.verdict, told.code) == (Verdict.PASS, "cloud-route-left")
    (judged,) = check(Evidence(run), {"routes_left": 0})
    assert judged.verdict is Verdict.FAIL
    assert judged.text == "8 routes left in the cloud's tables, such as that of zone a to node-a1; allowed: 0"
    assert [*check(Evidence(replace(run, final_cloud_routes=())), {"routes_left": 0})] == []


def test_a_node_that_left_is_no_longer_looked_at() -> None:
    run = held()
    left = replace(run.final_nodes[-1], routes=(), devices=("lo",))
    routes = tuple(replace(one, routes=one.routes[:-1]) for one in run.final_nodes[:-1])
    gone = replace(run, final_nodes=(*routes, left))
    assert {code for _, code in _codes(gone)} == {"tunnel-route-missing", "tunnel-device-missing"}
    objects = tuple(one for one in run.final_objects if one["metadata"]["name"] != left.node)
    assert _codes(replace(gone, final_objects=objects)) == []


def test_a_budget_for_tables_that_were_not_read_is_inconclusive() -> None:
    assert [one.code for one in check(Evidence(held()), {"routes_left": 0})] == ["tables-not-read"]
    assert [*check(Evidence(held()), {})] == []


def test_a_gate_that_held_until_the_end_may_leave_the_routes_that_were_created_meanwhile() -> None:
    run = replace(held(), final_cloud_routes=_table_routes(held())[:3])
    assert [*check(Evidence(run), {"routes_left": 0})] == []


def test_a_native_cluster_needs_every_route_in_every_table() -> None:
    whole = history(final_cloud_routes=_table_routes(history()))
    assert _codes(whole) == []
    (missing,) = check(Evidence(replace(whole, final_cloud_routes=_table_routes(whole)[1:])), {})
    assert (missing.verdict, missing.code) == ("FAIL", "cloud-route-missing")
    assert missing.text == "1 route missing in the cloud's tables, such as that of zone a to node-a1"


def test_a_route_that_leads_to_the_wrong_node_or_to_none_is_astray() -> None:
    whole = history(final_cloud_routes=_table_routes(history()))
    gone = replace(whole, final_objects=tuple(one for one in whole.final_objects if one["metadata"]["name"] != "node-b2"))
    (left,) = check(Evidence(gone), {})
    assert (left.code, left.text) == (
        "cloud-route-astray",
        "2 routes in the cloud's tables lead to no pods, such as that of zone a to node-b2",
    )
    wrong, *others = _table_routes(whole)
    led_astray = replace(whole, final_cloud_routes=(replace(wrong, node="node-b1"), *others))
    assert _codes(led_astray) == [("FAIL", "cloud-route-missing"), ("FAIL", "cloud-route-astray")]

from dataclasses import replace

import pytest

from analysis.evidence import Evidence
from checks.hygiene import check
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
            "node-a1 still has 1 routes into the tunnel: unicast 100.96.1.0/24",
        ),
        (
            {"dst": "100.96.1.0/24", "protocol": 12, "dev": "eth0", "via": "10.250.0.11"},
            "bird-route-left",
            "node-a1 still has 1 routes of BIRD (protocol 12): unicast 100.96.1.0/24",
        ),
        (
            {"dst": "100.96.0.0/24", "type": "blackhole", "protocol": 12},
            "bird-route-left",
            "node-a1 still has 1 routes of BIRD (protocol 12): blackhole 100.96.0.0/24",
        ),
        (
            {"dst": "100.96.0.0/26", "type": "blackhole", "protocol": 80},
            "felix-blackhole-left",
            "node-a1 still has 1 blackholes of Felix (protocol 80): blackhole 100.96.0.0/26",
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
    assert findings[0].text == "node-a1 has routes into the tunnel for 2 destinations; it has 3 peers"


def test_network_unavailable_hurts_only_a_native_node() -> None:
    stuck = node_object("node-b2", "True", "NoRouteCreated")
    (finding,) = check(Evidence(history(final_objects=(stuck,))), {})
    assert (finding.verdict, finding.text) == ("FAIL", "node-b2 has NetworkUnavailable=True, reason NoRouteCreated")
    assert _codes(held(final_objects=(stuck,))) == [("PASS", "network-unavailable")]


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


def test_routes_that_stay_on_the_way_back_are_told_and_judged_where_a_budget_asks() -> None:
    way_back = replace(header(), start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY)
    run = replace(held(), header=way_back, events=())
    (told,) = check(Evidence(run), {})
    assert (told.verdict, told.code) == (Verdict.PASS, "cloud-route-left")
    (judged,) = check(Evidence(run), {"routes_left": 0})
    pairs = len(run.facts.zone_gateways) * len(run.facts.nodes)
    assert judged.verdict is Verdict.FAIL
    assert judged.text == f"{pairs} routes left in the cloud's tables, such as that of zone a to node-a1; allowed: 0"
    assert [finding.code for finding in check(Evidence(held()), {"routes_left": 0})] == []

"""Calico's definitions, accounts and start mode on a real API server; the reports of nodes and controllers are written here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.kind.bring_up import POLL_S, VARYING, CalicoStart, calico_definitions
from clusters.kubernetes.kube import KindKube
from gardener.conditions import network_unavailable
from hitless.clock import RunClock, wait_until
from hitless.errors import NotFoundError
from hitless.facts import NodeFacts
from hitless.words import JsonObject, Kind
from switches.doubles import initial_objects
from tests.cases import case_of
from tests.kind.api_world import running_server, watched_api
from tests.unit.fakes_gardener import MemoryTables

NODES = tuple(
    NodeFacts(
        name=f"start-{zone}", zone=zone, address=f"10.250.{i}.11", pod_cidr=f"100.96.{i + 50}.0/24", gateway=f"10.250.{i}.1"
    )
    for i, zone in enumerate("ab")
)


@pytest.fixture(scope="module")
def kube_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KindKube]:
    """A separate server, because its definitions replace those of other tests."""
    with running_server(tmp_path_factory.mktemp("api-server")) as server, watched_api(server.kubeconfig) as kube:
        yield kube


def make_plain_node(facts: NodeFacts) -> JsonObject:
    spec = {"podCIDR": facts.pod_cidr, "podCIDRs": [facts.pod_cidr], "providerID": f"aws:///{facts.zone}/{facts.name}"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": facts.name}, "spec": spec}


def report(kube: KindKube, line: str) -> None:
    """Write what kubelets and the DaemonSet controller report, as soon as it is waited for."""
    if not line.startswith("waiting for calico-node"):
        return
    for node in kube.list(Kind.NODE):
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
        kube.merge_condition(node["metadata"]["name"], ready, actor="hitless-conformance")
    stored = kube.get(Kind.DAEMON_SET, "calico-node")
    counts = dict.fromkeys(
        ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady", "currentNumberScheduled"), 2
    )
    status = {**counts, "numberMisscheduled": 0, "observedGeneration": stored["metadata"]["generation"]}
    kube.replace_status({**stored, "status": status}, actor="hitless-conformance")


@pytest.mark.parametrize(("scenario", "reason"), [("plain-switch", "CalicoIsUp"), ("native-to-overlay", "RouteCreated")])
def test_the_start_mode_is_taken_by_a_real_server_also_after_the_other(kube_api: KindKube, scenario: str, reason: str) -> None:
    case, tables = case_of(scenario), MemoryTables()
    for node in kube_api.list(Kind.NODE):
        kube_api.delete(Kind.NODE, node["metadata"]["name"])
    kube_api.installer.install([make_plain_node(node) for node in NODES])
    objects = initial_objects(case.shoot, NODES, case.feature_gates)
    start = CalicoStart(case, kube_api, tables, clock=RunClock(), tell=lambda line: report(kube_api, line))
    start.bring(NODES, objects)
    reasons = {
        node["metadata"]["name"]: [one["reason"] for one in network_unavailable(node)] for node in kube_api.list(Kind.NODE)
    }
    assert {node.name: [reason] for node in NODES} == reasons
    wanted = {(document["kind"], document["metadata"]["name"]) for document in objects}
    for kind, name in VARYING:
        if (kind.value, name) in wanted:
            kube_api.get(kind, name)
        else:
            with pytest.raises(NotFoundError):
                kube_api.get(kind, name)
    routes = [route for zone in tables.zones() for route in tables.list(zone)]
    assert len(routes) == (4 if reason == "RouteCreated" else 0)


def test_every_definition_is_served_and_keeps_fields_that_it_does_not_know(kube_api: KindKube) -> None:
    kube_api.installer.install(calico_definitions())
    clock = RunClock()
    pool = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "FelixConfiguration",
        "metadata": {"name": "trial"},
        "spec": {"bpfEnabled": False, "routeTableRanges": [{"min": 1, "max": 250}]},
    }

    def is_served() -> bool:
        try:
            kube_api.installer.install([pool])
        except NotFoundError:
            return False
        return True

    wait_until(is_served, timeout_s=10, poll_s=POLL_S, unmet="not served", clock=clock)
    assert kube_api.installer.get(pool)["spec"] == pool["spec"]
    kube_api.installer.uninstall([pool])

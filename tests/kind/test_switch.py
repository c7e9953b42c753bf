"""The whole gated switch against a real API server: the same parts as in the lab, with fake route tables and no nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from clusters.kubernetes.kube import KindKube
from gardener.conditions import calico_is_down, network_unavailable, route_condition
from gardener.doubles.route_controller import USER as ROUTE_CONTROLLER
from gardener.feature_gates import FeatureGates
from gardener.manifests.admission import CALICO_NODE_USER
from gardener.manifests.rbac import part_objects
from gardener.manifests.render import render
from gardener.shoot import Shoot
from gardener.timings import TIMINGS
from hitless.clock import RunClock
from hitless.loop import Loop
from hitless.words import SECOND, JsonObject, Kind, Mode, Nanoseconds, Profile
from scenarios.initial import Initial, Reason
from switches.doubles import Switch, SwitchSpec, initial_objects, make_switch
from tests.kind.api_world import wait_until
from tests.recorders import ListRecorder
from tests.unit.fakes_gardener import NODES, MemoryTables, shipped_shoot
from tests.unit.histories import facts as lab_facts

GATES = FeatureGates(seamless_overlay_switch=True)
LONG = Nanoseconds(20 * SECOND)


class Stage:
    """A cluster's API with the objects of a start mode, and the parts of the switch around it."""

    def __init__(self, kube: KindKube, start: Mode, shoot: Shoot) -> None:
        self.kube = kube
        self.shoot = shoot.with_mode(start)
        self.clock = RunClock()
        self.tables = MemoryTables()
        if start is Mode.NATIVE:
            self.tables.fill(NODES)
        self.recorder = ListRecorder(self.clock)
        self.objects = initial_objects(self.shoot, NODES)
        kube.installer.install(self.objects)
        for document in self.objects:
            if "status" in document:
                kube.replace_status(document, actor="hitless-conformance")
        self.wanted = [self.shoot.with_mode(mode) for mode in Mode]
        spec = SwitchSpec(shoot=self.shoot, wanted=self.wanted, feature_gates=GATES, timings=TIMINGS[Profile.FAST])
        self.switch: Switch = make_switch(spec, kube=kube, routes=self.tables, recorder=self.recorder, clock=self.clock)

    def run(self, wanted: Mode) -> None:
        """Request a mode and run until everything is settled."""
        self.switch.request([*Mode].index(wanted))
        deadline_ns = Nanoseconds(self.clock.now_ns() + LONG)
        assert Loop(self.switch.participants, self.kube, self.clock).run(self.is_settled, deadline_ns)

    def is_settled(self) -> bool:
        return all(double.is_settled() for double in self.switch.participants)

    def names(self, *names: str) -> list[str]:
        return [event.name for event in self.recorder.named(*names)]

    def leave(self) -> None:
        for shoot in (self.shoot.with_mode(mode) for mode in Mode):
            self.kube.installer.uninstall(render(shoot, GATES))
        self.kube.installer.uninstall(self.objects)
        for kind in (Kind.ADMISSION_POLICY_BINDING, Kind.ADMISSION_POLICY):
            for document in self.kube.list(kind):
                self.kube.delete(kind, document["metadata"]["name"])


@pytest.fixture
def overlay(kube_api: KindKube) -> Iterator[Stage]:
    kube_api.delete(Kind.NODE, "node-a1")
    stage = Stage(kube_api, Mode.OVERLAY, shipped_shoot("aws-1.36"))
    yield stage
    stage.leave()


@pytest.fixture
def native(kube_api: KindKube) -> Iterator[Stage]:
    kube_api.delete(Kind.NODE, "node-a1")
    stage = Stage(kube_api, Mode.NATIVE, shipped_shoot("aws-1.36-native"))
    yield stage
    stage.leave()


def pod_spec(kube: KindKube) -> JsonObject:
    spec: JsonObject = kube.get(Kind.DAEMON_SET, "calico-node")["spec"]["template"]["spec"]
    return spec


def pools(kube: KindKube) -> dict[str, str]:
    return {pool["metadata"]["name"]: pool["spec"].get("ipipMode", "none") for pool in kube.list(Kind.IP_POOL)}


def test_gated_it_holds_until_every_node_says_so_and_then_applies_everything(overlay: Stage) -> None:
    kube = overlay.kube
    assert pools(kube) == {"default-ipv4-ippool": "Always"}
    generation = kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"]
    overlay.run(Mode.NATIVE)
    assert overlay.names("reconcile.failed") == []
    held, [opened] = overlay.recorder.named("gate.held"), overlay.recorder.named("gate.opened")
    written = overlay.recorder.named("condition.written")
    assert held[0].facts["missing"] == [node.name for node in NODES]
    assert len(written) == len(NODES)
    assert max(event.t_ns for event in written) < opened.t_ns
    assert pools(kube) == {"default-ipv4-ippool": "Never", "no-snat-for-node-cidr": "none"}
    assert {route.node for route in overlay.tables.list("b")} == {node.name for node in NODES}
    assert kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"] == generation + 1
    assert kube.get(Kind.CONFIG_MAP, "calico-config")["data"]["calico_backend"] == "none"
    assert [item["metadata"]["name"] for item in kube.list(Kind.DEPLOYMENT)] == ["calico-typha-deploy"]


def test_the_list_of_init_containers_is_as_it_was_rendered(overlay: Stage) -> None:
    """Server-side apply merges lists by name: the order and what went away must be the manifest's."""
    overlay.run(Mode.NATIVE)
    [rendered] = [
        document for document in render(overlay.shoot.with_mode(Mode.NATIVE), GATES) if document["kind"] == "DaemonSet"
    ]
    expected = rendered["spec"]["template"]["spec"]
    found = pod_spec(overlay.kube)
    for section in ("initContainers", "containers", "volumes"):
        assert [entry["name"] for entry in found[section]] == [entry["name"] for entry in expected[section]]
    for container, wanted in zip(found["containers"], expected["containers"], strict=True):
        assert [entry["name"] for entry in container["env"]] == [entry["name"] for entry in wanted["env"]]


def test_back_to_overlay_what_only_native_has_is_gone(native: Stage) -> None:
    assert pod_spec(native.kube)["initContainers"][0]["name"] == "cleanup-routes"
    native.run(Mode.OVERLAY)
    assert native.names("reconcile.failed") == []
    assert pools(native.kube) == {"default-ipv4-ippool": "Always"}
    assert "cleanup-routes" not in [container["name"] for container in pod_spec(native.kube)["initContainers"]]
    assert native.kube.list(Kind.ADMISSION_POLICY) == ()


def test_after_the_switch_calico_node_cannot_take_the_condition_back(overlay: Stage) -> None:
    overlay.run(Mode.NATIVE)
    node = NODES[0].name

    def is_dropped() -> bool:
        overlay.kube.merge_condition(node, route_condition(is_created=True), actor=ROUTE_CONTROLLER)
        after = overlay.kube.merge_condition(node, calico_is_down(), actor=CALICO_NODE_USER)
        return [entry["reason"] for entry in network_unavailable(after)] == ["RouteCreated"]

    # The policy takes a second to be live, and the switch in fast time is over before.
    wait_until(is_dropped, "the policy has no effect")


def test_a_part_without_its_rights_fails_and_says_so(overlay: Stage) -> None:
    installer = overlay.kube.installer
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "aws-custom-route-controller"},
    }
    installer.install([{**role, "rules": []}])
    try:
        overlay.switch.request([*Mode].index(Mode.NATIVE))
        loop = Loop(overlay.switch.participants, overlay.kube, overlay.clock)
        assert loop.run(lambda: overlay.names("reconcile.failed") != [], LONG)
    finally:
        installer.install(part_objects())
    assert "is forbidden" in overlay.recorder.named("reconcile.failed")[0].facts["error"]
    assert overlay.names("gate.opened") == []


@pytest.mark.parametrize(
    ("reason", "found"), [("RouteCreated", ["RouteCreated"]), ("CalicoIsDown", ["CalicoIsDown"]), ("absent", [])]
)
def test_what_a_scenario_begins_with_is_written_by_users_who_may(overlay: Stage, reason: Reason, found: list[str]) -> None:
    facts = replace(lab_facts(), nodes=NODES)
    Initial(conditions={"all": reason}).prepare(overlay.kube, overlay.tables, facts, overlay.recorder)
    conditions = [network_unavailable(node) for node in overlay.kube.list(Kind.NODE)]
    assert [[entry["reason"] for entry in entries] for entries in conditions] == [found] * len(NODES)

"""The switch from the operator's request to the last object, with a simulated clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.extension import Extension
from gardener.doubles.route_controller import RouteControllerMode
from gardener.feature_gates import FeatureGates
from gardener.gate import decide
from gardener.timings import TIMINGS
from hitless.errors import UsageError
from hitless.loop import Loop
from hitless.ports import Participant
from hitless.words import SECOND, Kind, Mode, Nanoseconds, Profile
from switches.doubles import initial_objects
from tests.clocks import ms
from tests.unit.fakes_gardener import CALICO_IS_UP, NODES, Bench, make_shoot, shipped_shoot

FAST = TIMINGS[Profile.FAST]
NAMES = [node.name for node in NODES]
NATIVE_OBJECTS = [
    ("Deployment", "calico-kube-controllers"),
    ("ConfigMap", "calico-config"),
    ("DaemonSet", "calico-node"),
    ("Deployment", "calico-typha-deploy"),
    ("IPPool", "default-ipv4-ippool"),
    ("IPPool", "no-snat-for-node-cidr"),
]
IDEAL = RouteControllerMode.IDEAL


def touched(bench: Bench) -> list[tuple[str, str]]:
    """Kind and name of what gardener-resource-manager deleted or applied, in order."""
    events = bench.recorder.named("object.deleted", "manifest.applied")
    return [(event.facts["kind"], event.facts["name"]) for event in events if "Admission" not in event.facts["kind"]]


def pool_modes(bench: Bench) -> tuple[str, str]:
    spec = bench.kube.get(Kind.IP_POOL, "default-ipv4-ippool")["spec"]
    return spec["ipipMode"], spec["vxlanMode"]


def test_gated_it_holds_until_the_last_node_has_its_route_then_applies_in_order() -> None:
    bench = Bench()
    bench.request(at_ns=ms(100))
    assert bench.run()
    last_condition = max(bench.times("condition.written", reason="RouteCreated"))
    [opened] = bench.times("gate.opened")
    assert max(bench.times("gate.held")) < last_condition <= opened < min(bench.times("manifest.applied", mode="NATIVE"))
    assert touched(bench) == NATIVE_OBJECTS
    assert bench.facts("gate.opened") == [{"held_ns": opened - bench.times("gate.held")[0], "nodes": NAMES}]
    assert pool_modes(bench) == ("Never", "Never")


def test_ungated_it_deletes_then_pauses_then_applies_one_after_the_other_before_the_routes_are_there() -> None:
    timings = replace(
        FAST,
        extension_reconcile_ns=ms(30),
        resource_manager_start_ns=ms(2),
        deletion_requeue_ns=ms(50),
        definitions_ns=ms(9),
        apply_gap_ns=ms(7),
        route_create_ns=ms(25),
    )
    bench = Bench(is_gated=False, timings=timings)
    bench.request(at_ns=ms(100))
    assert bench.run()
    assert bench.facts("gate.not_applicable") == [{"reason": "feature-gate-off"}]
    assert bench.names("gate.held", "gate.opened") == []
    applied = sorted([*bench.times("object.deleted"), *bench.times("manifest.applied", mode="NATIVE")])
    assert applied == [ms(132), ms(184), ms(193), ms(200), ms(207), ms(214)]
    assert bench.times("manifest.applied", name="default-ipv4-ippool") == [ms(207)]
    # Both tables get a route for each of four nodes, one call after the other.
    assert max(bench.times("route.created")) >= ms(100 + 8 * 25)


def test_without_the_admission_policy_the_gate_does_not_apply() -> None:
    bench = Bench(shoot=shipped_shoot("aws-1.34-without-admission"))
    bench.request()
    assert bench.run()
    assert bench.facts("gate.not_applicable") == [{"reason": "admission-policy-unavailable"}]
    assert bench.kube.list(Kind.ADMISSION_POLICY) == ()
    assert bench.times("manifest.applied", mode="NATIVE")[-1] < bench.times("route.created")[0] + ms(1)


def test_with_v1alpha1_alone_the_gate_holds_and_no_policy_protects_it() -> None:
    bench = Bench(shoot=shipped_shoot("aws-1.34-alpha-only"))
    bench.request()
    assert bench.run()
    assert bench.names("gate.held") != []
    assert bench.kube.list(Kind.ADMISSION_POLICY) == ()


def test_a_table_at_its_quota_holds_for_ever_with_the_overlay_untouched() -> None:
    bench = Bench(behaviour=CloudBehaviour(quota={"b": 2}), mode=IDEAL)
    before = [bench.kube.list(kind) for kind in (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.DEPLOYMENT, Kind.IP_POOL)]
    bench.request()
    assert not bench.run(Nanoseconds(5 * SECOND))
    after = [bench.kube.list(kind) for kind in (Kind.CONFIG_MAP, Kind.DAEMON_SET, Kind.DEPLOYMENT, Kind.IP_POOL)]
    assert before == after
    assert bench.names("gate.opened", "routes.synced") == []
    assert bench.facts("gate.held")[-1]["missing"] == ["node-b1", "node-b2"]
    assert {facts["zone"] for facts in bench.facts("route.failed")} == {"b"}
    assert not bench.is_settled()


def test_faithful_a_quota_in_a_table_that_is_not_last_opens_the_gate_on_false_evidence() -> None:
    bench = Bench(behaviour=CloudBehaviour(quota={"a": 2}))
    bench.request()
    bench.run(Nanoseconds(3 * SECOND))
    assert len(bench.names("gate.opened")) == 1
    assert bench.names("route.failed") != []
    assert bench.names("routes.synced") == []
    assert [route.node for route in bench.tables.list("a")] == ["node-a1", "node-a2"]
    assert pool_modes(bench) == ("Never", "Never")


def test_a_route_api_that_is_down_and_comes_back_delays_the_switch() -> None:
    bench = Bench()
    bench.request()
    bench.loop.at(ms(0), lambda: bench.switch.cloud.set_away(True))
    bench.loop.at(ms(600), lambda: bench.switch.cloud.set_away(False))
    assert bench.run()
    assert {facts["reason"] for facts in bench.facts("condition.written")} == {"NoRouteCreated", "RouteCreated"}
    [opened] = bench.times("gate.opened")
    assert ms(600) < max(bench.times("condition.written", reason="RouteCreated")) <= opened
    assert len(bench.names("route.created")) == 8


def test_back_to_overlay_nothing_is_gated_and_the_routes_stay() -> None:
    bench = Bench(shoot=shipped_shoot("aws-1.36-native"), start=Mode.NATIVE)
    bench.run_for(ms(100))
    assert bench.names() == ["routes.synced"]
    bench.request(bench.shoot.with_mode(Mode.OVERLAY), at_ns=ms(100))
    assert bench.run()
    assert bench.facts("gate.not_applicable") == [{"reason": "no-switch-from-overlay"}]
    assert ("Deployment", "calico-kube-controllers") in touched(bench)
    assert touched(bench)[0] == ("IPPool", "no-snat-for-node-cidr")
    assert pool_modes(bench) == ("Always", "Never")
    assert bench.facts("controller.scaled") == [{"name": "aws-custom-route-controller", "replicas": 0}]
    assert bench.kube.list(Kind.ADMISSION_POLICY) == bench.kube.list(Kind.ADMISSION_POLICY_BINDING) == ()
    assert [len(bench.tables.list(zone)) for zone in "ab"] == [4, 4]
    assert bench.names("route.deleted") == []


def test_off_on_off_cleans_up_and_is_gated_each_time() -> None:
    bench = Bench()
    bench.request()
    assert bench.run()
    bench.request(bench.shoot, at_ns=ms(2000))
    bench.run_for(ms(2500))
    for name in NAMES:
        bench.kube.merge_condition(name, CALICO_IS_UP, actor="system:serviceaccount:kube-system:calico-node")
    bench.request(at_ns=ms(2500))
    bench.run_for(ms(4000))
    assert len(bench.names("condition.removed")) == 8
    assert len(bench.names("gate.opened")) == 2
    second = [event for event in bench.recorder.named("gate.held") if event.t_ns > ms(2500)]
    assert second[0].facts["retry_ns"] == ms(5)
    assert bench.facts("gate.opened")[1]["held_ns"] == bench.times("gate.opened")[1] - second[0].t_ns
    assert bench.is_settled()


def test_another_setting_is_applied_once_and_rolls_once() -> None:
    bench = Bench()
    generation = bench.kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"]
    bench.request(bench.shoot.with_network(veth_mtu="1430"))
    assert bench.run()
    assert bench.facts("gate.not_applicable") == [{"reason": "no-switch-from-overlay"}]
    assert bench.kube.get(Kind.DAEMON_SET, "calico-node")["metadata"]["generation"] == generation + 1
    assert [kind for kind, _ in touched(bench)].count("DaemonSet") == 1
    assert pool_modes(bench) == ("Always", "Never")
    assert bench.names("controller.scaled", "condition.removed") == []


def test_another_setting_in_native_mode_leaves_the_control_plane_alone() -> None:
    bench = Bench(start=Mode.NATIVE)
    bench.request(bench.shoot.with_network(veth_mtu="8900"))
    assert bench.run()
    assert [facts for facts in bench.facts("manifest.applied") if "Admission" in facts["kind"]] == []
    assert bench.names("controller.scaled", "condition.removed", "condition.written", "gate.held") == []
    assert len(bench.kube.list(Kind.ADMISSION_POLICY)) == 1


def test_the_same_request_again_applies_nothing() -> None:
    bench = Bench()
    bench.request(bench.shoot)
    assert bench.run()
    assert bench.names() == ["switch.requested", "gate.not_applicable"]
    bench.kube.take_changes()
    bench.run_for(ms(3000))
    assert bench.kube.take_changes() == frozenset()


def test_nothing_requested_nothing_happens() -> None:
    bench = Bench()
    bench.kube.take_changes()
    bench.run_for(Nanoseconds(30 * SECOND))
    assert bench.names() == []
    assert bench.kube.take_changes() == frozenset()


def test_a_request_taken_back_while_it_is_held_leaves_no_trace() -> None:
    bench = Bench(behaviour=CloudBehaviour(quota={"b": 0}), mode=IDEAL)
    bench.request()
    bench.request(bench.shoot, at_ns=ms(400))
    assert bench.run()
    bench.run_for(ms(1000))
    assert touched(bench) == []
    assert bench.is_settled()


def test_once_written_the_gate_is_not_asked_again() -> None:
    bench = Bench()
    bench.request()
    assert bench.run()
    bench.kube.merge_condition("node-b2", CALICO_IS_UP, actor="someone")
    bench.switch.extension.request(bench.shoot.with_mode(Mode.NATIVE).with_network(veth_mtu="1400"), bench.clock.now_ns())
    bench.run_for(Nanoseconds(5 * SECOND))
    assert [facts["reason"] for facts in bench.facts("gate.not_applicable")] == ["no-switch-from-overlay"]
    assert bench.is_settled()


def test_with_the_real_constants_it_takes_as_long_as_it_takes() -> None:
    bench = Bench(timings=TIMINGS[Profile.GARDENER])
    bench.request()
    assert bench.run(Nanoseconds(120 * SECOND))
    assert bench.times("controller.scaled") == [1 * SECOND]
    # First tick 5 s + 5.05 s after the controller was scaled, eight routes of 250 ms, four conditions of 20 ms.
    assert bench.times("routes.synced") == [1 * SECOND + ms(10_050) + 8 * ms(250) + 4 * ms(20)]
    assert bench.times("gate.held")[0] == 3 * SECOND


def test_a_first_reconcile_without_a_secret_fails_open() -> None:
    bench = Bench()
    shoot = bench.shoot.with_mode(Mode.NATIVE)
    extension = Extension(
        kube=bench.kube,
        recorder=bench.recorder,
        timings=FAST,
        gate=decide,
        feature_gates=FeatureGates(seamless_overlay_switch=True),
        shoot=bench.shoot,
        written=None,
    )
    extension.request(shoot, ms(0))
    extension.reconcile(FAST.extension_reconcile_ns)
    assert bench.facts("gate.not_applicable") == [{"reason": "last-manifest-unreadable"}]
    assert Loop([extension], bench.kube, bench.clock).run(extension.is_settled, Nanoseconds(3 * SECOND))
    assert pool_modes(bench) == ("Never", "Never")


def test_a_request_that_cannot_be_rendered_is_refused_when_it_is_made() -> None:
    bench = Bench()
    ebpf = bench.shoot.with_network(ebpf_dataplane={"enabled": True})
    with pytest.raises(UsageError, match="ebpfDataplane"):
        bench.change(ebpf)
    assert bench.switch.extension.is_settled()


class Counted:
    """A participant with a count of its calls."""

    def __init__(self, participant: Participant) -> None:
        self.calls = 0
        self._participant = participant

    @property
    def name(self) -> str:
        return self._participant.name

    @property
    def watches(self) -> frozenset[Kind]:
        return self._participant.watches

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        self.calls += 1
        return self._participant.reconcile(now_ns)

    def is_settled(self) -> bool:
        return self._participant.is_settled()


def count_calls(touched_ms: Sequence[float]) -> dict[str, int]:
    """How often each double is called in 300 ms after a request while a Node changes at these moments."""
    bench = Bench()
    counted = [Counted(participant) for participant in bench.switch.participants]
    loop = Loop(counted, bench.kube, bench.clock)
    loop.at(ms(1), lambda: bench.change(bench.shoot.with_mode(Mode.NATIVE)))

    def touch(label: str) -> None:
        node = bench.kube.get(Kind.NODE, "node-b1")
        node["metadata"]["labels"]["touched"] = label
        bench.kube.apply(node, actor="test")

    for moment in touched_ms:
        loop.at(ms(moment), partial(touch, f"at-{moment}"))
    assert not loop.run(lambda: False, ms(300))
    return {participant.name: participant.calls for participant in counted}


def test_a_changed_node_wakes_no_double() -> None:
    quiet = count_calls([])
    assert list(quiet) == [
        "gardener-extension-networking-calico",
        "gardener-extension-provider-aws",
        "aws-custom-route-controller",
    ]
    assert count_calls([7.3, 55.5, 120.1, 250.7]) == quiet


@pytest.mark.parametrize(("mode", "reason"), [(Mode.OVERLAY, "CalicoIsUp"), (Mode.NATIVE, "RouteCreated")])
def test_initial_objects_are_what_a_settled_cluster_has(mode: Mode, reason: str) -> None:
    documents = initial_objects(shipped_shoot().with_mode(mode), NODES)
    nodes = [document for document in documents if document["kind"] == "Node"]
    assert [node["metadata"]["name"] for node in nodes] == NAMES
    assert [node["spec"]["podCIDR"] for node in nodes] == [facts.pod_cidr for facts in NODES]
    assert {node["status"]["conditions"][-1]["reason"] for node in nodes} == {reason}
    assert len({node["spec"]["providerID"] for node in nodes}) == 4
    assert nodes[2]["spec"]["providerID"].startswith("aws:///b/i-")
    policies = [document for document in documents if "Admission" in document["kind"]]
    assert len(policies) == (0 if mode is Mode.OVERLAY else 2)


def test_without_an_overlay_section_the_pool_of_calico_node_is_there_from_the_start() -> None:
    bench = Bench(shoot=make_shoot(network=None))
    assert pool_modes(bench) == ("Always", "Never")
    bench.request()
    assert bench.run()
    assert pool_modes(bench) == ("Never", "Never")


def test_vxlan_is_gated_as_well() -> None:
    bench = Bench(shoot=shipped_shoot("aws-1.36-vxlan"))
    assert pool_modes(bench) == ("Never", "Always")
    bench.request()
    assert bench.run()
    assert len(bench.names("gate.opened")) == 1
    assert pool_modes(bench) == ("Never", "Never")

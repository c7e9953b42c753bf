"""The pods of the double of calico-node: their conditions, their starts, their ends."""

from __future__ import annotations

from hitless.loop import Loop
from hitless.objects import name_of
from hitless.words import Kind, Mode
from tests.clocks import ms
from tests.unit.lab_fakes import ROUTE_CREATED, World, fast, make_shoot
from tests.unit.test_lab_calico_node import AT, NAMES, POOL_ONLY, ROUTE_CONTROLLER, all_but, full_mesh, routes


def test_the_policy_keeps_calicos_conditions_away() -> None:
    world = World()
    for node in NAMES:
        world.kube.merge_condition(node, {**ROUTE_CREATED, "message": "m", "lastTransitionTime": AT}, actor=ROUTE_CONTROLLER)
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.run_until_settled(after_ms=160)
    assert [world.condition(node) for node in NAMES] == [{**ROUTE_CREATED, "message": "m", "lastTransitionTime": AT}] * 4
    dropped = world.recorder.named("condition.dropped")
    assert len(dropped) == 3
    assert {event.facts["reason"] for event in dropped} == {"CalicoIsDown"}
    assert world.recorder.named("condition.written") == []


def test_without_the_policy_the_dying_pod_leaves_the_network_unavailable() -> None:
    world = World()
    kinds = all_but(Kind.ADMISSION_POLICY, Kind.ADMISSION_POLICY_BINDING)
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=kinds)
    world.run_until_settled(after_ms=160)
    conditions = [world.condition(node) or {} for node in NAMES]
    written = world.recorder.named("condition.written")
    assert sorted((found["status"], found["reason"]) for found in conditions) == [
        ("False", "CalicoIsUp"),
        *[("True", "CalicoIsDown")] * 3,
    ]
    assert len(written) == 3
    assert written[0].facts == {
        "node": written[0].facts["node"],
        "status": "True",
        "reason": "CalicoIsDown",
        "actor": "calico-node",
    }


def test_a_backend_other_than_none_says_that_calico_is_up_before_its_pod_is_ready() -> None:
    world = World(shoot=make_shoot(Mode.NATIVE))
    assert [world.condition(node) for node in NAMES] == [None] * 4
    world.request(make_shoot(Mode.OVERLAY), at_ms=100)
    world.run_until_settled(after_ms=160)
    conditions = [world.condition(node) or {} for node in NAMES]
    assert [(found.get("status"), found.get("reason")) for found in conditions] == [("False", "CalicoIsUp")] * 4
    written, ready = world.recorder.times_ms("condition.written"), world.recorder.times_ms("pod.ready")
    assert [later - earlier for earlier, later in zip(written, ready, strict=True)] == [50] * 4


def test_a_cleanup_that_another_roll_interrupts_leaves_no_route_missing() -> None:
    world = World(timings=fast(cleanup_route_ns=ms(10)))
    kinds = all_but(Kind.IP_POOL)
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=kinds)
    world.run(195)
    cut = [plane for plane in world.planes.values() if len(plane.routes) == 1]
    assert len(cut) == 2
    world.request(make_shoot(), at_ms=196, kinds=kinds)
    world.run_until_settled(after_ms=300)
    assert routes(world) == full_mesh(Mode.OVERLAY)


def test_a_pod_that_another_deletes_is_replaced_and_starts_each_time() -> None:
    world = World()
    # The DaemonSet's controller comes first: calico-node never sees its node without a pod.
    world.loop = Loop((world.roll, *world.calico), world.kube, world.clock)

    def delete() -> None:
        pods = [pod for pod in world.kube.list(Kind.POD) if pod["spec"]["nodeName"] == "node-a1"]
        world.kube.delete(Kind.POD, name_of(pods[0]))

    for at_ms in (100, 500):
        world.loop.at(ms(at_ms), delete)
    world.run_until_settled(after_ms=600)
    assert world.recorder.times_ms("calico.felix_started", node="node-a1") == [180, 580]
    assert world.recorder.times_ms("pod.ready", node="node-a1") == [300, 700]
    world.run(3000)
    assert world.recorder.named("calico.repointed") == []
    assert routes(world) == full_mesh(Mode.OVERLAY)


def test_while_the_api_is_unavailable_cleanup_continues_and_felix_waits() -> None:
    world = World(gap_ms=1)
    world.request(make_shoot(Mode.NATIVE), at_ms=100)
    world.loop.at(ms(110), lambda: world.kube.set_away(True))
    world.run(900)
    assert len(world.recorder.named("calico.cleanup_routes")) == 2
    assert world.recorder.named("calico.felix_started", "pod.ready") == []
    assert not world.is_settled()
    world.kube.set_away(False)
    world.run_until_settled(after_ms=901)
    assert len(world.recorder.named("pod.ready")) == 4


def test_a_pod_that_starts_after_the_pool_changed_begins_with_the_new_pool() -> None:
    world = World()
    world.request(make_shoot(vethMTU="1400"), at_ms=100)
    world.request(make_shoot(Mode.NATIVE), at_ms=150, kinds=POOL_ONLY)
    world.run_until_settled(after_ms=160)
    first = [event.facts["node"] for event in world.recorder.named("pod.deleted")[:2]]
    for node in first:
        repointed = world.recorder.named("calico.repointed", node=node)
        assert [(event.facts["cause"], event.facts["mode"]) for event in repointed] == [("graceful restart ended", "NATIVE")]
        assert repointed[0].t_ns == world.recorder.named("calico.felix_started", node=node)[0].t_ns
    assert routes(world) == full_mesh(Mode.NATIVE)


def test_a_container_keeps_the_backend_that_it_was_created_with() -> None:
    world = World()
    world.request(make_shoot(Mode.NATIVE), at_ms=100, kinds=(Kind.CONFIG_MAP,))
    world.run(110)
    pod = world.kube.list(Kind.POD)[0]
    world.kube.replace_status({**pod, "status": {**pod["status"], "phase": "Running again"}}, actor="kubelet")
    world.request(make_shoot(Mode.NATIVE), at_ms=120, kinds=POOL_ONLY)
    world.run(5000)
    assert len(world.recorder.named("calico.repointed", cause="IPPool")) == 4
    assert routes(world) == full_mesh(Mode.NATIVE)


def test_calicos_conditions_say_when_they_were_written() -> None:
    world = World()
    condition = world.condition("node-a1")
    assert condition is not None
    assert (condition["reason"], len(condition["lastTransitionTime"])) == ("CalicoIsUp", len(AT))

"""What the double of the DaemonSet controller promises, with the real manifests and calico-node doubles behind it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.lab.calico.daemon_set import max_unavailable
from clusters.lab.calico.datastore import template_hash
from hitless.calico import CALICO_NODE
from hitless.errors import UsageError
from hitless.objects import is_ready
from hitless.words import JsonObject, Kind, Mode
from tests.clocks import ms
from tests.unit.histories import node_facts
from tests.unit.lab_fakes import OPERATOR, World, fast


def change_template(world: World, value: str) -> None:
    daemon_set = world.kube.get(Kind.DAEMON_SET, CALICO_NODE)
    daemon_set["spec"]["template"]["metadata"].setdefault("annotations", {})["test"] = value
    world.kube.apply(daemon_set, actor=OPERATOR)


def test_a_cluster_starts_with_ready_pods_of_the_present_template() -> None:
    world = World()
    pods = world.kube.list(Kind.POD)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == [node.name for node in world.nodes]
    assert all(is_ready(pod) for pod in pods)
    expected = template_hash(world.kube.get(Kind.DAEMON_SET, CALICO_NODE))
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in pods} == {expected}


def test_nothing_changes_so_nothing_happens() -> None:
    world = World()
    world.run(1000)
    assert world.recorder.events == []
    assert [plane.calls for plane in world.planes.values()] == [[], [], [], []]
    assert world.is_settled()


def test_two_at_a_time_and_the_next_only_as_ready_comes_back() -> None:
    world = World()
    world.loop.at(ms(100), lambda: change_template(world, "one"))
    assert world.run_until_settled(after_ms=101) == 500
    assert world.recorder.times_ms("pod.deleted") == [100, 100, 300, 300]
    assert world.recorder.times_ms("pod.created") == [100, 100, 300, 300]
    assert world.recorder.times_ms("pod.ready") == [300, 300, 500, 500]
    assert [event.facts for event in world.recorder.named("roll.started")] == [{"generation": 2}]
    assert [(event.t_ns, event.facts) for event in world.recorder.named("roll.finished")] == [(ms(500), {"generation": 2})]


def test_a_deleted_pod_is_replaced_on_its_node_at_once_under_another_name() -> None:
    world = World()
    before = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in world.kube.list(Kind.POD)}
    change_template(world, "one")
    world.run_until_settled(after_ms=1)
    after = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in world.kube.list(Kind.POD)}
    assert sorted(after.values()) == sorted(before.values())
    assert not after.keys() & before.keys()
    events = [(event.name, event.facts["node"]) for event in world.recorder.named("pod.deleted", "pod.created")]
    assert events[0::2] == [("pod.deleted", node) for _, node in events[1::2]]
    assert events[1::2] == [("pod.created", node) for _, node in events[0::2]]


def test_a_pod_that_someone_else_deletes_has_a_successor_that_starts_and_becomes_ready() -> None:
    world = World()
    name = pod_of(world, "node-a1")
    for at_ms in (100, 1_000):
        world.loop.at(ms(at_ms), lambda: world.kube.delete(Kind.POD, pod_of(world, "node-a1")))
    world.run_until_settled(after_ms=1_001)
    assert [(event.facts["node"], event.t_ns) for event in world.recorder.named("pod.deleted")] == [
        ("node-a1", ms(100)),
        ("node-a1", ms(1_000)),
    ]
    assert len(world.recorder.named("calico.felix_started")) == len(world.recorder.named("pod.ready")) == 2
    assert pod_of(world, "node-a1") != name


def pod_of(world: World, node: str) -> str:
    (name,) = (pod["metadata"]["name"] for pod in world.kube.list(Kind.POD) if pod["spec"]["nodeName"] == node)
    return str(name)


def test_the_order_of_nodes_is_the_same_in_every_run_and_not_the_order_of_zones() -> None:
    orders = []
    for _ in range(2):
        world = World()
        change_template(world, "one")
        world.run_until_settled(after_ms=1)
        orders.append([event.facts["node"] for event in world.recorder.named("pod.deleted")])
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_a_spec_with_the_same_template_rolls_nothing() -> None:
    world = World()
    world.run(10)
    daemon_set = world.kube.get(Kind.DAEMON_SET, CALICO_NODE)
    daemon_set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 1
    world.kube.apply(daemon_set, actor=OPERATOR)
    world.run_until_settled(after_ms=100)
    assert world.recorder.events == []
    assert world.kube.get(Kind.DAEMON_SET, CALICO_NODE)["status"]["observedGeneration"] == 2


def test_the_status_counts_what_is_there() -> None:
    world = World()
    world.loop.at(ms(100), lambda: change_template(world, "one"))
    world.run(200)
    counts = {
        "desiredNumberScheduled": 4,
        "currentNumberScheduled": 4,
        "updatedNumberScheduled": 2,
        "numberReady": 2,
        "numberAvailable": 2,
        "numberUnavailable": 2,
        "numberMisscheduled": 0,
        "observedGeneration": 2,
    }
    assert world.kube.get(Kind.DAEMON_SET, CALICO_NODE)["status"] == counts
    assert not world.roll.is_settled()


def test_a_second_change_during_a_roll_supersedes_the_first() -> None:
    world = World()
    world.loop.at(ms(100), lambda: change_template(world, "one"))
    world.loop.at(ms(350), lambda: change_template(world, "two"))
    end_ms = world.run_until_settled(after_ms=360)
    # At 350 ms the first two nodes run template one, the others are on their way to it: not Ready, so replaced first.
    assert world.recorder.times_ms("pod.deleted") == [100, 100, 300, 300, 350, 350, 550, 550]
    nodes = [event.facts["node"] for event in world.recorder.named("pod.deleted")]
    assert nodes[4:6] == nodes[2:4]
    assert nodes[6:8] == nodes[0:2]
    assert [event.facts["generation"] for event in world.recorder.named("roll.started")] == [2, 3]
    assert [event.facts["generation"] for event in world.recorder.named("roll.finished")] == [3]
    assert end_ms == 750


def test_a_template_that_comes_back_spares_the_pods_that_still_have_it() -> None:
    world = World()
    original = world.kube.get(Kind.DAEMON_SET, CALICO_NODE)
    del original["metadata"]["resourceVersion"]
    world.loop.at(ms(100), lambda: change_template(world, "one"))
    world.apply_at(200, original)
    world.run_until_settled(after_ms=210)
    nodes = [event.facts["node"] for event in world.recorder.named("pod.deleted")]
    assert len(nodes) == 4
    assert nodes[:2] == nodes[2:]


def test_a_pod_that_is_not_ready_is_replaced_first_and_beyond_the_budget() -> None:
    world = World(nodes=node_facts(zones="a", nodes_per_zone=5))
    world.run(1)
    broken = [pod["metadata"]["name"] for pod in world.kube.list(Kind.POD)][:3]
    for name in broken:
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
        world.kube.replace_status({"kind": "Pod", "metadata": {"name": name}, "status": status}, actor=OPERATOR)
    change_template(world, "one")
    world.run(2)
    assert sorted(event.facts["pod"] for event in world.recorder.named("pod.deleted")) == sorted(broken)


def test_while_the_api_is_unavailable_nothing_rolls_and_then_it_continues() -> None:
    world = World()
    world.loop.at(ms(100), lambda: change_template(world, "one"))
    world.loop.at(ms(200), lambda: world.kube.set_away(True))
    world.loop.at(ms(900), lambda: world.kube.set_away(False))
    world.run_until_settled(after_ms=900)
    assert world.recorder.times_ms("pod.ready") == [900, 900, 1100, 1100]


def test_a_node_that_joins_gets_a_pod_and_one_that_leaves_loses_it() -> None:
    world = World()
    world.run(1)
    world.kube.apply({"kind": "Node", "metadata": {"name": "node-c1"}}, actor=OPERATOR)
    world.kube.delete(Kind.NODE, "node-a1")
    world.run(2)
    assert [event.facts["node"] for event in world.recorder.named("pod.created")] == ["node-c1"]
    assert [event.facts["node"] for event in world.recorder.named("pod.deleted")] == ["node-a1"]


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.integers(1, 12),
    limit=st.one_of(st.integers(1, 13), st.sampled_from(["1%", "34%", "100%"])),
    ready_ms=st.integers(81, 400),
    again_ms=st.one_of(st.none(), st.integers(0, 900)),
)
def test_never_more_pods_away_than_allowed(nodes: int, limit: int | str, ready_ms: int, again_ms: int | None) -> None:
    world = World(nodes=node_facts(zones="a", nodes_per_zone=nodes), timings=fast(ready_ns=ms(ready_ms)))
    daemon_set = world.kube.get(Kind.DAEMON_SET, CALICO_NODE)
    daemon_set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = limit
    world.kube.apply(daemon_set, actor=OPERATOR)
    allowed = max_unavailable(daemon_set, nodes)
    world.loop.at(ms(10), lambda: change_template(world, "one"))
    if again_ms is not None:
        world.loop.at(ms(10 + again_ms), lambda: change_template(world, "two"))
    watch, ready, away = world.kube.watch(Kind.POD), set[str](), list[int]()

    def look() -> bool:
        for name, pod in watch.take().get(Kind.POD, {}).items():
            (ready.add if pod is not None and is_ready(pod) else ready.discard)(name)
        away.append(nodes - len(ready))
        return world.clock.now_ns() > ms(10 + (again_ms or 0)) and world.is_settled()

    assert world.loop.run(look, ms(60_000))
    assert max(away) == min(allowed, nodes)
    assert away[-1] == 0


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"rollingUpdate": {"maxUnavailable": 2}}, 2),
        ({"rollingUpdate": {"maxUnavailable": "21%"}}, 3),
        ({"type": "RollingUpdate"}, 1),
        ({}, 1),
        ({"type": "OnDelete"}, 0),
    ],
)
def test_max_unavailable(strategy: JsonObject, expected: int) -> None:
    assert max_unavailable({"spec": {"updateStrategy": strategy}}, 10) == expected


@pytest.mark.parametrize("found", ["two", "-1%", None, 1.5])
def test_max_unavailable_of_another_kind_is_refused(found: Any) -> None:  # noqa: ANN401 - bad input on purpose
    with pytest.raises(UsageError, match=r"maxUnavailable: found .*; expected a number or a percentage"):
        max_unavailable({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": found}}}}, 10)


def test_the_mode_does_not_matter_to_the_roll() -> None:
    world = World()
    world.request(world.shoot.with_mode(Mode.NATIVE), at_ms=0)
    world.run_until_settled(after_ms=100)
    assert len(world.recorder.named("roll.finished")) == 1

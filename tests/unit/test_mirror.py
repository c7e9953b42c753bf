"""The mirror between the programs' API and the cluster's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from clusters.kubernetes.watcher import Collection
from clusters.lab.kube import MemoryKube
from clusters.programs.mirror import MANAGED_BY, Mirror
from gardener.conditions import calico_is_up, route_condition
from gardener.manifests.admission import admit
from hitless.events import Event
from hitless.words import MILLISECOND, JsonObject, Kind, Nanoseconds
from tests.clocks import JumpingClock
from tests.event_contract import is_in_the_contract
from tests.recorders import ListRecorder

NODE = "node-a1"
PATIENCE_NS = 20 * MILLISECOND


@dataclass
class World:
    """The programs' API as what its watches tell, and the writes that reach it."""

    clock: JumpingClock = field(default_factory=JumpingClock)
    objects: dict[str, list[JsonObject]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    writes: list[JsonObject] = field(default_factory=list)
    version: int = 100

    def call(self, method: str, path: str, **request: Any) -> JsonObject:  # noqa: ANN401 - the body is JSON
        if path == "/api/v1":
            return {"resources": [{"name": "nodes", "kind": "Node", "namespaced": False}]}
        if method != "GET":
            self.version += 1
            self.writes.append(request.get("body") or {method: path})
        return {"metadata": {"resourceVersion": str(self.version)}}

    def patch(self, path: str, body: JsonObject, **_: str) -> JsonObject:
        return self.call("PATCH", path, body=body)

    def write(self, kind: Kind, name: str, *, is_told: bool = True, **content: Any) -> None:  # noqa: ANN401 - JSON
        """Write an object as the programs do; a watch that is late tells nothing yet."""
        self.version += 1
        metadata = {"name": name, "labels": {MANAGED_BY: "gardener"}, "resourceVersion": str(self.version)}
        others = [one for one in self.objects.get(kind.value, []) if one["metadata"]["name"] != name]
        self.objects[kind.value] = [*others, {"apiVersion": "v1", "kind": kind.value, "metadata": metadata, **content}]
        if is_told:
            self.told.add(kind.value)


class Told(Collection):
    """A collection that tells what the world says it has told."""

    def __init__(self, world: World, _resource: object, kind: str, _namespace: str = "") -> None:
        self.world, self.kind = world, kind
        self.known: tuple[JsonObject, ...] = tuple(world.objects.get(kind, ()))

    def start(self) -> None:
        """Nothing runs."""

    @property
    def objects(self) -> tuple[JsonObject, ...]:
        return self.known

    def read(self) -> tuple[JsonObject, ...]:
        self.known = tuple(self.world.objects.get(self.kind, ()))
        return self.known

    def take(self) -> tuple[JsonObject, ...] | None:
        if self.kind not in self.world.told:
            return None
        self.world.told.discard(self.kind)
        self.known = tuple(self.world.objects[self.kind])
        return self.known


@dataclass
class Rig:
    world: World
    kube: MemoryKube
    recorder: ListRecorder
    mirror: Mirror
    outward_ns: Nanoseconds | None = None
    """When the way outward is due."""
    written: list[Event] = field(default_factory=list)
    """What was seen that the programs wrote."""

    def look(self, after_ms: float = 0.0) -> list[tuple[str, Any]]:
        """Look once, this much later, and return the names of the events with their objects."""
        self.world.clock.wait_until(Nanoseconds(self.world.clock.now_ns() + round(after_ms * MILLISECOND)))
        now_ns = self.world.clock.now_ns()
        if Kind.NODE in self.kube.take_changes():
            self.outward_ns = now_ns
        if self.outward_ns is not None and now_ns >= self.outward_ns:
            self.outward_ns = self.mirror.outward.reconcile(now_ns)
        self.mirror.reconcile(now_ns)
        events, self.recorder.events[:] = list(self.recorder.events), []
        assert all(map(is_in_the_contract, events))
        self.written += [event for event in events if event.name == "object.written"]
        return [(one.name, one.facts.get("name", one.facts.get("node"))) for one in events if one.name != "object.written"]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("clusters.programs.mirror.Collection", Told)
    world = World()
    for kind, name in ((Kind.DAEMON_SET, "calico-node"), (Kind.IP_POOL, "pool"), (Kind.DEPLOYMENT, "calico-kube-controllers")):
        world.write(kind, name, spec={"is": "old"})
    kube = MemoryKube(admit=admit, clock=world.clock)
    node = {"kind": "Node", "metadata": {"name": NODE}, "spec": {}, "status": {"conditions": [calico_is_up()]}}
    kube.apply(node, actor="test")
    kube.replace_status(node, actor="test")
    recorder = ListRecorder(world.clock)
    mirror = Mirror(world, kube, "v3.28.4", recorder)  # type: ignore[arg-type]  # it is called as the API is
    mirror.start()
    mirror.begin()
    return Rig(world, kube, recorder, mirror)


def test_what_was_there_when_the_run_began_is_not_carried(rig: Rig) -> None:
    rig.world.told.add(Kind.DAEMON_SET.value)
    assert rig.look(0) + rig.look(PATIENCE_NS / MILLISECOND) == []


def test_what_the_watch_tells_only_after_the_run_began_was_there_before(rig: Rig) -> None:
    rig.world.write(Kind.IP_POOL, "pool", is_told=False, spec={"is": "late"})
    rig.mirror.begin()
    rig.world.told.add(Kind.IP_POOL.value)
    assert rig.look(0) + rig.look(PATIENCE_NS / MILLISECOND) == []
    assert rig.written == []


def test_it_is_recorded_between_which_two_looks_a_program_wrote(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_us = iter([100, 250])
    monkeypatch.setattr("clusters.programs.mirror.read_waited_us", lambda: next(waited_us))
    rig.look()
    rig.world.write(Kind.DAEMON_SET, "calico-node", spec={"is": "new", "template": {}})
    rig.look(after_ms=3)
    rig.look(after_ms=40)
    rig.world.write(Kind.IP_POOL, "pool", spec={"is": "new"})
    rig.look(after_ms=7)
    rig.look(after_ms=20)
    told = [(one.facts["name"], int(one.t_ns) - one.facts["after_ns"], one.facts["waited_us"]) for one in rig.written]
    assert told == [("calico-node", 3 * MILLISECOND, 100), ("pool", 7 * MILLISECOND, 250)]


def test_an_earlier_change_that_is_told_later_is_carried_first(rig: Rig) -> None:
    rig.world.write(Kind.DAEMON_SET, "calico-node", is_told=False, spec={"is": "new", "template": {}})
    rig.world.write(Kind.IP_POOL, "pool", spec={"is": "new"})
    assert rig.look() == []
    rig.world.told.add(Kind.DAEMON_SET.value)
    assert rig.look(after_ms=10) == []
    assert rig.look(after_ms=10) == [("manifest.applied", "calico-node"), ("manifest.applied", "pool")]
    assert rig.mirror.is_settled()


def test_two_changes_keep_their_distance(rig: Rig) -> None:
    rig.world.write(Kind.DAEMON_SET, "calico-node", spec={"is": "new", "template": {}})
    rig.look()
    rig.world.write(Kind.IP_POOL, "pool", spec={"is": "new"})
    rig.look(after_ms=15)
    assert rig.look(after_ms=5) == [("manifest.applied", "calico-node")]
    assert rig.look(after_ms=15) == [("manifest.applied", "pool")]


def test_what_is_being_deleted_is_gone(rig: Rig) -> None:
    (document,) = rig.world.objects[Kind.DEPLOYMENT.value]
    document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    rig.world.told.add(Kind.DEPLOYMENT.value)
    assert rig.look() + rig.look(after_ms=20) == [("object.deleted", "calico-kube-controllers")]


def test_a_condition_of_the_route_controller_reaches_the_cluster(rig: Rig) -> None:
    rig.world.write(Kind.NODE, NODE, status={"conditions": [route_condition(is_created=True)]})
    assert rig.look() == [("condition.written", NODE)]
    (condition,) = rig.kube.get(Kind.NODE, NODE)["status"]["conditions"]
    assert condition["reason"] == "RouteCreated"
    assert rig.world.writes == []


def test_what_comes_while_the_clusters_own_api_is_away_is_carried_later(rig: Rig) -> None:
    rig.kube.set_away(True)
    rig.world.write(Kind.NODE, NODE, status={"conditions": [route_condition(is_created=True)]})
    rig.world.write(Kind.IP_POOL, "pool", spec={"is": "new"})
    assert rig.look() + rig.look(after_ms=1000) == []
    rig.kube.set_away(False)
    assert rig.look(after_ms=1000) + rig.look(after_ms=20) == [("condition.written", NODE), ("manifest.applied", "pool")]


def test_a_condition_that_was_removed_stays_so_when_older_news_comes(rig: Rig) -> None:
    rig.world.write(Kind.NODE, NODE, is_told=False, status={"conditions": [calico_is_up()]})
    node = rig.kube.get(Kind.NODE, NODE)
    rig.kube.replace_status({**node, "status": {"conditions": []}}, actor="test")
    assert rig.look() == []
    assert rig.world.writes == [{"status": {"conditions": [{"type": "NetworkUnavailable", "$patch": "delete"}]}}]
    rig.world.told.add(Kind.NODE.value)
    assert rig.look() == []
    assert rig.kube.get(Kind.NODE, NODE)["status"]["conditions"] == []


def test_a_node_that_goes_and_comes_back_does_so_in_the_programs_api(rig: Rig) -> None:
    node = rig.kube.get(Kind.NODE, NODE)
    rig.kube.delete(Kind.NODE, NODE)
    rig.look()
    assert rig.world.writes == [{"DELETE": f"/api/v1/nodes/{NODE}"}]
    rig.kube.apply({"kind": "Node", "metadata": {"name": NODE}, "spec": {"podCIDR": "100.96.0.0/24"}}, actor="test")
    rig.kube.replace_status({**node, "metadata": {"name": NODE}}, actor="test")
    rig.look()
    created, condition = rig.world.writes[1:]
    assert created["spec"] == {"podCIDR": "100.96.0.0/24"}
    assert condition == {"status": {"conditions": [calico_is_up()]}}


def test_nodes_are_read_only_when_one_has_changed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.look()
    monkeypatch.setattr(rig.kube, "list", None)
    assert rig.look(after_ms=1000) == []
    rig.world.write(Kind.NODE, NODE, status={"conditions": [route_condition(is_created=True)]})
    assert rig.look() == [("condition.written", NODE)]


def test_news_of_a_node_that_has_just_gone_is_dropped(rig: Rig) -> None:
    rig.look()
    rig.kube.delete(Kind.NODE, NODE)
    rig.world.write(Kind.NODE, NODE, status={"conditions": [route_condition(is_created=True)]})
    rig.mirror.reconcile(rig.world.clock.now_ns())
    assert rig.recorder.events == []
    assert rig.look() == []
    assert rig.world.writes == [{"DELETE": f"/api/v1/nodes/{NODE}"}]


def test_calicos_images_are_those_that_the_clusters_nodes_have(rig: Rig) -> None:
    named = {"install-cni": "registry.example:5000/3rd/calico/cni@sha256:0", "other": "registry.example/autoscaler:v1"}
    pods = {
        "initContainers": [{"name": name, "image": image} for name, image in named.items()],
        "containers": [{"name": "calico-node", "image": "quay.io/calico/node:v3.31.6"}],
    }
    rig.world.write(Kind.DAEMON_SET, "calico-node", spec={"template": {"spec": pods}})
    rig.look()
    assert rig.look(after_ms=20) == [("manifest.applied", "calico-node")]
    carried = rig.kube.get(Kind.DAEMON_SET, "calico-node")["spec"]["template"]["spec"]
    assert [one["image"] for one in (*carried["initContainers"], *carried["containers"])] == [
        "quay.io/calico/cni:v3.28.4",
        "registry.example/autoscaler:v1",
        "quay.io/calico/node:v3.28.4",
    ]
    assert rig.mirror.is_settled()

"""Shoots, nodes and recorded events for the tests of gardener/."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from clusters.lab.kube import MemoryKube
from gardener.conditions import calico_is_up, route_condition
from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.route_controller import RouteControllerMode
from gardener.feature_gates import FeatureGates
from gardener.gate import Gate, decide
from gardener.manifests.admission import admit
from gardener.shoot import Shoot, load_shoot, parse_shoot
from gardener.timings import TIMINGS, Timings
from hitless.errors import RouteTableError
from hitless.facts import CloudRoute, NodeFacts
from hitless.loop import Loop
from hitless.words import SECOND, JsonObject, Mode, Nanoseconds, Profile
from switches.doubles import SwitchSpec, initial_objects, make_switch
from tests.clocks import JumpingClock, ms
from tests.recorders import ListRecorder
from tests.unit.histories import node_facts

SHOOTS = Path(__file__).parents[2] / "scenarios" / "shoots"
CONFIGURATIONS = SHOOTS.parent / "configurations"

ROUTE_CREATED = route_condition(is_created=True)
NO_ROUTE_CREATED = route_condition(is_created=False)
CALICO_IS_UP = calico_is_up()

NODES = node_facts()


def make_shoot(
    *,
    version: str = "1.36.1",
    feature_gate: bool | None = None,
    serves: tuple[str, ...] = (),
    network: Mapping[str, Any] | None = None,
    families: tuple[str, ...] = ("IPv4",),
) -> Shoot:
    """Build a Shoot; `network` is the NetworkConfig without its head, None for a Shoot without providerConfig."""
    server: dict[str, Any] = {"runtimeConfig": {f"admissionregistration.k8s.io/{name}": True for name in serves}}
    if feature_gate is not None:
        server["featureGates"] = {"MutatingAdmissionPolicy": feature_gate}
    networking: dict[str, Any] = {
        "type": "calico",
        "pods": "100.96.0.0/11",
        "nodes": "10.250.0.0/16",
        "ipFamilies": list(families),
    }
    if network is not None:
        head = {"apiVersion": "calico.networking.extensions.gardener.cloud/v1alpha1", "kind": "NetworkConfig"}
        networking["providerConfig"] = {**head, **network}
    document = {
        "apiVersion": "core.gardener.cloud/v1beta1",
        "kind": "Shoot",
        "metadata": {"name": "test"},
        "spec": {"kubernetes": {"version": version, "kubeAPIServer": server}, "networking": networking},
    }
    return parse_shoot(document, "test")


def shipped_shoot(name: str = "aws-1.36") -> Shoot:
    """Read a Shoot that the scenarios use."""
    return load_shoot(SHOOTS / f"{name}.yaml")


def make_node(name: str, *conditions: JsonObject, deleting: bool = False) -> JsonObject:
    """Build a Node with these conditions."""
    metadata: JsonObject = {"name": name}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {},
        "status": {"conditions": [ready, *conditions]},
    }


class MemoryTables:
    """RouteTables in memory, without any limit."""

    def __init__(self, zones: tuple[str, ...] = ("a", "b")) -> None:
        self._tables: dict[str, dict[str, CloudRoute]] = {zone: {} for zone in zones}

    def zones(self) -> tuple[str, ...]:
        return tuple(self._tables)

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        return tuple(route for _, route in sorted(self._tables[zone].items()))

    def create(self, route: CloudRoute) -> None:
        if route.cidr in self._tables[route.zone]:
            raise RouteTableError(f"RouteAlreadyExists: {route.cidr}")
        self._tables[route.zone][route.cidr] = route

    def delete(self, zone: str, cidr: str) -> None:
        if self._tables[zone].pop(cidr, None) is None:
            raise RouteTableError(f"InvalidRoute.NotFound: {cidr}")

    def fill(self, nodes: tuple[NodeFacts, ...]) -> None:
        for zone in self._tables:
            for node in nodes:
                self.create(CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name))


_START = ms(0)
_LONG = Nanoseconds(10 * SECOND)


class Bench:
    """A switch in memory, with a simulated clock."""

    def __init__(
        self,
        *,
        shoot: Shoot | None = None,
        start: Mode = Mode.OVERLAY,
        is_gated: bool = True,
        gate: Gate = decide,
        behaviour: CloudBehaviour | None = None,
        mode: RouteControllerMode = RouteControllerMode.FAITHFUL,
        timings: Timings = TIMINGS[Profile.FAST],
        nodes: tuple[NodeFacts, ...] = NODES,
    ) -> None:
        self.shoot = (shoot or shipped_shoot()).with_mode(start)
        self.clock = JumpingClock()
        self.kube = MemoryKube(admit=admit, clock=self.clock)
        self.tables = MemoryTables(tuple(dict.fromkeys(node.zone for node in nodes)))
        if start is Mode.NATIVE:
            self.tables.fill(nodes)
        self.recorder = ListRecorder(self.clock)
        for document in initial_objects(self.shoot, nodes):
            self.kube.apply(document, actor="test")
            if "status" in document:
                self.kube.replace_status(document, actor="test")
        self.wanted: list[Shoot] = []
        spec = SwitchSpec(
            shoot=self.shoot,
            wanted=self.wanted,
            feature_gates=FeatureGates(seamless_overlay_switch=is_gated),
            timings=timings,
            gate=gate,
            route_controller=mode,
            behaviour=behaviour or CloudBehaviour(),
        )
        self.switch = make_switch(spec, kube=self.kube, routes=self.tables, recorder=self.recorder, clock=self.clock)
        self.loop = Loop(self.switch.participants, self.kube, self.clock)

    def request(self, shoot: Shoot | None = None, *, at_ns: Nanoseconds = _START) -> None:
        """Plan the operator's request: by default, overlay off."""
        self.wanted.append(shoot or self.shoot.with_mode(Mode.NATIVE))
        self.loop.at(at_ns, partial(self.switch.request, len(self.wanted) - 1))

    def change(self, shoot: Shoot) -> None:
        """Make the operator's request now."""
        self.wanted.append(shoot)
        self.switch.request(len(self.wanted) - 1)

    def is_settled(self) -> bool:
        """Return whether no part has anything left to do."""
        return all(double.is_settled() for double in self.switch.participants)

    def run(self, until_ns: Nanoseconds = _LONG) -> bool:
        """Run until everything is settled after the request, or until the time is over; returns whether it settled."""
        requested = self.recorder.named

        def is_over() -> bool:
            return bool(requested("switch.requested")) and self.is_settled()

        return self.loop.run(is_over, until_ns)

    def run_for(self, until_ns: Nanoseconds) -> None:
        """Run until the time is over."""
        self.loop.run(lambda: False, until_ns)

    def names(self, *names: str) -> list[str]:
        """Return the names of the recorded events, all of them or only these."""
        return [event.name for event in self.recorder.events if not names or event.name in names]

    def times(self, name: str, /, **facts: object) -> list[int]:
        """Return when events of a name (and with these facts) were recorded, ns."""
        found = self.recorder.named(name)
        return [int(event.t_ns) for event in found if all(event.facts.get(key) == value for key, value in facts.items())]

    def facts(self, name: str) -> list[JsonObject]:
        """Return the facts of the events of a name."""
        return [event.facts for event in self.recorder.named(name)]

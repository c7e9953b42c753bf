"""The parts that perform the switch, built for one run, and the objects that a cluster has before it begins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gardener.conditions import calico_is_up, dated, route_condition
from gardener.doubles.cloud import Cloud, CloudBehaviour, Propagation
from gardener.doubles.control_plane import ControlPlane, RouteControllerPart
from gardener.doubles.extension import Extension
from gardener.doubles.route_controller import RouteController, RouteControllerMode
from gardener.feature_gates import FeatureGates
from gardener.gate import Gate, decide
from gardener.manifests.admission import policy_manifests
from gardener.manifests.chart_values import compute_values
from gardener.manifests.render import DEFAULT_POOL, pool_from_environment, render
from gardener.shoot import Shoot
from gardener.timings import Timings
from hitless.clock import read_wall_time
from hitless.events import Recorder
from hitless.facts import NodeFacts
from hitless.faults import Fault, FaultTable
from hitless.objects import make_object, name_of
from hitless.ports import Clock, KubeApi, Participant, RouteTables
from hitless.words import JsonObject, Mode, Nanoseconds


class ExtensionPart(Participant, Protocol):
    """The extension: a double, or a program."""

    def set_away(self, is_away: bool, at_ns: Nanoseconds) -> None:  # noqa: FBT001 - reads as what it does
        """Stop the process, or start it again."""

    def request(self, shoot: Shoot, at_ns: Nanoseconds) -> None:
        """Receive the Shoot of the operator's request."""

    def annotate(self, at_ns: Nanoseconds, /) -> None:
        """Look, because the Network was annotated."""

    def migrate(self) -> None:
        """Forget the written manifests: the control plane leaves its seed."""

    def restore(self, at_ns: Nanoseconds) -> None:
        """Start again in another seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Gardener's parts in one run; see `hitless.plan.Switch`."""

    extension: ExtensionPart
    control_plane: ControlPlane
    route_controller: RouteControllerPart
    cloud: Cloud
    """The route tables as the cloud's API offers them."""
    participants: tuple[Participant, ...]
    """Who takes part in the loop."""
    recorder: Recorder
    wanted: Sequence[Shoot]
    """See `SwitchSpec.wanted`."""
    clock: Clock

    @property
    def faults(self) -> FaultTable:
        """Faults of the parts themselves."""
        return FaultTable(
            {
                "route-controller-away": _take_away(self.route_controller, self.clock),
                "extension-away": _take_away(self.extension, self.clock),
                "network-annotated": Fault(inject=lambda _: self.extension.annotate(self.clock.now_ns()), cure=lambda _: None),
                "control-plane-migrated": self._migrate(),
            }
        )

    def request(self, number: int) -> None:
        """Do what the operator does: change the Shoot. Raises UsageError."""
        shoot = self.wanted[number]
        event = self.recorder.record("switch.requested", mode=shoot.mode.value)
        self.extension.request(shoot, event.t_ns)
        self.control_plane.request(shoot, event.t_ns)

    def _migrate(self) -> Fault:
        """Return the fault of a control plane that moves to another seed."""

        def leave(_: JsonObject) -> None:
            self.extension.migrate()
            self.route_controller.scale(0, self.clock.now_ns())

        def arrive(_: JsonObject) -> None:
            self.control_plane.restore(self.clock.now_ns())
            self.extension.restore(self.clock.now_ns())

        return Fault(inject=leave, cure=arrive)


def _take_away(part: ExtensionPart | RouteControllerPart, clock: Clock) -> Fault:
    """Return the fault that stops a part."""
    return Fault(
        inject=lambda _: part.set_away(is_away=True, at_ns=clock.now_ns()),
        cure=lambda _: part.set_away(is_away=False, at_ns=clock.now_ns()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSpec:
    """Settings of the parts in one run."""

    shoot: Shoot
    """The Shoot before the operator's request."""
    wanted: Sequence[Shoot] = ()
    """The Shoot after each of the operator's requests."""
    feature_gates: FeatureGates
    """Of the Calico extension."""
    timings: Timings
    gate: Gate = decide
    """Who decides: the real decision or a mutant."""
    route_controller: RouteControllerMode = RouteControllerMode.FAITHFUL
    """What RouteCreated means."""
    behaviour: CloudBehaviour = field(default_factory=CloudBehaviour)
    """Of the cloud, where the route tables are not behind a Cloud already."""


def make_switch(
    spec: SwitchSpec,
    *,
    kube: KubeApi,
    routes: RouteTables,
    recorder: Recorder,
    clock: Clock,
    extension: ExtensionPart | None = None,
    route_controller: RouteControllerPart | None = None,
) -> Switch:
    """Build the parts for one run, over an API that holds `initial_objects`.

    A Cloud is used as it is; other route tables get one around them. A part that is given takes the double's place; the cluster
    lets a given route controller take part in the loop.

    Raises:
        UsageError: the Shoot needs an unsupported feature (eBPF).
    """
    shoot, timings = spec.shoot, spec.timings
    cloud = routes if isinstance(routes, Cloud) else Cloud(routes, spec.behaviour, clock)
    double = RouteController(
        kube=kube,
        cloud=cloud,
        recorder=recorder,
        timings=timings,
        mode=spec.route_controller,
        replicas=1 if shoot.mode is Mode.NATIVE else 0,
    )
    controller = route_controller or double
    extension = extension or Extension(
        kube=kube,
        recorder=recorder,
        timings=timings,
        gate=spec.gate,
        feature_gates=spec.feature_gates,
        shoot=shoot,
        written=render(shoot, spec.feature_gates),
    )
    control_plane = ControlPlane(kube=kube, recorder=recorder, timings=timings, shoot=shoot, controller=controller)
    later = (Propagation(cloud=cloud, recorder=recorder),) if cloud.behaviour.effective_ns else ()
    return Switch(
        extension=extension,
        control_plane=control_plane,
        route_controller=controller,
        cloud=cloud,
        participants=(extension, control_plane, *(() if route_controller else (double,)), *later),
        recorder=recorder,
        wanted=spec.wanted,
        clock=clock,
    )


def calico_objects(shoot: Shoot, feature_gates: FeatureGates) -> tuple[JsonObject, ...]:
    """Return Calico's objects in a cluster that was made from a Shoot, the pool that calico-node makes itself included.

    Raises:
        UsageError: the Shoot needs an unsupported feature (eBPF).
    """
    manifests = render(shoot, feature_gates)
    if DEFAULT_POOL in {name_of(document) for document in manifests}:
        return manifests
    return (*manifests, pool_from_environment(shoot, feature_gates))


def initial_objects(
    shoot: Shoot, nodes: Sequence[NodeFacts], feature_gates: FeatureGates | None = None
) -> tuple[JsonObject, ...]:
    """Return what a cluster has before the request: Nodes, then the manifests in apply order.

    A cluster applies them one after the other, and then writes the Nodes' status: an apply does not change the status.
    """
    gates = feature_gates or FeatureGates()
    mode = compute_values(shoot, gates).mode
    return (*(make_node(node, mode) for node in nodes), *calico_objects(shoot, gates), *policy_manifests(shoot))


def make_node(facts: NodeFacts, mode: Mode) -> JsonObject:
    """Return the Node object of an AWS node: what kubelet, kube-controller-manager and the cloud left on it.

    The condition is calico-node's while the overlay is on, the route controller's in native mode.
    """
    instance = f"i-{hashlib.sha256(facts.name.encode()).hexdigest()[:17]}"
    network = dated(calico_is_up() if mode is Mode.OVERLAY else route_condition(is_created=True), read_wall_time())
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return make_object(
        *("v1", "Node", facts.name),
        labels={"kubernetes.io/hostname": facts.name, "topology.kubernetes.io/zone": facts.zone},
        spec={
            "podCIDR": facts.pod_cidr,
            "podCIDRs": [cidr for cidr in (facts.pod_cidr, facts.pod_cidr6) if cidr],
            "providerID": f"aws:///{facts.zone}/{instance}",
        },
        status={
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in (facts.address, facts.address6) if address),
                {"type": "Hostname", "address": facts.name},
            ],
            "conditions": [ready, network],
        },
    )

"""Fakes for tests of the lab's doubles: planes that remember, a recorder, and a whole world on a simulated clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from clusters.lab.calico.daemon_set import DaemonSetRoll, start_pods
from clusters.lab.calico.node import make_calico_nodes
from clusters.lab.calico.plane import RouteChange
from clusters.lab.kube import MemoryKube
from gardener.feature_gates import FeatureGates
from gardener.manifests.admission import admit, policy_manifests
from gardener.manifests.render import render
from gardener.shoot import Shoot
from gardener.timings import TIMINGS, Timings
from hitless.calico import PROTOCOL_BIRD, PROTOCOL_FELIX, TUNNEL_DEVICES
from hitless.errors import WorldError
from hitless.facts import NodeFacts, NodeState
from hitless.loop import Loop
from hitless.ports import Participant
from hitless.words import MILLISECOND, JsonObject, Kind, Mode, Nanoseconds, Overlay, Profile
from tests.clocks import JumpingClock, ms
from tests.recorders import ListRecorder
from tests.unit import fakes_gardener
from tests.unit.histories import node_facts

OPERATOR = "gardener-resource-manager"
ROUTE_CREATED = {"type": "NetworkUnavailable", "status": "False", "reason": "RouteCreated"}


class FakePlane:
    """A NodePlane that holds its routes in a dict and refuses what a kernel refuses.

    Args:
        facts: the node.
        nodes: all nodes; their blocks are their podCIDRs.
        overlay: the encapsulation.
        clock: dates the changes, which take no time.
    """

    def __init__(self, facts: NodeFacts, nodes: Collection[NodeFacts], overlay: Overlay, clock: JumpingClock) -> None:
        self.node = facts.name
        self.overlay = overlay
        self.routes: dict[str, Mode] = {}
        self.has_blackhole = False
        self.has_tunnel = False
        self.calls: list[tuple[float, str]] = []
        self._facts = facts
        self._peers = {node.name: node for node in nodes if node.name != facts.name}
        self._clock = clock

    def repoint(self, mode: Mode, peers: Collection[str]) -> RouteChange:
        self._check(peers)
        if mode is Mode.OVERLAY and not self.has_tunnel:
            raise WorldError(f"{self.node}: no tunnel device for a route")
        self.routes.update(dict.fromkeys(peers, mode))
        return self._change(f"repoint {mode}", len(peers))

    def withdraw(self, peers: Collection[str]) -> RouteChange:
        self._check(peers)
        gone = [self.routes.pop(peer) for peer in peers if peer in self.routes]
        return self._change("withdraw", len(gone))

    def cleanup_routes(self) -> RouteChange:
        is_bird = self.overlay is Overlay.IPIP
        gone = [peer for peer, mode in self.routes.items() if is_bird or mode is Mode.NATIVE]
        for peer in gone:
            del self.routes[peer]
        removed = len(gone) + (self.has_blackhole and is_bird)
        self.has_blackhole = self.has_blackhole and not is_bird
        return self._change("cleanup_routes", removed)

    def set_blackhole(self, *, present: bool) -> RouteChange:
        changed = present is not self.has_blackhole
        self.has_blackhole = present
        return self._change(f"blackhole {present}", int(changed))

    def set_tunnel(self, *, present: bool) -> None:
        self.has_tunnel = present
        if not present:
            self.routes = {peer: mode for peer, mode in self.routes.items() if mode is not Mode.OVERLAY}
        self._change(f"tunnel {present}", 0)

    def set_pools(self, *, masqueraded: Collection[str], spared: Collection[str]) -> None:
        self.masqueraded, self.spared = frozenset(masqueraded), frozenset(spared)

    def state(self) -> NodeState:
        devices = ("eth0", TUNNEL_DEVICES[self.overlay]) if self.has_tunnel else ("eth0",)
        routes = [self._route(self._peers[peer], mode) for peer, mode in self.routes.items()]
        if self.has_blackhole:
            routes.append({"dst": self._facts.pod_cidr, "type": "blackhole", "protocol": self._overlay_protocol})
        return NodeState(node=self.node, routes=tuple(routes), devices=devices)

    @property
    def _overlay_protocol(self) -> int:
        return PROTOCOL_FELIX if self.overlay is Overlay.VXLAN else PROTOCOL_BIRD

    def _route(self, peer: NodeFacts, mode: Mode) -> JsonObject:
        if mode is Mode.OVERLAY:
            device, protocol, via = TUNNEL_DEVICES[self.overlay], self._overlay_protocol, peer.address
        else:
            is_neighbour = peer.zone == self._facts.zone
            device, protocol, via = "eth0", PROTOCOL_BIRD, peer.address if is_neighbour else self._facts.gateway
        return {"dst": peer.pod_cidr, "type": "unicast", "protocol": protocol, "dev": device, "via": via}

    def _check(self, peers: Collection[str]) -> None:
        strangers = sorted(set(peers) - set(self._peers))
        if strangers:
            raise WorldError(f"{self.node}: no peer: {', '.join(strangers)}")

    def _change(self, what: str, routes: int) -> RouteChange:
        now = self._clock.now_ns()
        self.calls.append((now / MILLISECOND, what))
        return RouteChange(routes=routes, began_ns=now, ended_ns=now)


def make_shoot(mode: Mode = Mode.OVERLAY, encapsulation: Overlay = Overlay.IPIP, **network: str | JsonObject) -> Shoot:
    overlay = {"overlay": {"enabled": mode is Mode.OVERLAY}, "vxlan": {"enabled": encapsulation is Overlay.VXLAN}}
    return fakes_gardener.make_shoot(network={**overlay, **network})


@dataclass
class World:
    """A lab without a kernel: the API, the planes, the doubles and the loop."""

    shoot: Shoot = field(default_factory=make_shoot)
    nodes: tuple[NodeFacts, ...] = field(default_factory=node_facts)
    timings: Timings = TIMINGS[Profile.FAST]
    gap_ms: float = 10
    """Between two manifests: longer than gardener-resource-manager takes, so that one thing happens after the other."""

    def __post_init__(self) -> None:
        self.clock = JumpingClock()
        self.recorder = ListRecorder(self.clock)
        self.kube = MemoryKube(admit=admit, clock=self.clock)
        for node in self.nodes:
            spec = {"podCIDR": node.pod_cidr}
            document = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}, "spec": spec}
            self.kube.apply(document, actor=OPERATOR)
        for document in render(self.shoot, FeatureGates()):
            self.kube.apply(document, actor=OPERATOR)
        start_pods(self.kube, self.nodes)
        self.planes = {node.name: FakePlane(node, self.nodes, self.shoot.overlay, self.clock) for node in self.nodes}
        self._build_planes()
        self.roll = DaemonSetRoll(kube=self.kube, recorder=self.recorder)
        self.calico = make_calico_nodes(self.nodes, self.planes, kube=self.kube, recorder=self.recorder, timings=self.timings)
        self.participants: tuple[Participant, ...] = (*self.calico, self.roll)
        self.loop = Loop(self.participants, self.kube, self.clock)

    def _build_planes(self) -> None:
        names = set(self.planes)
        network = self.shoot.network
        has_bird = bool(network and network.overlay and network.overlay.create_pod_routes)
        if self.shoot.mode is Mode.OVERLAY or has_bird:
            for plane in self.planes.values():
                plane.has_tunnel = self.shoot.mode is Mode.OVERLAY
                plane.has_blackhole = True
                plane.routes = dict.fromkeys(names - {plane.node}, self.shoot.mode)

    def request(self, shoot: Shoot, at_ms: float = 0, kinds: Collection[Kind] = tuple(Kind)) -> None:
        """Apply a Shoot's manifests as gardener-resource-manager does, the gap between them included."""
        documents = [*policy_manifests(shoot), *render(shoot, FeatureGates())]
        for position, document in enumerate(item for item in documents if item["kind"] in kinds):
            self.apply_at(at_ms + position * self.gap_ms, document)

    def apply_at(self, at_ms: float, document: JsonObject) -> None:
        self.loop.at(ms(at_ms), lambda: self.apply(document))

    def apply(self, document: JsonObject) -> None:
        self.kube.apply(document, actor=OPERATOR)

    def is_settled(self) -> bool:
        return all(double.is_settled() for double in self.participants)

    def run(self, until_ms: float) -> None:
        self.loop.run(lambda: False, Nanoseconds(round(until_ms * MILLISECOND)))

    def run_until_settled(self, after_ms: float, limit_ms: float = 60_000) -> float:
        """Run for a while, then until everything is settled; returns when that was, ms."""
        self.run(after_ms)
        settled = self.loop.run(self.is_settled, Nanoseconds(round(limit_ms * MILLISECOND)))
        assert settled, [double.name for double in self.participants if not double.is_settled()]
        return self.clock.now_ns() / MILLISECOND

    def condition(self, node: str) -> JsonObject | None:
        conditions = self.kube.get(Kind.NODE, node).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == "NetworkUnavailable"), None)


def fast(**changes: Any) -> Timings:  # noqa: ANN401 - nanoseconds, or a tuple of them
    """Return the fast profile with some values changed."""
    return replace(TIMINGS[Profile.FAST], **changes)

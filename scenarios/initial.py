"""Initial state of a cluster beside that of its Shoot: conditions and cloud routes from earlier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from gardener.conditions import calico_is_down, calico_is_up, dated, other_conditions, route_condition
from gardener.doubles.control_plane import ControlPlane
from gardener.doubles.route_controller import USER
from hitless.clock import read_wall_time
from hitless.documents import MisfitError
from hitless.events import Recorder
from hitless.facts import CloudRoute, ClusterFacts
from hitless.plural import plural
from hitless.ports import KubeApi, RouteTables
from hitless.words import JsonObject, Kind
from scenarios.parts import Strict

Reason = Literal["RouteCreated", "NoRouteCreated", "CalicoIsUp", "CalicoIsDown", "RouteCreated/Unknown", "absent"]
"""Of a condition as its writer writes it; after a slash, the status to which a patch by hand has changed it."""

ALL_NODES: Final = "all"

_CONDITIONS: Final[Mapping[str, JsonObject]] = {
    "RouteCreated": route_condition(is_created=True),
    "NoRouteCreated": route_condition(is_created=False),
    "CalicoIsUp": calico_is_up(),
    "CalicoIsDown": calico_is_down(),
    "RouteCreated/Unknown": {**route_condition(is_created=True), "status": "Unknown"},
}
_NOT_READY: Final[JsonObject] = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady",
}
"""Source: kubernetes pkg/kubelet/nodestatus/setters.go ReadyCondition, pkg/kubelet/runtime.go networkErrors."""


class Initial(Strict):
    """Initial state before the first request; default: that of the Shoot."""

    conditions: dict[str, Reason] = Field(default_factory=dict)
    """Node (or `all`) to the reason of its NetworkUnavailable, `absent` for none."""
    tables: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Zone to the nodes to which its route table has a route."""
    manifest: Literal["readable", "unreadable"] = "readable"
    """Whether the extension can read what it wrote last; gardener-resource-manager can in either case."""
    deleting: tuple[str, ...] = ()
    """Nodes whose deletion has begun and does not end: a finalizer holds the object."""
    not_ready: tuple[str, ...] = ()
    """Nodes that are not Ready because their CNI configuration is gone; pods in a node's own network are replaced as ever."""

    def check(self, zones: frozenset[str], nodes: frozenset[str], quota: Mapping[str, int]) -> None:
        """Refuse nodes and zones that do not exist, and tables beyond their quota. Raises MisfitError."""
        if ALL_NODES in self.conditions and len(self.conditions) > 1:
            raise MisfitError("initial.conditions", ", ".join(self.conditions), f"{ALL_NODES} alone, or names of nodes")
        named = {
            "initial.conditions": set(self.conditions) - {ALL_NODES},
            "initial.deleting": set(self.deleting),
            "initial.not_ready": set(self.not_ready),
            **{f"initial.tables.{zone}": set(held) for zone, held in self.tables.items()},
        }
        for place, names in named.items():
            if unknown := sorted(names - nodes):
                raise MisfitError(place, unknown[0], f"nodes of the topology: {', '.join(sorted(nodes))}")
        for zone, held in self.tables.items():
            if zone not in zones:
                raise MisfitError("initial.tables", f"zone {zone}", f"the topology's zones {', '.join(sorted(zones))}")
            if len(held) > quota.get(zone, len(held)):
                raise MisfitError(f"initial.tables.{zone}", plural(len(held), "route"), f"at most the quota, {quota[zone]}")

    def prepare(self, kube: KubeApi, tables: RouteTables, facts: ClusterFacts, recorder: Recorder) -> None:
        """Write these conditions and routes. Raises ApiError, RouteTableError."""
        called = {name: label for label, name in facts.node_names.items()}
        for node in facts.nodes:
            self._prepare_node(kube, node.name, called[node.name])
        for zone, held in self.tables.items():
            nodes = [node for node in facts.nodes if called[node.name] in held]
            wanted = {node.pod_cidr: CloudRoute(zone=zone, cidr=node.pod_cidr, node=node.name) for node in nodes}
            for route in tables.list(zone):
                if wanted.get(route.cidr) != route:
                    tables.delete(zone, route.cidr)
                    _record(recorder, "route.deleted", route)
            present = tables.list(zone)
            for route in wanted.values():
                if route not in present:
                    tables.create(route)
                    _record(recorder, "route.created", route)

    def _prepare_node(self, kube: KubeApi, name: str, label: str) -> None:
        reason = self.conditions.get(label) or self.conditions.get(ALL_NODES)
        if reason == "absent":
            _remove_condition(kube, name)
        elif reason is not None:
            _set_condition(kube, name, _CONDITIONS[reason])
        if label in self.not_ready:
            _set_condition(kube, name, _NOT_READY)
        if label in self.deleting:
            document = kube.get(Kind.NODE, name)
            document["metadata"]["deletionTimestamp"] = read_wall_time()
            kube.apply(document, actor=USER)


def _record(recorder: Recorder, name: str, route: CloudRoute) -> None:
    recorder.record(name, zone=route.zone, cidr=route.cidr, node=route.node, began_ns=0)


def _set_condition(kube: KubeApi, node: str, condition: JsonObject) -> None:
    kube.merge_condition(node, dated(condition, read_wall_time()), actor=USER)


def _remove_condition(kube: KubeApi, node: str) -> None:
    """Remove NetworkUnavailable: a patch cannot, and the route controller may not write anything else."""
    document = kube.get(Kind.NODE, node)
    document["status"]["conditions"] = list(other_conditions(document))
    kube.replace_status(document, actor=ControlPlane.name)

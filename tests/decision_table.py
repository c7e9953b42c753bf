"""The decision table: what the gate decides, one row per case.

The unit tests ask the gate every row. The suites and `python -m tests.mutants` ask the gates that are broken on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from gardener.conditions import calico_is_down
from gardener.feature_gates import FeatureGates
from gardener.gate import Gate, GateDecision, GateInput, Outcome, Reason, decide
from gardener.manifests.render import render
from gardener.releases import RELEASES
from hitless.words import JsonObject
from tests.unit.fakes_gardener import CALICO_IS_UP, NO_ROUTE_CREATED, ROUTE_CREATED, make_node, make_shoot

ON = FeatureGates(seamless_overlay_switch=True)
OFF = FeatureGates()
OVERLAY_ON: dict[str, Any] = {"overlay": {"enabled": True}}
OVERLAY_OFF: dict[str, Any] = {"overlay": {"enabled": False}}
VXLAN_ON: dict[str, Any] = {"overlay": {"enabled": True}, "vxlan": {"enabled": True}}
VXLAN_KEPT: dict[str, Any] = {"overlay": {"enabled": False}, "vxlan": {"enabled": True}}
PLAIN: dict[str, Any] = {}
READY = (make_node("a", ROUTE_CREATED), make_node("b", ROUTE_CREATED))
WAITING = (make_node("a", ROUTE_CREATED), make_node("b"), make_node("c"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A case: by default everything is there and the gate opens."""

    case: str
    gates: FeatureGates = ON
    version: str = "1.36.1"
    feature_gate: bool | None = None
    serves: tuple[str, ...] = ()
    families: tuple[str, ...] = ("IPv4",)
    before: dict[str, Any] | None = field(default_factory=lambda: OVERLAY_ON)
    after: dict[str, Any] | None = field(default_factory=lambda: OVERLAY_OFF)
    readable: bool = True
    nodes: tuple[JsonObject, ...] | None = READY
    outcome: Outcome = Outcome.PROCEED
    reason: Reason | None = None
    missing: tuple[str, ...] = ()


def not_applicable(case: str, reason: Reason, **row: Any) -> Row:  # noqa: ANN401 - fields of Row
    return Row(case=case, outcome=Outcome.NOT_APPLICABLE, reason=reason, **row)


def hold(case: str, *missing: str, **row: Any) -> Row:  # noqa: ANN401 - fields of Row
    return Row(case=case, outcome=Outcome.HOLD, missing=missing, **row)


V1BETA1 = ("v1beta1",)


def not_ready(node: JsonObject) -> JsonObject:
    node["status"]["conditions"][0]["status"] = "False"
    return node


POLICY = Reason.ADMISSION_POLICY_UNAVAILABLE
NO_SWITCH = Reason.NO_SWITCH_FROM_OVERLAY

ROWS = [
    Row(case="everything is there"),
    not_applicable("feature gate off", Reason.FEATURE_GATE_OFF, gates=OFF),
    not_applicable("feature gate off, nodes missing", Reason.FEATURE_GATE_OFF, gates=OFF, nodes=WAITING),
    # Which Kubernetes versions and settings make the admission policy available.
    Row(case="1.36.0"),
    Row(case="1.36.0 pre-release", version="1.36.0-rc.1"),
    Row(case="1.37", version="1.37.2"),
    *[
        not_applicable(f"{release} on 1.34 with v1beta1 alone", POLICY, version="1.34.4", feature_gate=True, serves=V1BETA1,
            gates=replace(ON, release=RELEASES[release]))
        for release in ("v1.57", "v1.58")
    ],
    hold("v1.58 with createPodRoutes, another setting changes", "b", "c", gates=replace(ON, release=RELEASES["v1.58"]),
        before={"overlay": {"enabled": False, "createPodRoutes": True}},
        after={"overlay": {"enabled": False, "createPodRoutes": True}, "vethMTU": "1430"}, nodes=WAITING),
    Row(case="1.36, admission feature off, which cannot be", feature_gate=False),
    *[
        not_applicable(f"{version}, {feature}, {serves}", POLICY, version=version, feature_gate=feature, serves=serves)
        for version in ("1.33.9", "1.34.4", "1.35.0")
        for feature, serves in (
            (None, ()),
            (True, ()),
            (None, ("v1alpha1",)),
            (None, ("v1beta1",)),
            (False, ("v1alpha1", "v1beta1")),
            (True, ("v1",)),
        )
    ],
    *[
        Row(case=f"{version} with {serves}", version=version, feature_gate=True, serves=serves)
        for version in ("1.33.9", "1.34.4", "1.35.0")
        for serves in (("v1alpha1",), ("v1beta1",), ("v1alpha1", "v1beta1"))
    ],
    not_applicable("1.35, policy not available, nodes missing", POLICY, version="1.35.0", nodes=WAITING),
    # From which overlay to which.
    *[
        Row(case=f"from {name} to off", before=before)
        for name, before in (("true", OVERLAY_ON), ("no section", PLAIN), ("no providerConfig", None), ("vxlan", VXLAN_ON))
    ],
    Row(case="vxlan to off, vxlan.enabled kept", before=VXLAN_ON, after=VXLAN_KEPT),
    *[
        not_applicable(f"from {before} to {after}", NO_SWITCH, before=before, after=after, nodes=WAITING)
        for before in (OVERLAY_ON, VXLAN_ON, OVERLAY_OFF, PLAIN, None)
        for after in (OVERLAY_ON, VXLAN_ON, PLAIN, None)
    ],
    not_applicable("from off to off", NO_SWITCH, before=OVERLAY_OFF, nodes=WAITING),
    not_applicable("off with createPodRoutes, another setting changes", NO_SWITCH,
        before={"overlay": {"enabled": False, "createPodRoutes": True}},
        after={"overlay": {"enabled": False, "createPodRoutes": True}, "vethMTU": "1430"}, nodes=WAITING),
    not_applicable("another setting changes, overlay stays", NO_SWITCH, after={**OVERLAY_ON, "vethMTU": "1430"}, nodes=WAITING),
    not_applicable("dual-stack IPIP: rendered as off, so it never fires", NO_SWITCH, families=("IPv4", "IPv6"), nodes=WAITING),
    not_applicable("last manifest unreadable: fails open", Reason.MANIFEST_UNREADABLE, readable=False, nodes=WAITING),
    # What the nodes say.
    Row(case="no node at all", nodes=()),
    hold("one absent", "b", nodes=(make_node("a", ROUTE_CREATED), make_node("b"))),
    hold("all that are missing are named", "b", "c", nodes=WAITING),
    hold("True NoRouteCreated", "a", nodes=(make_node("a", NO_ROUTE_CREATED),)),
    hold("True CalicoIsDown", "a", nodes=(make_node("a", calico_is_down()),)),
    hold("False CalicoIsUp", "a", nodes=(make_node("a", CALICO_IS_UP),)),
    hold("True RouteCreated", "a", nodes=(make_node("a", {**ROUTE_CREATED, "status": "True"}),)),
    hold("Unknown RouteCreated", "a", nodes=(make_node("a", {**ROUTE_CREATED, "status": "Unknown"}),)),
    hold("another condition says RouteCreated", "a", nodes=(make_node("a", {**ROUTE_CREATED, "type": "Ready"}),)),
    hold("no status at all", "a", nodes=({"kind": "Node", "metadata": {"name": "a"}},)),
    hold("a deleting node without route", "a", nodes=(make_node("a", deleting=True),)),
    hold("False routecreated, in small letters", "a", nodes=(make_node("a", {**ROUTE_CREATED, "reason": "routecreated"}),)),
    Row(case="a node that is not Ready, with route", nodes=(not_ready(make_node("a", ROUTE_CREATED)),)),
    Row(case="a deleting node with route", nodes=(make_node("a", ROUTE_CREATED, deleting=True),)),
    Row(case="duplicate entries, the second matches", nodes=(make_node("a", CALICO_IS_UP, ROUTE_CREATED),)),
    Row(case="duplicate entries, the first matches", nodes=(make_node("a", ROUTE_CREATED, NO_ROUTE_CREATED),)),
    hold("duplicate entries, none matches", "a", nodes=(make_node("a", CALICO_IS_UP, NO_ROUTE_CREATED),)),
    hold("API not reachable", nodes=None),
    not_applicable("API not reachable, no switch", NO_SWITCH, after=OVERLAY_ON, nodes=None),
]  # fmt: skip


def ask(row: Row, gate: Gate = decide) -> GateDecision:
    """Return what a gate decides in a case."""
    before = make_shoot(network=row.before, families=row.families)
    after = make_shoot(
        version=row.version, feature_gate=row.feature_gate, serves=row.serves, network=row.after, families=row.families
    )
    return gate(
        GateInput(
            feature_gates=row.gates,
            shoot=after,
            last_manifest=render(before, row.gates) if row.readable else None,
            nodes=row.nodes,
            api_error="connection refused" if row.nodes is None else None,
        )
    )

"""The gate's decision: one row a case."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.conditions import calico_is_down
from gardener.doubles.mutants import MUTANTS
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


@pytest.mark.parametrize("row", ROWS, ids=[row.case for row in ROWS])
def test_case(row: Row) -> None:
    decision = ask(row)
    assert (row.outcome, row.reason, row.missing) == (decision.outcome, decision.reason, decision.missing)


def test_an_empty_manifest_is_unreadable() -> None:
    decision = decide(GateInput(feature_gates=ON, shoot=make_shoot(network=OVERLAY_OFF), last_manifest=(), nodes=()))
    assert decision.reason is Reason.MANIFEST_UNREADABLE


def test_any_container_of_calico_node_may_carry_the_variable() -> None:
    manifest = render(make_shoot(network=OVERLAY_OFF), OFF)
    containers = manifest[1]["spec"]["template"]["spec"]["containers"]
    containers[0]["env"].append({"name": "FELIX_VXLANENABLED", "value": "true"})
    decision = decide(GateInput(feature_gates=ON, shoot=make_shoot(network=OVERLAY_OFF), last_manifest=manifest, nodes=()))
    assert decision.outcome is Outcome.PROCEED


def test_mutant_opens_on_the_first_node() -> None:
    nodes = (make_node("a"), make_node("b", ROUTE_CREATED), make_node("c", NO_ROUTE_CREATED))
    row = Row(case="", nodes=nodes)
    assert ask(row).outcome is Outcome.HOLD
    assert ask(row, MUTANTS["opens-on-first-node"]).outcome is Outcome.PROCEED
    assert ask(Row(case="", nodes=(make_node("a"),)), MUTANTS["opens-on-first-node"]).missing == ("a",)


def test_mutant_ignores_the_reason() -> None:
    row = Row(case="", nodes=(make_node("a", CALICO_IS_UP),))
    assert ask(row).outcome is Outcome.HOLD
    assert ask(row, MUTANTS["ignores-reason"]).outcome is Outcome.PROCEED
    assert ask(Row(case="", nodes=(make_node("a"),)), MUTANTS["ignores-reason"]).missing == ("a",)


conditions = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["NetworkUnavailable", "Ready"]),
            "status": st.sampled_from(["True", "False", "Unknown"]),
            "reason": st.sampled_from(["RouteCreated", "NoRouteCreated", "CalicoIsUp", "CalicoIsDown"]),
        }
    ),
    max_size=3,
)
MANIFEST = render(make_shoot(network=OVERLAY_ON), OFF)


def knowledge(of: list[list[JsonObject]]) -> GateInput:
    nodes = [make_node(f"node-{number}", *entries) for number, entries in enumerate(of)]
    return GateInput(feature_gates=ON, shoot=make_shoot(network=OVERLAY_OFF), last_manifest=MANIFEST, nodes=nodes)


@given(st.lists(conditions, max_size=4))
def test_it_proceeds_exactly_when_no_node_is_missing(of: list[list[JsonObject]]) -> None:
    decision = decide(knowledge(of))
    assert (decision.outcome is Outcome.PROCEED) == (decision.missing == ())
    assert (decision.outcome is Outcome.HOLD) == (decision.error is not None)


@given(st.lists(conditions, max_size=4))
def test_a_mutant_that_opens_too_early_never_holds_where_the_gate_proceeds(of: list[list[JsonObject]]) -> None:
    early = [gate for name, gate in MUTANTS.items() if name.startswith(("opens-", "ignores-", "takes-", "looks-", "forgets-"))]
    if decide(knowledge(of)).outcome is Outcome.PROCEED:
        assert [gate(knowledge(of)).outcome for gate in early] == [Outcome.PROCEED] * len(early)

"""The gate's decision: what the decision table says, and what is true of all inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.doubles.mutants import MUTANTS
from gardener.gate import GateInput, Outcome, Reason, decide
from gardener.manifests.render import render
from hitless.words import JsonObject
from tests.decision_table import OFF, ON, OVERLAY_OFF, OVERLAY_ON, ROWS, Row, ask
from tests.unit.fakes_gardener import CALICO_IS_UP, NO_ROUTE_CREATED, ROUTE_CREATED, make_node, make_shoot


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

"""Cases of the shipped scenarios."""

from __future__ import annotations

from typing import Any

from hitless.words import FlowSet
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Case, Options, make_case


def case_of(scenario: str = "plain-switch", *flow_sets: FlowSet, **options: Any) -> Case:  # noqa: ANN401 - fields of Options
    """Return the case of a shipped scenario with these options; `flow_sets` replace its own, beside small UDP."""
    loaded = load_scenario(find_scenario(scenario))
    if flow_sets:
        both = (FlowSet.UDP, *flow_sets)
        flows = type(loaded.flows)(fast=both, gardener=both)
        loaded = loaded.model_copy(update={"flows": flows})
    return make_case(loaded, Options(**options))

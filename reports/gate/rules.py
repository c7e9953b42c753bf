"""The rules of the release gate, from a YAML file or built in, and their findings.

What stops a release is stated before anything is compared. The built-in rules are the defaults of the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum, unique
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hitless.documents import MisfitError, validate
from hitless.errors import UsageError
from hitless.words import JsonObject
from scenarios.model import SCENARIO_NAME

ScenarioName = Annotated[str, Field(pattern=SCENARIO_NAME, max_length=60)]
_Sentence = Annotated[str, Field(min_length=1, max_length=400, pattern=r"\S")]


@unique
class RuleName(StrEnum):
    """Rules of the release gate. All but the last are absolute: only the candidate counts."""

    SCENARIO_PRESENT = "scenario-present"
    """Every required scenario was run, with every arm that it has."""
    EXPECTED_VERDICT = "expected-verdict"
    """Every trial has the verdict that the scenario expects of its arm."""
    GATED_DOWNTIME = "gated-downtime"
    """GATED lost no probe, where the scenario expects PASS."""
    UNGATED_SENSITIVITY = "ungated-sensitivity"
    """Every ungated trial shows an outage, where the scenario expects one: a loss would have been seen."""
    CONTROLS_SILENT = "controls-silent"
    """Flows within a node lost no probe."""
    BOOKS_BALANCED = "books-balanced"
    """The kernel's counters account for every lost probe."""
    MUTANT_CAUGHT = "mutant-caught"
    """A deliberately broken gate does not pass."""
    DECISION_TABLE = "decision-table"
    """The real extension decides as before."""
    PRIMARY = "primary"
    """The one relative rule."""


@unique
class Figure(StrEnum):
    """Figure that is compared trial by trial."""

    GATE_HOLD_AFTER_ROUTES = "gate-hold-after-routes"
    GATE_HOLD = "gate-hold"
    CONVERGENCE = "convergence"
    UNGATED_DOWNTIME = "ungated-downtime"
    GATE_LOOKS = "gate-looks"


@unique
class Trait(StrEnum):
    """Property that must be equal on both sides, else their figures cannot be compared."""

    TOPOLOGY = "topology"
    PROFILE = "profile"
    RATE = "rate"
    CARRIER = "carrier"
    BACKEND = "backend"
    KERNEL = "kernel"
    THRESHOLD = "threshold"
    """Forwarding Delay Threshold: from which delay on an answer counts as lost."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Primary(_Strict):
    """The one relative rule: the figure, and by how much it may grow."""

    scenario: ScenarioName = "plain-switch"
    figure: Figure = Figure.GATE_HOLD_AFTER_ROUTES
    effect_percent: Annotated[float, Field(gt=0, le=1000)] = 20.0
    """Growth that matters, percent of the baseline's mean."""
    effect_intervals: Annotated[float, Field(ge=0, le=1000)] = 2.0
    """Growth below this many probe intervals never matters. Source: ours; one interval is the accuracy of a probed figure."""


class Allowance(_Strict):
    """A rule that one scenario may break for a while."""

    rule: RuleName
    scenario: ScenarioName
    owner: _Sentence
    reason: _Sentence
    expires: date
    """The last day on which it holds."""


class Rules(_Strict):
    """A rules file."""

    required: tuple[ScenarioName, ...] = ("plain-switch",)
    """Scenarios that must be there, with every arm that they have."""
    primary: Primary = Primary()
    allowances: tuple[Allowance, ...] = ()

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for name in self.required:
            if self.required.count(name) > 1:
                raise MisfitError("required", f"{name} twice", "each scenario once")
        keys = [(one.rule, one.scenario) for one in self.allowances]
        for key in keys:
            if keys.count(key) > 1:
                raise MisfitError("allowances", f"{key[0]} of {key[1]} twice", "one allowance per rule and scenario")
        return self


def read_rules(document: JsonObject, where: str, today: date) -> Rules:
    """Validate a rules file.

    Raises:
        UsageError: an unknown key, a wrong value, or an allowance that has expired.
    """
    rules = validate(Rules, document, where)
    for number, one in enumerate(rules.allowances):
        if one.expires < today:
            raise UsageError(
                where=where,
                place=f"allowances.{number}.expires",
                found=f"{one.expires}, which has passed ({one.rule} of {one.scenario}, owner {one.owner})",
                expected=f"a day from {today} on; renew the allowance, or remove it",
            )
    return rules


@unique
class State(StrEnum):
    """The answer to one rule."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """Result of one rule for one scenario."""

    rule: RuleName
    scenario: str
    state: State
    text: str
    """One sentence with the figures, their bounds and the test."""
    evidence: str
    """File of the summary."""
    next_step: str = ""
    """What to do; empty if the rule holds."""
    allowance: Allowance | None = None
    """What permits that the rule does not hold."""

    @property
    def counts(self) -> State:
        """How the decision counts the finding."""
        return self.state if self.allowance is None else State.HOLDS

    @property
    def remedy(self) -> str:
        """What permits that the rule does not hold, or what to do; empty if it holds."""
        one = self.allowance
        return self.next_step if one is None else f"allowed until {one.expires} by {one.owner}: {one.reason}"

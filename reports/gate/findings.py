"""Findings of the release gate: a rule that holds, is broken, or cannot be decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from reports.gate.rules import Allowance, RuleName


@unique
class State(StrEnum):
    """The answer to one rule."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """One rule, asked of one scenario."""

    rule: RuleName
    scenario: str
    state: State
    text: str
    """One sentence with the figures, their bounds and the test."""
    evidence: str
    """File of the summary."""
    next_step: str = ""
    """What to do; empty where the rule holds."""
    allowance: Allowance | None = None
    """What permits that the rule does not hold."""

    @property
    def counts(self) -> State:
        """What the decision takes it for."""
        return self.state if self.allowance is None else State.HOLDS

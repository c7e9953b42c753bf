"""Definition of a check: one question about the evidence of a run, and the budgets that a scenario can set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from analysis.evidence import Evidence
from hitless.errors import UsageError
from hitless.verdicts import Finding
from hitless.words import JsonObject

Limits = Mapping[str, float | None]
"""Budget name to the most that is allowed; None: no limit."""
Ask = Callable[[Evidence, Limits], Iterable[Finding]]
"""Takes the evidence of a run and all budgets of the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check. Calling it with the evidence of a run and the scenario's budgets judges the run."""

    name: str
    """As scenarios spell it."""
    is_validity: bool = False
    """Whether it asks about the instrument rather than about the product."""
    budgets: Limits = field(default_factory=dict)
    """Every budget that it knows, with its default."""
    ask: Ask

    def __call__(self, evidence: Evidence, budgets: JsonObject) -> Iterable[Finding]:
        """Judge a run. Raises UsageError: a budget is wrong, see `read_budgets`."""
        return self.ask(evidence, self.read_budgets(budgets))

    def read_budgets(self, given: JsonObject) -> Limits:
        """Return the check's budgets: the given ones, numbers that are not negative or None for no limit, over the defaults.

        Raises UsageError: an unknown budget, or one that is no number.
        """
        where = f"budgets of the check {self.name}"
        unknown = sorted(set(given) - set(self.budgets))
        if unknown:
            raise UsageError(where=where, found=", ".join(unknown), expected=", ".join(sorted(self.budgets)) or "no budget")
        for name, value in given.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            if value is not None and not is_number:
                raise UsageError(where=where, place=name, found=repr(value), expected="a number that is not negative, or null")
        return {**self.budgets, **given}


def make_check(name: str, budgets: Limits | None = None, *, is_validity: bool = False) -> Callable[[Ask], Check]:
    """Return the decorator that makes a check of its question."""
    return lambda ask: Check(name=name, is_validity=is_validity, budgets=budgets or {}, ask=ask)

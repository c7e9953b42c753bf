"""The release decision: all rules evaluated, allowances applied, one outcome.

stop if a rule is broken; else not decided if one is not known; else go. There is no retry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum, unique
from typing import Final

from hitless.facts import PartIdentity
from hitless.plural import plural
from hitless.words import JsonObject
from reports.gate.absolute import Plans, find_absolute
from reports.gate.decision_table import StoredTable, ask_table
from reports.gate.inference import Look
from reports.gate.relative import (
    Losses,
    Plan,
    Relative,
    Resets,
    compare_figure,
    compare_losses,
    compare_resets,
    count_more_trials,
    judge_primary,
    plan_trials,
)
from reports.gate.rules import Allowance, Figure, RuleFinding, Rules, State, Trait
from reports.gate.sides import Difference, Side, find_differences

SCHEMA: Final = "hitless.gate/1"


@unique
class Outcome(StrEnum):
    """Decision about the release."""

    GO = "go"
    STOP = "stop"
    NOT_DECIDED = "not decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Identity of one side."""

    name: str
    path: str
    parts: tuple[PartIdentity, ...]
    """Empty: the summaries do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The decision, and all that it rests on."""

    outcome: Outcome
    baseline: Identity
    candidate: Identity
    plan: Plan | None
    """Trials that the primary rule needs, from the baseline's variance; None: the baseline has fewer than two values."""
    findings: tuple[RuleFinding, ...]
    primary: Relative | None
    """None: it could not be compared."""
    trials_more: int | None
    """How many more trials would probably decide the primary rule; None: it is decided, or not to be decided that way."""
    advisory: tuple[Relative, ...]
    """Other figures; they stop nothing."""
    losses: tuple[Losses, ...]
    """Trials with loss; advisory."""
    resets: tuple[Resets, ...]
    """Connections that were reset; advisory."""
    look: Look | None
    """At which the trials ended; None: the trials were given, not run until decided."""
    differences: tuple[Difference, ...]
    """Traits in which the sides differ, and that were allowed to."""
    notes: tuple[str, ...]

    @property
    def allowed(self) -> tuple[Allowance, ...]:
        """The allowances that were used."""
        return tuple(one.allowance for one in self.findings if one.allowance is not None)

    def as_json(self) -> JsonObject:
        """Return the document of schema hitless.gate/1."""
        document: JsonObject = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}, default=str))
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The inputs of a decision that are known before the candidate: baseline and rules."""

    rules: Rules
    plans: Plans
    """What the scenarios expect."""
    allow_different: tuple[Trait, ...] = ()
    """Traits that the sides need not have in common."""
    decisions: StoredTable | None = None
    """The decision table of the candidate's extension; None: it is not known."""


def decide_release(baseline: Side, candidate: Side, question: Question, look: Look | None = None) -> Release:
    """Decide about the candidate; without a look the trials were given, not run until decided.

    Raises:
        UsageError: the sides cannot be compared, or the decision table is not theirs.
    """
    rules, plans, allow_different = question.rules, question.plans, question.allow_different
    differences = find_differences(baseline, candidate, allow_different)
    table = ask_table(question.decisions, candidate, baseline)
    primary_finding, primary = judge_primary(baseline, candidate, rules.primary, look)
    absolute = (*find_absolute(candidate, baseline, plans, rules), *(() if table is None else (table,)))
    findings = _apply_allowances((*absolute, primary_finding), rules)
    is_open = primary is not None and primary_finding.state is State.NOT_KNOWN
    return Release(
        outcome=_merge(findings),
        baseline=Identity(name=baseline.name, path=baseline.path, parts=baseline.parts),
        candidate=Identity(name=candidate.name, path=candidate.path, parts=candidate.parts),
        plan=plan_trials(baseline, rules.primary),
        findings=findings,
        primary=primary,
        trials_more=count_more_trials(primary) if is_open and primary is not None else None,
        advisory=_compare_others(baseline, candidate, rules),
        losses=tuple(compare_losses(baseline, candidate)),
        resets=tuple(compare_resets(baseline, candidate)),
        look=look,
        differences=differences,
        notes=(
            _say_turns(look),
            *_note(baseline, candidate, rules, plans, findings, primary),
            *(
                f"{trait} was allowed to differ and does not"
                for trait in dict.fromkeys(allow_different)
                if trait not in {one.trait for one in differences}
            ),
        ),
    )


def _merge(findings: Iterable[RuleFinding]) -> Outcome:
    states = {finding.counts for finding in findings}
    if State.BROKEN in states:
        return Outcome.STOP
    return Outcome.NOT_DECIDED if State.NOT_KNOWN in states else Outcome.GO


def _apply_allowances(findings: Iterable[RuleFinding], rules: Rules) -> tuple[RuleFinding, ...]:
    allowances = {(one.rule, one.scenario): one for one in rules.allowances}
    return tuple(
        one if one.state is State.HOLDS else replace(one, allowance=allowances.get((one.rule, one.scenario)))
        for one in findings
    )


def _compare_others(baseline: Side, candidate: Side, rules: Rules) -> tuple[Relative, ...]:
    primary = rules.primary
    pairs = [(scenario, figure) for scenario in baseline.scenarios for figure in Figure]
    others = (
        compare_figure(baseline, candidate, scenario, figure, primary)
        for scenario, figure in pairs
        if (scenario, figure) != (primary.scenario, primary.figure)
    )
    return tuple(one for one in others if isinstance(one, Relative))


def _say_turns(look: Look | None) -> str:
    if look is None:
        return "trials are paired by number; whether the versions alternated is not recorded, so a drift of the machine counts"
    where = f"at look {look.number} of {look.of}" if look.is_asked else "between two looks"
    return f"the versions alternated; the trials ended {where}, after {plural(look.pairs, 'pair')}"


def _note(
    baseline: Side, candidate: Side, rules: Rules, plans: Plans, findings: Sequence[RuleFinding], primary: Relative | None
) -> tuple[str, ...]:
    notes = []
    same = {one.path for one in baseline.stored} & {one.path for one in candidate.stored}
    if same:
        notes.append(f"both sides have {', '.join(sorted(same))}: no other version was compared")
    if primary is not None and primary.unpaired:
        notes.append(f"excluded from the primary rule, because the other side lacks them: {', '.join(primary.unpaired)}")
    if not any(plan.mutant for scenario in candidate.scenarios for plan in plans.get(scenario, {}).values()):
        notes.append("no broken gate (scenarios mutant-*) was run, and the rules do not require one")
    used = {(one.rule, one.scenario) for one in findings if one.allowance is not None}
    notes += [
        f"the allowance for {one.rule} of {one.scenario} was not needed; {one.owner} can remove it"
        for one in rules.allowances
        if (one.rule, one.scenario) not in used
    ]
    return tuple(notes)

"""The absolute rules: what the candidate must show on its own, whatever the baseline was.

A figure that a summary lacks is a finding "not known", never a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from analysis.comparison import PROOF_INTERVALS
from hitless.facts import Part
from hitless.plural import plural
from hitless.words import Arm, Verdict
from reports.gate.findings import RuleFinding, State
from reports.gate.inference import CONFIDENCE, bound_probability
from reports.gate.rules import RuleName, Rules
from reports.gate.sides import FoundArm, Side
from reports.summary import TrialSummary
from scenarios.model import ArmPlan

Plans = Mapping[str, Mapping[Arm, ArmPlan]]
"""Scenario to what its arms should come to."""

_JUDGE: Final = "run it again; `hitless judge` on its records says more"


def find_absolute(candidate: Side, plans: Plans, rules: Rules) -> Iterator[RuleFinding]:
    """Yield a finding for every absolute rule of every scenario."""
    for scenario in sorted({*candidate.scenarios, *rules.required}):
        if scenario not in candidate.scenarios:
            yield _absent(scenario, "it was not run, or was skipped", candidate.path)
        elif scenario not in plans:
            yield RuleFinding(
                rule=RuleName.EXPECTED_VERDICT,
                scenario=scenario,
                state=State.NOT_KNOWN,
                text="the scenario is not shipped, so that its expectations are not known",
                evidence=candidate.path,
                next_step="give its file with --scenario",
            )
        else:
            yield from _ask_scenario(candidate, scenario, plans[scenario], is_required=scenario in rules.required)
    yield from _ask_decisions(candidate)


def _absent(scenario: str, text: str, evidence: str, *, is_required: bool = True) -> RuleFinding:
    return RuleFinding(
        rule=RuleName.SCENARIO_PRESENT,
        scenario=scenario,
        state=State.BROKEN if is_required else State.NOT_KNOWN,
        text=f"{'required, but ' if is_required else ''}{text}",
        evidence=evidence,
        next_step="run it with both versions; `hitless doctor` says what this machine lacks",
    )


def _ask_scenario(side: Side, scenario: str, plans: Mapping[Arm, ArmPlan], *, is_required: bool) -> Iterator[RuleFinding]:
    missing = [arm for arm in plans if side.find_arm(scenario, arm) is None]
    if missing:
        yield _absent(scenario, f"there is no {' and no '.join(missing)}", side.path, is_required=is_required)
    else:
        text = ", ".join(f"{plural(found.arm.trials, 'trial')} of {arm}" for arm, found in _arms(side, scenario, plans))
        path = next(found.path for _, found in _arms(side, scenario, plans))
        yield RuleFinding(rule=RuleName.SCENARIO_PRESENT, scenario=scenario, state=State.HOLDS, text=text, evidence=path)
    for arm, found in _arms(side, scenario, plans):
        plan = plans[arm]
        yield _ask_verdicts(scenario, arm, plan, found)
        if arm is Arm.GATED and plan.expect is Verdict.PASS:
            yield _ask_downtime(scenario, plan, found)
        if arm is Arm.UNGATED and plan.expect is Verdict.FAIL and "continuity" in plan.because:
            yield _ask_sensitivity(scenario, found)
        yield _ask_controls(scenario, arm, found)
        yield _ask_books(scenario, arm, found)


def _arms(side: Side, scenario: str, plans: Mapping[Arm, ArmPlan]) -> Iterator[tuple[Arm, FoundArm]]:
    for arm in plans:
        found = side.find_arm(scenario, arm)
        if found is not None:
            yield arm, found


def _ask_verdicts(scenario: str, arm: Arm, plan: ArmPlan, found: FoundArm) -> RuleFinding:
    wrong = [trial for trial in found.arm.per_trial if trial.verdict is not plan.expect]
    state = State.HOLDS
    if wrong:
        is_unclear = all(trial.verdict is Verdict.INCONCLUSIVE for trial in wrong)
        state = State.NOT_KNOWN if is_unclear else State.BROKEN
    said = ", ".join(f"trial {trial.trial} {trial.verdict}" for trial in wrong)
    every = f"{plural(found.arm.trials, 'trial')} {plan.expect}"
    subject = f"{arm} with the broken gate {plan.mutant}" if plan.mutant else arm.value
    return RuleFinding(
        rule=RuleName.MUTANT_CAUGHT if plan.mutant else RuleName.EXPECTED_VERDICT,
        scenario=scenario,
        state=state,
        text=f"{subject}: {said or every}, expected {plan.expect}",
        evidence=found.path,
        next_step=_JUDGE if wrong else "",
    )


def _ask_downtime(scenario: str, plan: ArmPlan, found: FoundArm) -> RuleFinding:
    arm = found.arm
    lost = {name: totals.lost for name, totals in arm.classes.items() if totals.lost}
    hit = [trial.trial for trial in arm.per_trial if trial.totals.lost]
    background = float(plan.checks.get("continuity", {}).get("background_loss_ratio") or 0)
    if (lost or hit) and background and all(trial.verdict is Verdict.PASS for trial in arm.per_trial):
        count = plural(sum(lost.values()), "probe")
        state, text = (
            State.HOLDS,
            f"GATED lost {count}, which the check continuity puts down to the links' own {background:.1%}",
        )
    elif lost or arm.totals.lost or hit:
        trials = f" in trial {', '.join(map(str, hit))}" if hit else ""
        classes = ", ".join(f"{plural(count, 'probe')} of {name}" for name, count in lost.items())
        state, text = State.BROKEN, f"GATED lost {classes or plural(arm.totals.lost, 'probe')}{trials}; allowed: none"
    elif not arm.totals.offered or arm.totals.blind_ms_max is None:
        state, text = State.NOT_KNOWN, "GATED lost nothing, but a flow was hardly answered or none was probed"
    else:
        bound = bound_probability(0, arm.trials)
        state = State.HOLDS
        text = (
            f"GATED lost 0 of {arm.totals.offered:,} probes in {plural(arm.trials, 'trial')}; no outage longer than "
            f"{arm.totals.blind_ms_max:g} ms could be missed; a trial with loss has a probability of at most {bound:.1%} "
            f"({CONFIDENCE:.0%}, Clopper-Pearson)"
        )
    next_step = "" if state is State.HOLDS else "see causes and worst flows in report.md beside the summary"
    return RuleFinding(
        rule=RuleName.GATED_DOWNTIME, scenario=scenario, state=state, text=text, evidence=found.path, next_step=next_step
    )


def _ask_sensitivity(scenario: str, found: FoundArm) -> RuleFinding:
    needed_ms = PROOF_INTERVALS * found.interval_ms
    doubtful = [trial.trial for trial in found.arm.per_trial if _shortest_ms(trial) < needed_ms]
    if doubtful:
        text = f"no outage in UNGATED trial {', '.join(map(str, doubtful))} lasted at least {needed_ms:g} ms for certain"
    else:
        text = f"UNGATED shows an outage of at least {needed_ms:g} ms for certain in each trial, {found.arm.trials:,} in all"
    return RuleFinding(
        rule=RuleName.UNGATED_SENSITIVITY,
        scenario=scenario,
        state=State.NOT_KNOWN if doubtful else State.HOLDS,
        text=text,
        evidence=found.path,
        next_step="raise --rate, or use a scenario with slower routes: it is not proven that loss would be seen"
        if doubtful
        else "",
    )


def _shortest_ms(trial: TrialSummary) -> float:
    longest = trial.totals.outage_ms_max
    return 0.0 if longest is None or not trial.totals.lost else longest.shortest


def _ask_controls(scenario: str, arm: Arm, found: FoundArm) -> RuleFinding:
    control = found.arm.control
    if not control.offered:
        state, text = State.NOT_KNOWN, f"{arm} has no control flow"
    elif control.lost:
        state, text = State.BROKEN, f"control flows of {arm} lost {control.lost:,} of {plural(control.offered, 'probe')}"
    else:
        state, text = State.HOLDS, f"control flows of {arm} lost 0 of {plural(control.offered, 'probe')}"
    next_step = "" if state is State.HOLDS else "the instrument is in doubt: run again on a quiet machine or at a lower --rate"
    return RuleFinding(
        rule=RuleName.CONTROLS_SILENT, scenario=scenario, state=state, text=text, evidence=found.path, next_step=next_step
    )


def _ask_books(scenario: str, arm: Arm, found: FoundArm) -> RuleFinding:
    unexplained = found.arm.lost_unexplained
    if unexplained is None:
        state, text = State.NOT_KNOWN, f"{arm} has no counters, so that its lost probes are not accounted for"
    elif unexplained:
        state, text = State.BROKEN, f"{arm}: no counter accounts for {plural(unexplained, 'lost probe')}"
    else:
        state, text = State.HOLDS, f"{arm}: every lost probe is accounted for"
    return RuleFinding(
        rule=RuleName.BOOKS_BALANCED,
        scenario=scenario,
        state=state,
        text=text,
        evidence=found.path,
        next_step="" if state is State.HOLDS else "see the ledger of drops in report.md beside the summary",
    )


def _ask_decisions(side: Side) -> Iterator[RuleFinding]:
    if any(part.name is Part.EXTENSION and not part.is_double for part in side.parts):
        yield RuleFinding(
            rule=RuleName.DECISION_TABLE,
            scenario=side.scenarios[0],
            state=State.NOT_KNOWN,
            text="the extension is real, and no summary says whether its decision table has changed",
            evidence=side.path,
            next_step="compare the decision tables, then state that in an allowance",
        )

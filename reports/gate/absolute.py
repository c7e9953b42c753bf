"""The absolute rules: requirements that the candidate meets without a baseline.

The baseline decides nothing here; the message of a rule that does not hold shows its figure beside the candidate's. A figure
that a summary lacks is a finding "not known", never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from analysis.comparison import PROOF_INTERVALS
from hitless.plural import plural
from hitless.words import Arm, Verdict
from reports.gate.inference import CONFIDENCE, bound_probability
from reports.gate.rules import RuleFinding, RuleName, Rules, State
from reports.gate.sides import FoundArm, Side
from reports.quantities import say_duration
from reports.summary import TrialSummary
from scenarios.parts import ArmPlan

Plans = Mapping[str, Mapping[Arm, ArmPlan]]
"""Scenario to what its arms should come to."""
Answer = tuple[RuleName, State, str]
"""Rule, whether it holds, and what was found."""

_JUDGE: Final = "run it again; `hitless judge` of its records shows more"
_NEXT_STEPS: Final = {
    RuleName.SCENARIO_PRESENT: "run it with both versions; `hitless doctor` shows what this machine lacks",
    RuleName.EXPECTED_VERDICT: _JUDGE,
    RuleName.MUTANT_CAUGHT: _JUDGE,
    RuleName.GATED_DOWNTIME: "see causes and worst flows in the report beside the summary",
    RuleName.UNGATED_SENSITIVITY: "raise --rate, or use a scenario with slower routes; loss may not have been visible",
    RuleName.CONTROLS_SILENT: "the instrument is not reliable; run again on a quiet machine or at a lower --rate",
    RuleName.BOOKS_BALANCED: "see the ledger of drops in the report beside the summary",
}
"""What to do where a rule does not hold."""


def find_absolute(candidate: Side, baseline: Side, plans: Plans, rules: Rules) -> Iterator[RuleFinding]:
    """Yield a finding for every absolute rule of every scenario."""
    for scenario in sorted({*candidate.scenarios, *rules.required}):
        if scenario not in candidate.scenarios:
            text = "required, but it was not run, or was skipped"
            yield _make_finding(scenario, (RuleName.SCENARIO_PRESENT, State.BROKEN, text), candidate.path)
        elif scenario not in plans:
            text = "the scenario is not shipped, so its expectations are not known"
            finding = _make_finding(scenario, (RuleName.EXPECTED_VERDICT, State.NOT_KNOWN, text), candidate.path)
            yield replace(finding, next_step="give its file with --scenario")
        else:
            yield from _ask_scenario(candidate, baseline, scenario, plans[scenario], is_required=scenario in rules.required)


def _make_finding(scenario: str, answer: Answer, evidence: str) -> RuleFinding:
    rule, state, text = answer
    next_step = "" if state is State.HOLDS else _NEXT_STEPS[rule]
    return RuleFinding(rule=rule, scenario=scenario, state=state, text=text, evidence=evidence, next_step=next_step)


def _ask_scenario(
    side: Side, baseline: Side, scenario: str, plans: Mapping[Arm, ArmPlan], *, is_required: bool
) -> Iterator[RuleFinding]:
    found = [one for arm in plans if (one := side.find_arm(scenario, arm)) is not None]
    missing = [arm for arm in plans if arm not in {one.name for one in found}]
    if missing:
        state = State.BROKEN if is_required else State.NOT_KNOWN
        text = f"{'required, but ' if is_required else ''}there is no {' and no '.join(missing)}"
    else:
        state, text = State.HOLDS, ", ".join(f"{plural(one.arm.trials, 'trial')} of {one.name}" for one in found)
    evidence = side.path if missing else found[0].path
    yield _make_finding(scenario, (RuleName.SCENARIO_PRESENT, state, text), evidence)
    for one in found:
        for answer in _ask_arm(plans[one.name], one, baseline.find_arm(scenario, one.name)):
            yield _make_finding(scenario, answer, one.path)


def _ask_arm(plan: ArmPlan, found: FoundArm, reference: FoundArm | None) -> Iterator[Answer]:
    yield _ask_verdicts(plan, found, reference)
    if found.name is Arm.GATED and plan.expect is Verdict.PASS:
        yield _ask_downtime(plan, found, reference)
    if found.name is Arm.UNGATED and plan.expect is Verdict.FAIL and "continuity" in plan.because:
        yield _ask_sensitivity(found, reference)
    yield _ask_controls(found, reference)
    yield _ask_books(found, reference)


def _both(say: Callable[[FoundArm], str], found: FoundArm, reference: FoundArm | None) -> str:
    """Return a figure of the candidate, and the same of the baseline."""
    return f"{say(found)}; BASELINE: {'not run' if reference is None else say(reference)}"


def _ask_verdicts(plan: ArmPlan, found: FoundArm, reference: FoundArm | None) -> Answer:
    rule = RuleName.MUTANT_CAUGHT if plan.mutant else RuleName.EXPECTED_VERDICT
    wrong = [trial for trial in found.arm.per_trial if trial.verdict is not plan.expect]
    unseen = [] if wrong else sorted(set(plan.because) - found.failing)
    is_unclear = bool(wrong) and all(trial.verdict is Verdict.INCONCLUSIVE for trial in wrong)
    subject = f"{found.name} with the broken gate {plan.mutant}" if plan.mutant else found.name.value
    reasons = f", but not because of {' and '.join(unseen)}, as the scenario expects" if unseen else ""
    said = _both(_say_verdicts, found, reference) if wrong or unseen else _say_verdicts(found)
    state = State.NOT_KNOWN if is_unclear else State.BROKEN if wrong or unseen else State.HOLDS
    return rule, state, f"{subject}: expected {plan.expect}{reasons}: {said}"


def _say_verdicts(found: FoundArm) -> str:
    verdicts = [trial.verdict for trial in found.arm.per_trial]
    counts = ", ".join(f"{count} {verdict}" for verdict in Verdict if (count := verdicts.count(verdict)))
    return f"{counts} of {plural(len(verdicts), 'trial')}"


def _ask_downtime(plan: ArmPlan, found: FoundArm, reference: FoundArm | None) -> Answer:
    arm = found.arm
    is_hit = bool(arm.totals.lost or any(found.lost_by_class.values()) or any(trial.totals.lost for trial in arm.per_trial))
    background = float(plan.checks.get("continuity", {}).get("background_loss_ratio") or 0)
    if is_hit and background and all(trial.verdict is Verdict.PASS for trial in arm.per_trial):
        state = State.HOLDS
        text = f"GATED {_say_loss(found)}, which the check continuity attributes to the links' own {background:.1%}"
    elif is_hit:
        state, text = State.BROKEN, f"no loss is allowed; GATED {_both(_say_loss, found, reference)}"
    elif not arm.totals.offered or arm.totals.blind_ms_max is None:
        state, text = State.NOT_KNOWN, "GATED lost nothing, but a flow had too few answers, or no flow was probed"
    else:
        state = State.HOLDS
        text = f"GATED {_say_loss(found)}; no outage longer than {arm.totals.blind_ms_max:g} ms could be missed"
    return RuleName.GATED_DOWNTIME, state, text


def _say_loss(found: FoundArm) -> str:
    """Return what an arm lost, the bounds of the longest downtime, and the probability of a trial with loss."""
    arm = found.arm
    classes = ", ".join(f"{plural(count, 'probe')} of {name}" for name, count in found.lost_by_class.items() if count)
    lost = classes or f"{arm.totals.lost:,} of {plural(arm.totals.offered, 'probe')}"
    hit = [trial.trial for trial in arm.per_trial if trial.totals.lost]
    where = f"trial {', '.join(map(str, hit))} of {arm.trials}" if hit else plural(arm.trials, "trial")
    most = (
        f", longest downtime {say_duration(arm.totals.downtime_ms_max, found.summary.interval_ms)}" if arm.totals.lost else ""
    )
    # Trials count only their mesh flows: a loss of another class was in at least one of them.
    bound = bound_probability(len(hit) or int(bool(classes)), arm.trials)
    said = f"{CONFIDENCE:.0%}, Clopper-Pearson"
    return f"lost {lost} in {where}{most}; probability of a trial with loss: at most {bound:.1%} ({said})"


def _ask_sensitivity(found: FoundArm, reference: FoundArm | None) -> Answer:
    needed_ms = PROOF_INTERVALS * found.summary.interval_ms

    def say(one: FoundArm) -> str:
        doubtful = {trial.trial: _shortest_ms(trial) for trial in one.arm.per_trial if _shortest_ms(trial) < needed_ms}
        lacking = ", ".join(f"trial {number} for {shortest:g} ms" for number, shortest in doubtful.items())
        said = f"{one.arm.trials - len(doubtful):,} of {plural(one.arm.trials, 'trial')}"
        return f"{said} (the others for less: {lacking})" if lacking else said

    is_proven = all(_shortest_ms(trial) >= needed_ms for trial in found.arm.per_trial)
    said = say(found) if is_proven else _both(say, found, reference)
    state = State.HOLDS if is_proven else State.NOT_KNOWN
    return RuleName.UNGATED_SENSITIVITY, state, f"UNGATED was down for at least {needed_ms:g} ms for certain in {said}"


def _shortest_ms(trial: TrialSummary) -> float:
    longest = trial.totals.outage_ms_max
    return 0.0 if longest is None or not trial.totals.lost else longest.shortest


def _ask_controls(found: FoundArm, reference: FoundArm | None) -> Answer:
    def say(one: FoundArm) -> str:
        return f"lost {one.arm.control.lost:,} of {plural(one.arm.control.offered, 'probe')}"

    control = found.arm.control
    if not control.offered:
        return RuleName.CONTROLS_SILENT, State.NOT_KNOWN, f"{found.name} has no control flow"
    state, said = (State.BROKEN, _both(say, found, reference)) if control.lost else (State.HOLDS, say(found))
    return RuleName.CONTROLS_SILENT, state, f"control flows of {found.name} {said}"


def _ask_books(found: FoundArm, reference: FoundArm | None) -> Answer:
    def say(one: FoundArm) -> str:
        return "no counters" if one.arm.lost_unexplained is None else plural(one.arm.lost_unexplained, "probe")

    unexplained = found.arm.lost_unexplained
    if unexplained is None:
        state, text = State.NOT_KNOWN, f"{found.name} has no counters, so its lost probes are not accounted for"
    elif unexplained:
        state, text = State.BROKEN, f"no counter accounts for some lost probes of {found.name}: {_both(say, found, reference)}"
    else:
        state, text = State.HOLDS, f"{found.name}: every lost probe is accounted for"
    return RuleName.BOOKS_BALANCED, state, text

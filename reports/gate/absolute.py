"""The absolute rules: requirements that the candidate meets without a baseline.

The baseline decides nothing here; the message of a rule that does not hold shows its figure beside the candidate's. A figure
that a summary lacks is a finding "not known", never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
Answer = tuple[RuleName, State, str, str]
"""Rule, whether it holds, what was found, and what to do where it does not hold."""

_JUDGE: Final = "run it again; `hitless judge` of its records shows more"


def find_absolute(candidate: Side, baseline: Side, plans: Plans, rules: Rules) -> Iterator[RuleFinding]:
    """Yield a finding for every absolute rule of every scenario."""
    for scenario in sorted({*candidate.scenarios, *rules.required}):
        if scenario not in candidate.scenarios:
            yield _absent(scenario, "it was not run, or was skipped", candidate.path)
        elif scenario not in plans:
            text = "the scenario is not shipped, so its expectations are not known"
            answer = RuleName.EXPECTED_VERDICT, State.NOT_KNOWN, text, "give its file with --scenario"
            yield _make_finding(scenario, answer, candidate.path)
        else:
            yield from _ask_scenario(candidate, baseline, scenario, plans[scenario], is_required=scenario in rules.required)


def _make_finding(scenario: str, answer: Answer, evidence: str) -> RuleFinding:
    rule, state, text, next_step = answer
    return RuleFinding(
        rule=rule,
        scenario=scenario,
        state=state,
        text=text,
        evidence=evidence,
        next_step="" if state is State.HOLDS else next_step,
    )


def _absent(scenario: str, text: str, evidence: str, *, is_required: bool = True) -> RuleFinding:
    state = State.BROKEN if is_required else State.NOT_KNOWN
    said = f"{'required, but ' if is_required else ''}{text}"
    next_step = "run it with both versions; `hitless doctor` shows what this machine lacks"
    return _make_finding(scenario, (RuleName.SCENARIO_PRESENT, state, said, next_step), evidence)


def _ask_scenario(
    side: Side, baseline: Side, scenario: str, plans: Mapping[Arm, ArmPlan], *, is_required: bool
) -> Iterator[RuleFinding]:
    missing = [arm for arm in plans if side.find_arm(scenario, arm) is None]
    if missing:
        yield _absent(scenario, f"there is no {' and no '.join(missing)}", side.path, is_required=is_required)
    else:
        text = ", ".join(f"{plural(found.arm.trials, 'trial')} of {arm}" for arm, found in _arms(side, scenario, plans))
        path = next(found.path for _, found in _arms(side, scenario, plans))
        yield _make_finding(scenario, (RuleName.SCENARIO_PRESENT, State.HOLDS, text, ""), path)
    for arm, found in _arms(side, scenario, plans):
        for answer in _ask_arm(arm, plans[arm], found, baseline.find_arm(scenario, arm)):
            yield _make_finding(scenario, answer, found.path)


def _ask_arm(arm: Arm, plan: ArmPlan, found: FoundArm, reference: FoundArm | None) -> Iterator[Answer]:
    yield _ask_verdicts(arm, plan, found, reference)
    if arm is Arm.GATED and plan.expect is Verdict.PASS:
        yield _ask_downtime(plan, found, reference)
    if arm is Arm.UNGATED and plan.expect is Verdict.FAIL and "continuity" in plan.because:
        yield _ask_sensitivity(found, reference)
    yield _ask_controls(arm, found, reference)
    yield _ask_books(arm, found, reference)


def _both(say: Callable[[FoundArm], str], found: FoundArm, reference: FoundArm | None) -> str:
    """Return a figure of the candidate, and the same of the baseline."""
    return f"{say(found)}; BASELINE: {'not run' if reference is None else say(reference)}"


def _arms(side: Side, scenario: str, plans: Mapping[Arm, ArmPlan]) -> Iterator[tuple[Arm, FoundArm]]:
    for arm in plans:
        found = side.find_arm(scenario, arm)
        if found is not None:
            yield arm, found


def _ask_verdicts(arm: Arm, plan: ArmPlan, found: FoundArm, reference: FoundArm | None) -> Answer:
    rule = RuleName.MUTANT_CAUGHT if plan.mutant else RuleName.EXPECTED_VERDICT
    wrong = [trial for trial in found.arm.per_trial if trial.verdict is not plan.expect]
    unseen = [] if wrong else sorted(set(plan.because) - found.failing(arm))
    is_unclear = bool(wrong) and all(trial.verdict is Verdict.INCONCLUSIVE for trial in wrong)
    subject = f"{arm} with the broken gate {plan.mutant}" if plan.mutant else arm.value
    reasons = f", but not because of {' and '.join(unseen)}, as the scenario expects" if unseen else ""
    said = _both(_say_verdicts, found, reference) if wrong or unseen else _say_verdicts(found)
    state = State.NOT_KNOWN if is_unclear else State.BROKEN if wrong or unseen else State.HOLDS
    return rule, state, f"{subject}: expected {plan.expect}{reasons}: {said}", _JUDGE


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
    return RuleName.GATED_DOWNTIME, state, text, "see causes and worst flows in the report beside the summary"


def _say_loss(found: FoundArm) -> str:
    """Return what an arm lost, the bounds of the longest downtime, and the probability of a trial with loss."""
    arm = found.arm
    classes = ", ".join(f"{plural(count, 'probe')} of {name}" for name, count in found.lost_by_class.items() if count)
    lost = classes or f"{arm.totals.lost:,} of {plural(arm.totals.offered, 'probe')}"
    hit = [trial.trial for trial in arm.per_trial if trial.totals.lost]
    where = f"trial {', '.join(map(str, hit))} of {arm.trials}" if hit else plural(arm.trials, "trial")
    most = f", longest downtime {say_duration(arm.totals.downtime_ms_max, found.interval_ms)}" if arm.totals.lost else ""
    # Trials count only their mesh flows: a loss of another class was in at least one of them.
    bound = bound_probability(len(hit) or int(bool(classes)), arm.trials)
    said = f"{CONFIDENCE:.0%}, Clopper-Pearson"
    return f"lost {lost} in {where}{most}; probability of a trial with loss: at most {bound:.1%} ({said})"


def _ask_sensitivity(found: FoundArm, reference: FoundArm | None) -> Answer:
    needed_ms = PROOF_INTERVALS * found.interval_ms

    def say(one: FoundArm) -> str:
        doubtful = {trial.trial: _shortest_ms(trial) for trial in one.arm.per_trial if _shortest_ms(trial) < needed_ms}
        lacking = ", ".join(f"trial {number} for {shortest:g} ms" for number, shortest in doubtful.items())
        said = f"{one.arm.trials - len(doubtful):,} of {plural(one.arm.trials, 'trial')}"
        return f"{said} (the others for less: {lacking})" if lacking else said

    is_proven = all(_shortest_ms(trial) >= needed_ms for trial in found.arm.per_trial)
    said = say(found) if is_proven else _both(say, found, reference)
    state = State.HOLDS if is_proven else State.NOT_KNOWN
    text = f"UNGATED was down for at least {needed_ms:g} ms for certain in {said}"
    next_step = "raise --rate, or use a scenario with slower routes; loss may not have been visible"
    return RuleName.UNGATED_SENSITIVITY, state, text, next_step


def _shortest_ms(trial: TrialSummary) -> float:
    longest = trial.totals.outage_ms_max
    return 0.0 if longest is None or not trial.totals.lost else longest.shortest


def _ask_controls(arm: Arm, found: FoundArm, reference: FoundArm | None) -> Answer:
    control = found.arm.control
    if not control.offered:
        state, text = State.NOT_KNOWN, f"{arm} has no control flow"
    elif control.lost:
        state, text = State.BROKEN, f"control flows of {arm} {_both(_say_control, found, reference)}"
    else:
        state, text = State.HOLDS, f"control flows of {arm} {_say_control(found)}"
    next_step = "the instrument is not reliable; run again on a quiet machine or at a lower --rate"
    return RuleName.CONTROLS_SILENT, state, text, next_step


def _say_control(found: FoundArm) -> str:
    return f"lost {found.arm.control.lost:,} of {plural(found.arm.control.offered, 'probe')}"


def _ask_books(arm: Arm, found: FoundArm, reference: FoundArm | None) -> Answer:
    unexplained = found.arm.lost_unexplained
    if unexplained is None:
        state, text = State.NOT_KNOWN, f"{arm} has no counters, so its lost probes are not accounted for"
    elif unexplained:
        state, text = State.BROKEN, f"no counter accounts for some lost probes of {arm}: {_both(_say_books, found, reference)}"
    else:
        state, text = State.HOLDS, f"{arm}: every lost probe is accounted for"
    return RuleName.BOOKS_BALANCED, state, text, "see the ledger of drops in the report beside the summary"


def _say_books(found: FoundArm) -> str:
    unexplained = found.arm.lost_unexplained
    return "no counters" if unexplained is None else plural(unexplained, "probe")

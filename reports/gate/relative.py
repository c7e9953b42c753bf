"""The relative rules: a figure of the candidate against the baseline's, trial by trial.

One figure is primary and may stop a release; the others are shown with their intervals. With d the mean of the paired
differences and the effect that matters stated beforehand:

1. go: the sign-flip test shows that d is below the effect (p <= 0.05);
2. else stop: it shows that d is above 0 (p <= 0.01);
3. else not decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hitless.plural import plural
from hitless.words import Arm, Verdict
from reports.gate.inference import (
    GO_ALPHA,
    POWER,
    STOP_ALPHA,
    TRIALS_MAX,
    Estimate,
    Flags,
    Look,
    Numbers,
    bound_probability,
    estimate_mean,
    more_hits_p,
    sign_flip_p,
    trials_needed,
)
from reports.gate.rules import Figure, Primary, RuleFinding, RuleName, State
from reports.gate.sides import FoundArm, Side
from reports.summary import TrialSummary

_PAIRS_SHOWN_MIN: Final = 2
"""One pair has no spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a figure is read."""

    read: Callable[[TrialSummary], float | None]
    """Returns the figure of a trial; None: it has none."""
    arm: Arm = Arm.GATED
    unit: str = "ms"

    def scale(self, interval_ms: float) -> float:
        """Return the probe interval in the figure's unit; 0 if the figure is no time."""
        return interval_ms if self.unit == "ms" else 0.0


def _downtime_ms(trial: TrialSummary) -> float | None:
    longest = trial.totals.downtime_ms_max
    return None if longest is None else longest.likely


READINGS: Final[Mapping[Figure, Reading]] = {
    Figure.GATE_HOLD_AFTER_ROUTES: Reading(read=lambda trial: trial.gate_hold_after_routes_ms),
    Figure.GATE_HOLD: Reading(read=lambda trial: trial.gate_hold_ms),
    Figure.CONVERGENCE: Reading(read=lambda trial: trial.totals.convergence_ms_max),
    Figure.UNGATED_DOWNTIME: Reading(read=_downtime_ms, arm=Arm.UNGATED),
    Figure.GATE_LOOKS: Reading(read=lambda trial: trial.gate_looks, unit="looks"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """One figure of both sides, paired by trial."""

    figure: Figure
    scenario: str
    unit: str
    """`ms`, or `looks`."""
    pairs: int
    baseline: Estimate
    candidate: Estimate
    difference: Estimate
    """Candidate minus baseline."""
    deviation: float
    """Standard deviation of a difference."""
    effect: float
    """Growth that matters."""
    p_worse: float
    """That the difference is above 0 by chance."""
    p_harmless: float
    """That it is below the effect by chance."""
    unpaired: tuple[str, ...]
    """Trials that the other side lacks; they are left out."""
    evidence: tuple[str, str]
    """Files of both summaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """Events of one arm of both sides: counts, because percentiles of mostly zeros say nothing."""

    scenario: str
    arm: Arm
    baseline: tuple[int, int]
    """Events, and of how many."""
    candidate: tuple[int, int]
    p_more: float
    """That the candidate has more of them by chance; Fisher's exact test, one-sided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses(ArmCounts):
    """Trials that lost a probe."""

    bounds: tuple[float, float]
    """Largest probability of a trial with loss, of both sides; 95 %, one-sided, Clopper-Pearson."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resets(ArmCounts):
    """Connections that were reset, of those that were opened, of one family of flows."""

    family: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Number of trials that a decision needs, from the baseline's variance."""

    deviation: float
    """Standard deviation of a paired difference: that of the baseline's trials times the square root of 2."""
    effect: float
    trials: int | None
    """Trials with which a growth by the effect stops the release with 90 % power; None: more than 1,000."""
    unit: str

    def __str__(self) -> str:
        """Return the plan in a sentence."""
        count = f"more than {TRIALS_MAX:,}" if self.trials is None else f"{self.trials:,}"
        return (
            f"{count} trials of each version find a growth of {self.effect:,.4g} {self.unit} with {POWER:.0%} power "
            f"(standard deviation of a paired difference {self.deviation:,.4g} {self.unit})"
        )


def choose(baseline: Numbers, candidate: Numbers, primary: Primary, interval: float) -> tuple[Numbers, Numbers, Numbers]:
    """Test many decisions at once: one row a decision, one column a trial; the interval is in the unit of the figure.

    Returns:
        Of each row: the effect, the p-value of "worse", the p-value of "harmless".
    """
    effect = _effect(baseline.mean(axis=1), primary, interval)
    difference = candidate - baseline
    return effect, sign_flip_p(difference), sign_flip_p(effect[:, None] - difference)


def _effect(means: Numbers, primary: Primary, interval: float) -> Numbers:
    return np.maximum(primary.effect_percent / 100 * means, primary.effect_intervals * interval)


def decide(p_worse: Numbers, p_harmless: Numbers, look: Look) -> tuple[Flags, Flags]:
    """Return which decisions are a go, and which a stop."""
    is_go = p_harmless <= look.go_alpha
    return is_go, ~is_go & (p_worse <= look.stop_alpha)


def state_of(found: Relative, look: Look) -> State:
    """Return what the primary rule decides."""
    is_go, is_stop = decide(np.array([found.p_worse]), np.array([found.p_harmless]), look)
    if is_go[0]:
        return State.HOLDS
    return State.BROKEN if is_stop[0] else State.NOT_KNOWN


def collect_values(found: FoundArm, figure: Figure) -> dict[int, float | None]:
    """Return the figure of every trial; None: a trial without it, or one that was INCONCLUSIVE."""
    read = READINGS[figure].read
    return {trial.trial: None if trial.verdict is Verdict.INCONCLUSIVE else read(trial) for trial in found.arm.per_trial}


def make_plan(values: Numbers, primary: Primary, interval_ms: float) -> Plan:
    """Plan the trials from one version's values, at least two."""
    reading = READINGS[primary.figure]
    effect = float(_effect(values.mean(keepdims=True), primary, reading.scale(interval_ms))[0])
    deviation = float(values.std(ddof=1)) * 2**0.5
    trials = None if effect <= 0 else trials_needed(deviation, effect, STOP_ALPHA)
    return Plan(deviation=deviation, effect=effect, trials=trials, unit=reading.unit)


def plan_trials(baseline: Side, primary: Primary) -> Plan | None:
    """Plan the trials from the baseline; None: it has fewer than two values."""
    values, interval_ms = primary_values(baseline, primary)
    return make_plan(values, primary, interval_ms) if len(values) >= _PAIRS_SHOWN_MIN else None


def primary_values(side: Side, primary: Primary) -> tuple[Numbers, float]:
    """Return the primary figure of every trial that has it, and the probe interval in ms."""
    found = side.find_arm(primary.scenario, READINGS[primary.figure].arm)
    if found is None:
        return np.empty(0), 0.0
    known = [one for one in collect_values(found, primary.figure).values() if one is not None]
    return np.array(known, dtype=float), found.summary.interval_ms


def compare_figure(baseline: Side, candidate: Side, scenario: str, figure: Figure, primary: Primary) -> Relative | str:
    """Compare a figure of a scenario; a string says why it cannot be compared."""
    reading = READINGS[figure]
    arm = reading.arm
    ours, theirs = baseline.find_arm(scenario, arm), candidate.find_arm(scenario, arm)
    if ours is None or theirs is None:
        return f"there is no {arm} of {scenario}"
    before, after = collect_values(ours, figure), collect_values(theirs, figure)
    numbers = sorted(before.keys() & after.keys())
    lacking = [f"{side.name} {n}" for side, of in ((baseline, before), (candidate, after)) for n in sorted(of) if of[n] is None]
    if lacking:
        return f"no such figure, or an inconclusive verdict, in trial {', '.join(lacking)}"
    if len(numbers) < _PAIRS_SHOWN_MIN:
        return f"{plural(len(numbers), 'trial')} in common, at least {_PAIRS_SHOWN_MIN} are needed"
    first, second = (np.array([[values[n] for n in numbers]], dtype=float) for values in (before, after))
    effect, p_worse, p_harmless = choose(first, second, primary, reading.scale(ours.summary.interval_ms))
    return Relative(
        figure=figure,
        scenario=scenario,
        unit=reading.unit,
        pairs=len(numbers),
        baseline=estimate_mean(first[0]),
        candidate=estimate_mean(second[0]),
        difference=estimate_mean(second[0] - first[0]),
        deviation=float((second[0] - first[0]).std(ddof=1)),
        effect=float(effect[0]),
        p_worse=float(p_worse[0]),
        p_harmless=float(p_harmless[0]),
        unpaired=tuple(
            f"{side.name} trial {n}"
            for side, of, other in ((baseline, before, after), (candidate, after, before))
            for n in sorted(of.keys() - other.keys())
        ),
        evidence=(ours.path, theirs.path),
    )


def judge_primary(
    baseline: Side, candidate: Side, primary: Primary, look: Look | None = None
) -> tuple[RuleFinding, Relative | None]:
    """Judge the primary rule, at a look of a sequential decision if there is one; return the figures too, if comparable."""
    found = compare_figure(baseline, candidate, primary.scenario, primary.figure, primary)
    if isinstance(found, str):
        state, text, evidence = State.NOT_KNOWN, f"{primary.figure}: {found}", (baseline.path, candidate.path)
        next_step = "write the summaries again with `hitless judge`, run the missing trials, or name another figure"
    else:
        asked = look or Look(pairs=found.pairs)
        state, evidence = state_of(found, asked), found.evidence
        said, next_step = _say_state(state, found, asked)
        limits = f" (limits {asked.stop_alpha:.4f} and {asked.go_alpha:.4f})" if asked.is_asked else ""
        text = f"{say_relative(found)}{limits}: {said}"
    finding = RuleFinding(
        rule=RuleName.PRIMARY,
        scenario=primary.scenario,
        state=state,
        text=text,
        evidence=", ".join(evidence),
        next_step=next_step,
    )
    return finding, None if isinstance(found, str) else found


def _say_state(state: State, found: Relative, look: Look) -> tuple[str, str]:
    """Return what the primary rule has decided, and the next step."""
    match state:
        case State.HOLDS:
            return "a growth that matters is excluded", ""
        case State.BROKEN:
            return "the figure has grown, and a growth that matters is not excluded", "find the cause, or add an allowance"
        case State.NOT_KNOWN if not look.is_asked:
            return "not tested, because the trials ended between two looks", "resolve the other rules, then run again"
        case State.NOT_KNOWN:
            return "the test shows neither growth nor its absence", _say_more_trials(found, look)


def count_more_trials(found: Relative) -> int | None:
    """Return how many more trials would probably decide, if the difference stays what it is; None: more than 1,000."""
    needed = [
        count
        for effect, alpha in ((found.difference.mean, STOP_ALPHA), (found.effect - found.difference.mean, GO_ALPHA))
        if effect > 0 and (count := trials_needed(found.deviation, effect, alpha)) is not None
    ]
    return max(min(needed) - found.pairs, 1) if needed else None


def _say_more_trials(found: Relative, look: Look) -> str:
    """Return the next step of a decision that was not made."""
    more = count_more_trials(found)
    if more is None:
        return (
            f"more than {TRIALS_MAX:,} trials would be needed; make the machine quieter, or name a larger effect in the rules"
        )
    if look.of > 1:
        return f"start a new run with --trials {found.pairs + more}; this run has used its error probability"
    return f"run {plural(found.pairs + more, 'trial')} of each version ({more:,} more): they would probably decide"


def say_relative(found: Relative) -> str:
    """Return both figures, the difference, and the tests, in words."""
    unit = found.unit
    return (
        f"{found.figure} {_say(found.baseline)} {unit} in BASELINE, {_say(found.candidate)} {unit} in CANDIDATE; difference "
        f"{_say(found.difference)} {unit}, effect that matters {found.effect:,.4g} {unit}; sign-flip test of "
        f"{plural(found.pairs, 'pair')}: p = {found.p_worse:.4f} for worse, {found.p_harmless:.4f} for harmless"
    )


def _say(estimate: Estimate) -> str:
    return f"{estimate.mean:,.4g} [{estimate.low:,.4g}, {estimate.high:,.4g}]"


def _pair_arms(baseline: Side, candidate: Side) -> Iterator[tuple[str, Arm, FoundArm, FoundArm]]:
    """Yield every arm of every scenario that both sides have."""
    for scenario in baseline.scenarios:
        for arm in Arm:
            ours, theirs = baseline.find_arm(scenario, arm), candidate.find_arm(scenario, arm)
            if ours is not None and theirs is not None:
                yield scenario, arm, ours, theirs


def compare_losses(baseline: Side, candidate: Side) -> Iterator[Losses]:
    """Yield the trials that lost a probe, of every arm of every scenario."""
    for scenario, arm, *both in _pair_arms(baseline, candidate):
        before, after = ((sum(trial.totals.lost > 0 for trial in one.arm.per_trial), one.arm.trials) for one in both)
        yield Losses(
            scenario=scenario,
            arm=arm,
            baseline=before,
            candidate=after,
            bounds=(bound_probability(*before), bound_probability(*after)),
            p_more=more_hits_p(before, after),
        )


def compare_resets(baseline: Side, candidate: Side) -> Iterator[Resets]:
    """Yield the reset connections, of every family of flows that both sides have."""
    for scenario, arm, *both in _pair_arms(baseline, candidate):
        ours, theirs = (one.arm.connections for one in both)
        for family in ours.keys() & theirs.keys():
            before, after = ((one.reset, max(one.opened, one.reset)) for one in (ours[family], theirs[family]))
            p_more = more_hits_p(before, after)
            yield Resets(scenario=scenario, arm=arm, family=family, baseline=before, candidate=after, p_more=p_more)

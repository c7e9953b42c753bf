"""Who can perform the switch of a scenario: the registry. Where it happens is another question, see `commands.backends`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

from gardener.releases import LATEST
from hitless.errors import WorldError
from hitless.history import History
from hitless.plan import RunPlan
from hitless.ports import Clock
from hitless.words import SECOND, Arm, Verdict
from scenarios.model import Cloud
from scenarios.plan import Case, make_plan
from switches.acts import Act
from switches.observer import ObserverOptions, observe_plan


@unique
class SwitchName(StrEnum):
    """What `--switch` may say."""

    DOUBLES = "doubles"
    """The doubles of Gardener's parts, in this process."""
    OBSERVER = "observer"
    """Someone else switches; hitless only records it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """Who performs the switch."""

    name: SwitchName
    acts: frozenset[Act]
    """What it can do."""
    make_plan: Callable[[Case, Arm, int, Clock], RunPlan]
    """Returns what a trial of an arm does."""
    confirm: Callable[[Case, History], None]
    """Raises WorldError where a stored run is no run of its scenario."""


def make_performer(name: SwitchName, options: ObserverOptions | None = None) -> Performer:
    """Return who performs the switch.

    Args:
        name: which one.
        options: of the observer; None: all at their defaults.
    """
    match name:
        case SwitchName.DOUBLES:
            return Performer(name=name, acts=frozenset(Act), make_plan=make_plan, confirm=_accept)
        case SwitchName.OBSERVER:
            observer = options or ObserverOptions()

            def plan_observed(case: Case, arm: Arm, trial: int, clock: Clock) -> RunPlan:
                return observe_plan(make_plan(case, arm, trial, clock), clock, observer)

            return Performer(name=name, acts=frozenset(), make_plan=plan_observed, confirm=confirm_switched)


def find_acts(case: Case, arm: Arm) -> dict[Act, str]:
    """Return what has to be done for an arm to be what the scenario says, each with the words that name it."""
    scenario, plan = case.scenario, case.scenario.arm_plans[arm]
    faults = ", ".join(fault.name for fault in scenario.faults)
    needed = {
        Act.INJECT_FAULTS: (bool(scenario.faults), f" ({faults})"),
        Act.BREAK_GATE: (plan.mutant is not None, f" ({plan.mutant})"),
        Act.SHAPE_CLOUD: (scenario.cloud != Cloud(), ""),
        Act.CONFIGURE_EXTENSION: (
            scenario.controller_configuration is not None or scenario.extension != LATEST.name,
            "" if scenario.extension == LATEST.name else f" (release {scenario.extension})",
        ),
        Act.LEAVE_GATE_OFF: (arm is Arm.UNGATED and scenario.has_request, f", as {arm} does"),
        Act.KEEP_MODE: (scenario.has_request and scenario.wanted is scenario.start, ""),
        Act.FAIL: (plan.expect is not Verdict.PASS, f": {plan.expect}"),
    }
    return {act: f"{act}{detail}" for act, (is_needed, detail) in needed.items() if is_needed}


def find_impossible(performer: Performer, case: Case, arm: Arm) -> str | None:
    """Return the first thing that an arm needs done and the performer cannot do; None: there is none."""
    return next((words for act, words in find_acts(case, arm).items() if act not in performer.acts), None)


def confirm_switched(case: Case, history: History) -> None:
    """Raise WorldError where nothing switched the cluster: the run says nothing about the scenario."""
    if case.scenario.has_request and history.first_event("switch.requested") is None:
        waited_s = history.events[-1].t_ns / SECOND if history.events else 0.0
        raise WorldError(f"no switch to {case.scenario.wanted} was seen within {waited_s:.0f} s; start it after run.live")


def _accept(_case: Case, _history: History) -> None:
    """The doubles do what the scenario says, or the run has errors."""

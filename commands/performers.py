"""The registry of performers of a switch. For the clusters see `commands.backends`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import partial
from pathlib import Path

from clusters.programs.api_server import find_assets
from clusters.programs.cluster import Programs, find_program_release, plan_programs, surround
from clusters.programs.identity import check_program
from commands.options import DOUBLE
from gardener.doubles.route_controller import RouteControllerMode
from gardener.releases import LATEST, ExtensionRelease
from hitless.errors import UsageError, WorldError
from hitless.facts import Part
from hitless.faults import OF_SWITCH
from hitless.history import History
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster
from hitless.words import SECOND, Arm, Verdict
from scenarios.initial import Initial
from scenarios.parts import Cloud
from scenarios.plan import Case, make_plan
from switches.observer import ObserverOptions, observe_plan


@unique
class Act(StrEnum):
    """One act; its value completes the sentence that X cannot do it."""

    INJECT_FAULTS = "inject faults at their times"
    IDEALISE_ROUTES = "run an ideal route controller"
    CHOOSE_RELEASE = "act as another release of the extension"
    PREPARE = "prepare nodes and route tables"
    REQUEST_AGAIN = "make several requests"
    RESTART_PARTS = "stop Gardener's parts and start them again"
    DELAY_ROUTES = "let routes become effective later"
    BREAK_GATE = "break the gate"
    SHAPE_CLOUD = "make the cloud behave as the scenario states"
    CONFIGURE_EXTENSION = "configure the extension"
    LEAVE_GATE_OFF = "switch without the gate"
    KEEP_MODE = "see a request that does not change the mode"
    FAIL = "produce a verdict other than PASS"


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
    """The acts that it can perform."""
    find_release: Callable[[], ExtensionRelease] = lambda: LATEST
    """Returns the release of the extension, where a scenario names none."""
    make_plan: Callable[[Case, Arm, int, Clock], RunPlan]
    """Returns what a trial of an arm does."""
    surround: Callable[[Cluster, Case, Arm, Path, Clock], Cluster] = lambda cluster, *_: cluster
    """Returns the cluster with what it brings along around it, for a run in this folder."""
    confirm: Callable[[Case, History], None] = lambda *_: None
    """Raises WorldError if a stored run is no run of its scenario; doubles do what the scenario says, or the run has errors."""
    check: Callable[[], None] = lambda: None
    """Raises MissingCapabilityError if this machine lacks something that it needs."""
    is_real_time: bool = False
    """Whether it takes its real time, so that only the profile `gardener` works."""
    label: str = ""
    """Its name in messages."""


def make_performer(name: SwitchName, options: ObserverOptions | None = None, programs: Programs | None = None) -> Performer:
    """Return the performer of the switch; programs take the places of doubles, and the options are the observer's.

    Raises:
        UsageError: programs are given, and someone else switches.
    """
    label = f"--switch {name}"
    if programs:
        if name is not SwitchName.DOUBLES:
            raise UsageError(f"{_name_options(programs)} has no effect with {label}; leave it out")
        return _make_program_performer(programs)
    match name:
        case SwitchName.DOUBLES:
            return Performer(name=name, acts=frozenset(Act), make_plan=make_plan, label=label)
        case SwitchName.OBSERVER:
            observer = options or ObserverOptions()
            return Performer(
                name=name,
                acts=frozenset(),
                make_plan=lambda case, arm, trial, clock: observe_plan(make_plan(case, arm, trial, clock), clock, observer),
                confirm=confirm_switched,
                label=label,
            )


def read_programs(extension: str, resource_manager: str, route_controller: str) -> Programs:
    """Read the options that say which parts are programs: each is a path, or the word `double`.

    Raises:
        UsageError: extension and resource manager are not of one sort; the double of either does the other's work as well.
    """
    given_of = {Part.EXTENSION: extension, Part.RESOURCE_MANAGER: resource_manager, Part.ROUTE_CONTROLLER: route_controller}
    programs = {part: Path(one).expanduser() for part, one in given_of.items() if one != DOUBLE}
    if (Part.EXTENSION in programs) != (Part.RESOURCE_MANAGER in programs):
        given, missing = "extension", "resource-manager"
        if Part.EXTENSION not in programs:
            given, missing = missing, given
        raise UsageError(
            f"--{given} needs --{missing}, because the double of the extension applies its manifests itself; give both"
        )
    return programs


def _make_program_performer(programs: Programs) -> Performer:
    cannot = set()
    if Part.EXTENSION in programs:
        cannot |= {Act.BREAK_GATE, Act.CHOOSE_RELEASE}
    if Part.ROUTE_CONTROLLER in programs:
        cannot |= {Act.IDEALISE_ROUTES}

    def check() -> None:
        for part, path in programs.items():
            check_program(_option_of(part), path)
        find_assets()

    return Performer(
        name=SwitchName.DOUBLES,
        acts=frozenset(Act) - cannot,
        find_release=partial(find_program_release, programs),
        make_plan=lambda case, arm, trial, clock: plan_programs(make_plan(case, arm, trial, clock), programs, case, arm, clock),
        surround=lambda cluster, *rest: surround(cluster, programs, *rest),
        check=check,
        is_real_time=True,
        label=f"a program as {_name_options(programs)}",
    )


def _name_options(programs: Programs) -> str:
    return ", ".join(map(_option_of, programs))


def _option_of(part: Part) -> str:
    return f"--{part.value.replace(' ', '-')}"


def find_acts(case: Case, arm: Arm, release: ExtensionRelease) -> dict[Act, str]:
    """Return the acts that an arm of the scenario needs of an extension of this release, each with its name in messages."""
    scenario, plan = case.scenario, case.scenario.arm_plans[arm]
    faults = ", ".join(fault.name for fault in scenario.faults)
    needed = {
        Act.INJECT_FAULTS: (bool(scenario.faults), f" ({faults})"),
        Act.PREPARE: (scenario.initial != Initial(), ""),
        Act.REQUEST_AGAIN: (bool(scenario.then), ""),
        Act.RESTART_PARTS: (bool(scenario.fault_names & OF_SWITCH), ""),
        Act.DELAY_ROUTES: (case.behaviour.effective_ns > 0, ""),
        Act.BREAK_GATE: (plan.mutant is not None, f" ({plan.mutant})"),
        Act.SHAPE_CLOUD: (scenario.cloud != Cloud(), ""),
        Act.CONFIGURE_EXTENSION: (scenario.controller_configuration is not None, ""),
        Act.LEAVE_GATE_OFF: (arm is Arm.UNGATED and scenario.has_request, f", as {arm} does"),
        Act.KEEP_MODE: (scenario.has_request and scenario.wanted is scenario.start, ""),
        Act.IDEALISE_ROUTES: (scenario.cloud.route_controller is not RouteControllerMode.FAITHFUL, ""),
        Act.CHOOSE_RELEASE: (scenario.extension not in {LATEST.name, release.name}, f" ({scenario.extension})"),
        Act.FAIL: (plan.expect is not Verdict.PASS, f": {plan.expect}"),
    }
    return {act: f"{act}{detail}" for act, (is_needed, detail) in needed.items() if is_needed}


def find_impossible(performer: Performer, case: Case, arm: Arm) -> str | None:
    """Return the first act that an arm needs and the performer cannot perform; None: there is none."""
    needed = find_acts(case, arm, performer.find_release())
    return next((words for act, words in needed.items() if act not in performer.acts), None)


def confirm_switched(case: Case, history: History) -> None:
    """Raise WorldError if nothing switched the cluster: the run then says nothing about the scenario."""
    if case.scenario.has_request and not history.requests:
        watched = tuple(history.events_named("run.live", "run.settled", "run.timed_out"))
        waited_s = (watched[-1].t_ns - watched[0].t_ns) / SECOND if watched else 0.0
        raise WorldError(f"no switch to {case.scenario.wanted} was seen within {waited_s:.0f} s; start it after run.live")

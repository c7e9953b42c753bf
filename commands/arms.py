"""One arm of one scenario: how it is executed, judged and explained. The command line and conftest.py share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.evidence import Evidence, JudgedRun
from checks.catalogue import run_checks
from commands.backends import Backend
from commands.performers import Performer
from hitless.clock import RunClock
from hitless.history import History
from hitless.plan import RunPlan
from hitless.ports import Cluster
from hitless.run import run
from hitless.store import Listener, RunStore, write_json
from hitless.verdicts import judge
from hitless.words import Arm, Verdict
from scenarios.parts import ArmPlan
from scenarios.plan import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCase:
    """One arm of one scenario with its options applied."""

    case: Case
    arm: Arm
    trials: int = 1
    gap: str | None = None
    """Why the scenario's expectations do not apply to these options; None: they apply."""

    @property
    def plan(self) -> ArmPlan:
        """The expectations of the arm."""
        return self.case.scenario.arm_plans[self.arm]

    @property
    def id(self) -> str:
        """How pytest names it."""
        return f"{self.case.scenario.name}-{self.arm.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOutcome:
    """The outcome of an arm."""

    runs: tuple[JudgedRun, ...]
    directory: Path
    """Where the records and the report are."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict of each trial."""
        return tuple(run.verdict for run in self.runs)

    @property
    def failing(self) -> frozenset[str]:
        """Names of the checks that did not pass in every trial."""
        names = [{result.check for result in run.results if result.verdict is not Verdict.PASS} for run in self.runs]
        return frozenset(set.intersection(*names)) if names else frozenset()

    @property
    def explanation(self) -> str:
        """The verdict and the findings behind it, for the message of a failed test."""
        lines = [f"{', '.join(self.verdicts)}; records in {self.directory}"]
        for judged in self.runs:
            for result in judged.results:
                lines += [
                    f"  trial {judged.history.header.trial} {result.check} {finding.verdict} {finding.code}: {finding.text}"
                    for finding in result.findings
                    if finding.verdict is not Verdict.PASS
                ]
        return "\n".join(lines)


def execute_trial(backend: Backend, performer: Performer, case: Case, arm: Arm, trial: int, directory: Path) -> JudgedRun:
    """Bring a cluster up, execute one run in it, judge it and store the verdict.

    Raises:
        WorldError: the cluster could not be brought up, or the stored run is not of this scenario.
        KeyboardInterrupt: after everything was removed.
    """
    clock = RunClock()
    plan = performer.make_plan(case, arm, trial, clock)
    cluster = performer.surround(backend.make_cluster(case, clock), case, arm, directory, clock)
    judged = execute_plan(plan, cluster, clock, directory)
    performer.confirm(case, judged.history)
    return judged


def execute_plan(
    plan: RunPlan, cluster: Cluster, clock: RunClock, directory: Path, listener: Listener | None = None
) -> JudgedRun:
    """Execute a plan, judge the records, store the verdict; errors as `execute_trial`."""
    judged = judge_history(run(plan, cluster, clock, RunStore(directory, clock, listener)))
    write_json(directory / "verdict.json", judged.as_json())
    return judged


def judge_history(history: History) -> JudgedRun:
    """Judge a history, fresh or stored: the answer is the same."""
    evidence = Evidence(history)
    results = run_checks(evidence)
    return JudgedRun(evidence=evidence, results=results, verdict=judge(results))


Execute = Callable[[ArmCase], ArmOutcome]

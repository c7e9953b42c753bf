"""`hitless gate --run`: run two versions alternately, trial by trial, until the release gate decides or the budget is spent.

A trial is `hitless compare --trials 1` with the version's own arguments, in its own process: whatever makes a version for
`compare` makes one here. The folders that are left are those of comparisons; `hitless judge` reads them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from commands.compare import find_runs, read_stored
from commands.options import DOUBLE, LATEST, make_run_directory
from commands.reporting import write_comparison
from hitless.errors import UsageError, WorldError
from hitless.plural import plural
from hitless.store import write_json
from reports.gate.decision import Outcome, Question, Release, decide_release
from reports.gate.inference import between_looks, plan_looks
from reports.gate.rules import RuleName, State
from reports.gate.sides import Side, StoredSummary, make_side
from reports.summary import summarise

_OURS: Final = frozenset({"--scenario", "--trials", "--first-trial", "--output", "--format", "--watched"})
"""Options of `hitless compare` that are the same for both versions, or say what a trial is."""


class Version:
    """One version of the system under test, BASELINE or CANDIDATE, and the trials that it has had."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        """Take the arguments of `hitless compare`. Raises UsageError: one that is not the version's to give."""
        taken = sorted({argument.partition("=")[0] for argument in arguments} & _OURS)
        if taken:
            raise UsageError(f"leave out {', '.join(taken)}; `hitless gate --run` sets them", where=f"--{name.lower()}-args")
        self.name, self.arguments = name, tuple(arguments)
        self._runs: dict[str, list[JudgedRun]] = {}
        self._new: list[tuple[str, Path]] = []

    @property
    def has_program(self) -> bool:
        """Whether its extension is a program."""
        given = [
            following if option == "--extension" else option.partition("=")[2]
            for option, following in pairwise((*self.arguments, ""))
            if option.partition("=")[0] == "--extension"
        ]
        return bool(given) and given[-1] != DOUBLE

    def run_trial(self, scenario: str, source: str, trial: int, scratch: Path) -> str:
        """Run a trial of every arm of a scenario, given as `compare --scenario` takes it; return the verdicts.

        Raises:
            UsageError: `hitless compare` refuses the arguments.
            WorldError: there is no result, or it cannot be read.
        """
        output = scratch / f"{self.name}-{scenario}-{trial}"
        numbers = ("--trials", "1", "--first-trial", str(trial))
        done = _execute(("compare", "--scenario", source, *numbers, "--output", str(output), *self.arguments))
        what = f"trial {trial} of {scenario}, {self.name}"
        if done.returncode == UsageError.exit_code:
            raise UsageError(f"{what}: {done.stderr.strip()}")
        if not (output / LATEST).is_dir():
            raise WorldError(f"{what} gave no result (exit code {done.returncode}): {done.stderr.strip()}")
        runs, damaged = read_stored(output / LATEST)
        if damaged:
            raise WorldError(f"{what}: {'; '.join(damaged)}")
        self._runs.setdefault(scenario, []).extend(runs)
        self._new += [(scenario, folder) for folder in find_runs((output / LATEST).resolve())]
        return ", ".join(f"{run.history.header.arm} {run.verdict}" for run in runs)

    def make_side(self, directory: Path) -> Side:
        """Store the new trials and the summaries below `directory`; return them as one side. Raises WorldError."""
        place = directory / self.name.lower()
        for scenario, folder in self._new:
            (place / scenario).mkdir(parents=True, exist_ok=True)
            shutil.move(folder, place / scenario / folder.name)
        self._new.clear()
        stored = []
        for comparison in self._comparisons():
            path = place / comparison.scenario / "summary.json"
            summary = summarise(comparison)
            write_json(path, summary.as_json())
            stored.append(StoredSummary(path=str(path), summary=summary))
        return make_side(self.name, str(place), stored)

    def report(self, directory: Path) -> None:
        """Write verdict and report of each scenario. Raises WorldError."""
        for comparison in self._comparisons():
            write_comparison(comparison, directory / self.name.lower() / comparison.scenario)

    def _comparisons(self) -> Iterator[Comparison]:
        return (Comparison(runs=tuple(runs)) for runs in self._runs.values())


def _execute(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "commands.main", *arguments]
    # In its own session: Ctrl-C reaches it only once, as the SIGTERM below, so it can remove its cluster.
    with subprocess.Popen(  # noqa: S603 - this program
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            _, errors = process.communicate()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, "", errors)


def run_versions(
    question: Question, sources: Mapping[str, str], budget: int, baseline: Version, candidate: Version, output: Path
) -> tuple[Release, Path]:
    """Run trials until the release is decided, and store them with the decision, gate.json.

    Every scenario that the rules require is run once by each version, the primary one until decided. A rule that does not hold
    ends the trials: more of them cannot mend it.

    Args:
        question: what decides.
        sources: scenario to what `compare --scenario` takes: the primary one, and those that the rules require.
        budget: trials of each version at the most.
        baseline: the last release.
        candidate: the version that may be released.
        output: where the returned folder is made.

    Raises:
        UsageError: the budget or an argument is wrong, or the versions cannot be compared; nothing was written before the first
            pair was complete.
        WorldError: a trial gave no result.
    """
    is_allowed = any(one.rule is RuleName.DECISION_TABLE for one in question.rules.allowances)
    if candidate.has_program and question.decisions is None and not is_allowed:
        raise UsageError(
            "the CANDIDATE's extension is a program, and trials cannot replace its decision table; run "
            "`hitless conform --extension CANDIDATE --against BASELINE`, and give its conform.json",
            where="--decisions",
        )
    looks = {look.pairs: look for look in plan_looks(budget)}
    steps = _order(question.rules.primary.scenario, sources, budget)
    with tempfile.TemporaryDirectory(prefix="hitless-gate-") as folder:

        def run_pair(scenario: str, trial: int) -> None:
            for version in (baseline, candidate) if trial % 2 else (candidate, baseline):
                said = version.run_trial(scenario, sources[scenario], trial, Path(folder))
                sys.stderr.write(f"hitless: {scenario} trial {trial}, {version.name}: {said}\n")

        scenario, trial, is_asked = next(steps)
        run_pair(scenario, trial)
        directory = make_run_directory(output, "gate")
        while True:
            sides = baseline.make_side(directory), candidate.make_side(directory)
            if is_asked:
                release = decide_release(*sides, question, looks.get(trial) or between_looks(trial))
                if trial == budget or _is_over(release):
                    break
            scenario, trial, is_asked = next(steps)
            run_pair(scenario, trial)
    baseline.report(directory)
    candidate.report(directory)
    write_json(directory / "gate.json", release.as_json())
    return release, directory


def _order(primary: str, scenarios: Collection[str], budget: int) -> Iterator[tuple[str, int, bool]]:
    """Yield scenario, trial, and whether a decision is asked for after it: not before every scenario was run."""
    others = [scenario for scenario in scenarios if scenario != primary]
    yield primary, 1, not others
    for scenario in others:
        yield scenario, 1, scenario == others[-1]
    for trial in range(2, budget + 1):
        yield primary, trial, True


def _is_over(release: Release) -> bool:
    """Return whether more trials cannot change the outcome: it is decided, or an absolute rule does not hold."""
    absolute = (finding.counts for finding in release.findings if finding.rule is not RuleName.PRIMARY)
    return release.outcome is not Outcome.NOT_DECIDED or any(state is not State.HOLDS for state in absolute)


def say_looks(budget: int) -> str:
    """Return at which numbers of pairs the primary rule is asked. Raises UsageError."""
    first, *rest, last = plan_looks(budget)
    pairs = ", ".join(str(look.pairs) for look in (first, *rest))
    return f"the primary rule is tested after {pairs} and {plural(last.pairs, 'pair')}"

"""`hitless compare` and `hitless judge`: both arms interleaved, then the table, the report and the verdict."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from clusters.linux.sandbox import enter_sandbox
from commands.arms import execute_plan, execute_trial, judge_history
from commands.backends import Backend
from commands.live import LiveView
from commands.options import Format, make_folder, make_run_directory
from commands.performers import Performer, find_impossible
from commands.reporting import attempt, describe_decision, write_comparison, write_prometheus
from commands.terminal import print_comparison, print_run
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError, RecordDamagedError, UsageError
from hitless.history import History
from hitless.plural import plural
from hitless.store import read_history
from hitless.words import MILLISECOND, SECOND, Arm, JsonObject, Nanoseconds, Verdict
from reports.summary import summarise
from scenarios.mesh import find_mesh_coverage
from scenarios.plan import Case, make_plan

RATES_HZ: Final = (200.0, 100.0, 50.0, 20.0)
"""What is tried, in this order."""
_CHECKS: Final[dict[str, JsonObject]] = {"coverage": {"missed_ticks_ratio": 0.02}}
"""Less than the 5 % that a run is allowed: a switch takes time of the same CPUs."""
ALIKE_MAX: Final = 3
"""Findings of one kind that the judgement of a single run prints; of more it prints the first and their number."""


def compare_arms(
    backend: Backend,
    performer: Performer,
    case: Case,
    trials: range,
    output: Path,
    output_format: Format,
    prometheus: Path | None = None,
    *,
    is_rate_auto: bool = False,
) -> Verdict:
    """Run every trial of both arms, write the report, print, and return the comparison's verdict.

    The arms alternate, and the order changes with each trial, so that a drift of the machine affects both equally.
    With an automatic rate, it is lowered before to what this machine answers.

    Raises:
        UsageError: the performer cannot do what the scenario needs, or nothing can be written there; nothing was run.
        MissingCapabilityError: the machine lacks what the scenario needs; nothing was run.
    """
    for arm in case.scenario.arm_plans:
        act = find_impossible(performer, case, arm)
        if act is not None:
            raise UsageError(f"{performer.label} cannot {act}, which {case.scenario.name} needs; choose another scenario")
    performer.check()
    # Before the sandbox: inside it a new folder directly below /run may be visible to this process only.
    make_folder(output)
    if backend.needs_sandbox:
        enter_sandbox()
    missing = backend.find_missing(case)
    if missing:
        raise MissingCapabilityError(
            f"this machine lacks {', '.join(missing)} for {case.scenario.name}; run `hitless doctor` to see how to install it"
        )
    if is_rate_auto:
        case, text = choose_rate(case, partial(find_doubt, backend))
        sys.stderr.write(f"hitless: {text}\n")
    directory = make_run_directory(output, case.scenario.name)
    try:
        runs = _run_trials(backend, performer, case, trials, directory, output_format)
    except KeyboardInterrupt:
        sys.stderr.write(f"hitless: the completed runs are stored in {directory}\n")
        raise
    return _tell(Comparison(runs=runs), directory, output_format, prometheus)


def _run_trials(
    backend: Backend, performer: Performer, case: Case, trials: range, directory: Path, output_format: Format
) -> tuple[JudgedRun, ...]:
    arms = tuple(case.scenario.arm_plans)
    order = sorted(((arm, trial) for arm in arms for trial in trials), key=_turn)
    runs = []
    is_shown = output_format is Format.TEXT
    with closing(LiveView(directory, sys.stderr if is_shown else io.StringIO())) as view:
        for arm, trial in order:
            runs.append(execute_trial(backend, performer, case, arm, trial, directory / f"{arm.lower()}-{trial}"))
            view.erase()
            if is_shown:
                print_run(runs[-1])
    return tuple(runs)


def choose_rate(case: Case, find_doubt: Callable[[Case], str | None]) -> tuple[Case, str]:
    """Return the case at the highest rate that this machine sustains, and a line that says so.

    It is never higher than the scenario's own. The function tries a case's rate and returns what is wrong, or None, as
    `find_doubt` does.

    Raises:
        MissingCapabilityError: no rate is clean.
    """
    own_hz, doubt = case.scenario.rate_hz, ""
    rates_hz = tuple(rate_hz for rate_hz in RATES_HZ if rate_hz <= own_hz) or (own_hz,)
    for rate_hz in rates_hz:
        tried = replace(case, scenario=case.scenario.model_copy(update={"rate_hz": rate_hz}))
        refusal = find_doubt(tried)
        if refusal is None:
            return tried, f"this machine sustains {rate_hz:g} probes per second per flow{doubt}"
        doubt = f"; at {rate_hz:g}: {refusal}"
    slowest = f"not even {rates_hz[-1]:g} probes per second per flow"
    raise MissingCapabilityError(f"this machine sustains {slowest}{doubt}; use fewer nodes or a quieter machine")


def find_doubt(backend: Backend, case: Case) -> str | None:
    """Try the case's rate in a run without a request or a fault; return what a validity check doubts, or None.

    Raises:
        WorldError: the cluster could not be brought up.
    """
    clock = RunClock()
    plan = make_plan(case, next(iter(case.scenario.arm_plans)), 1, clock)
    quiet = replace(
        plan,
        header=replace(plan.header, checks=_CHECKS, validation_ns=Nanoseconds(0)),
        faults=(),
        make_load=None,
        baseline_ns=Nanoseconds(round(backend.rate_watched_s * SECOND)),
        duration_ns_max=Nanoseconds(0),
        requests_ns=(),
    )
    with tempfile.TemporaryDirectory(prefix="hitless-rate-") as folder:
        judged = execute_plan(quiet, backend.make_cluster(case, clock), clock, Path(folder))
    findings = (finding for result in judged.results for finding in result.findings)
    return next((finding.text for finding in findings if finding.verdict is not Verdict.PASS), None)


def compare_watched(paths: Sequence[Path], output: Path, output_format: Format, prometheus: Path | None = None) -> Verdict:
    """Compare stored watches of the two arms, write the report, print, and return the comparison's verdict.

    The headers say which arm each watch is. The report gets a folder of its own with links to the watches.

    Raises:
        UsageError: there is no stored run at a path, or the watches cannot be compared; nothing was written.
        RecordDamagedError: a record cannot be read.
    """
    sides = {path: read_stored(path) for path in paths}
    check_comparable({path: [run.history for run in runs] for path, (runs, _) in sides.items()})
    every = tuple(run for runs, _ in sides.values() for run in runs)
    damaged = tuple(reason for _, reasons in sides.values() for reason in reasons)
    scenario = every[0].history.header.scenario
    directory = make_run_directory(output, scenario)
    for path, (runs, _) in sides.items():
        for folder in find_runs(path):
            # On a file system without links they are left out: only `hitless judge` needs them.
            with suppress(OSError):
                (directory / f"{runs[0].history.header.arm.lower()}-{folder.name}").symlink_to(folder.resolve())
    return _tell(Comparison(runs=every, damaged=damaged), directory, output_format, prometheus)


def check_comparable(watches: Mapping[Path, Sequence[History]]) -> None:
    """Raise UsageError if stored watches are not the two arms of one comparison; it names the difference."""
    if len(watches) < len(Arm):
        raise UsageError(f"{', '.join(map(str, watches))} was given twice; give one watch of the arm UNGATED and one of GATED")
    arms: dict[Arm, Path] = {}
    for path, histories in watches.items():
        for arm in {history.header.arm for history in histories}:
            if arm in arms:
                raise UsageError(f"{arms[arm]} and {path} are both {arm}; give one watch of the arm UNGATED and one of GATED")
            arms[arm] = path
    traits = {
        path: {name: value for history in histories for name, value in _describe(history).items()}
        for path, histories in watches.items()
    }
    (first, ours), (second, theirs) = traits.items()
    for name, value in ours.items():
        if value != theirs[name]:
            raise UsageError(f"the watches differ in {name}: {value} in {first}, {theirs[name]} in {second}")


def _describe(history: History) -> dict[str, str]:
    """Return the properties that two watches must share, in words."""
    header, zones = history.header, Counter(node.zone for node in history.facts.nodes)
    return {
        "scenario": header.scenario,
        "topology": ", ".join(f"{plural(count, 'node')} in zone {zone}" for zone, count in sorted(zones.items())),
        "mesh": find_mesh_coverage(history.facts, history.flows).text,
        "overlay": header.overlay.value,
        "switch": f"{header.start_mode} to {header.wanted_mode}",
        "probe interval": f"{header.interval_ns / MILLISECOND:g} ms",
    }


def _turn(arm_and_trial: tuple[Arm, int]) -> tuple[int, int]:
    """Return the sort key of a run among those of its comparison: the arms take turns in going first."""
    arm, trial = arm_and_trial
    position = tuple(Arm).index(arm)
    return trial, position if trial % 2 else -position


def judge_stored(path: Path, output_format: Format, prometheus: Path | None = None) -> Verdict:
    """Judge a stored comparison, or one run of it, again; write its report again if its folder is writable; print it.

    A run that cannot be read is named and left out. The others are judged: their FAIL stays FAIL, their PASS is INCONCLUSIVE.

    Raises:
        UsageError: there is no stored run at `path`.
        RecordDamagedError: no run can be read.
    """
    if (path / "run.json").exists():
        judged = judge_history(read_history(path, must_be_whole=False))
        if prometheus is not None:
            alone = Comparison(runs=(judged,), has_rule=False)
            write_prometheus(prometheus, attempt(prometheus, lambda: summarise(alone)))
        return tell_single(judged, output_format)
    runs, damaged = read_stored(path)
    names = {run.history.header.scenario for run in runs}
    if len(names) > 1:
        raise RecordDamagedError(f"{path} has runs of several scenarios: {', '.join(sorted(names))}; judge each run separately")
    # A suite numbers the runs of its one arm, which has no rule over both; a comparison's bear the arm's name.
    has_rule = not all(folder.name.isdigit() for folder in find_runs(path))
    return _tell(Comparison(runs=runs, damaged=damaged, has_rule=has_rule), path, output_format, prometheus, must_store=False)


def find_runs(path: Path) -> tuple[Path, ...]:
    """Return the folders of the runs that are stored at `path`: itself, or those in it. Raises UsageError: there is none."""
    if (path / "run.json").exists():
        return (path,)
    if not any(path.glob("*/run.json")):
        what = "no stored run here" if path.exists() else "does not exist"
        raise UsageError(f"{what}; give the folder of a stored comparison or of one stored run", where=str(path))
    return tuple(sorted(folder for folder in path.iterdir() if folder.is_dir()))


def read_stored(path: Path) -> tuple[tuple[JudgedRun, ...], tuple[str, ...]]:
    """Read and judge the runs that are stored at `path`.

    Returns:
        The runs, in the order in which they took place, and why each of the others cannot be read.

    Raises:
        UsageError: there is no stored run.
        RecordDamagedError: none can be read.
    """
    histories: list[History] = []
    damaged: list[str] = []
    for folder in find_runs(path):
        try:
            histories.append(read_history(folder))
        except RecordDamagedError as error:
            damaged.append(str(error))
    if not histories:
        raise RecordDamagedError("; ".join(damaged))
    histories.sort(key=lambda history: _turn((history.header.arm, history.header.trial)))
    return tuple(map(judge_history, histories)), tuple(damaged)


def _tell(
    comparison: Comparison, directory: Path, output_format: Format, prometheus: Path | None, *, must_store: bool = True
) -> Verdict:
    """Write the report, print the result, and return the verdict, which neither can change."""
    written = write_comparison(comparison, directory, must_store=must_store)
    write_prometheus(prometheus, written.summary)
    verdict = comparison.decision.verdict
    if output_format is Format.JSON:
        document = describe_decision(comparison) if written.summary is None else written.summary.as_json()
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    elif written.summary is None:
        sys.stdout.write(f"{verdict}: the table cannot be printed; records in {directory}\n")
    else:
        print_comparison(written.summary, written.page_path or directory)
    return verdict


def tell_single(judged: JudgedRun, output_format: Format) -> Verdict:
    """Print the verdict of one run and its findings; of many of one kind the first, with their number."""
    header = judged.history.header
    if output_format is Format.JSON:
        sys.stdout.write(json.dumps(judged.as_json(), indent=1) + "\n")
    else:
        sys.stdout.write(f"{header.scenario} {header.arm} trial {header.trial}: {judged.verdict}\n")
        for result in judged.results:
            sys.stdout.write(f"  {result.check}: {result.verdict}\n")
            kinds: dict[tuple[Verdict, str], list[str]] = {}
            for finding in result.findings:
                kinds.setdefault((finding.verdict, finding.code), []).append(finding.text)
            for (verdict, code), texts in kinds.items():
                others = len(texts) - 1 if len(texts) > ALIKE_MAX else 0
                more = f" (and {plural(others, 'more finding')} like it; --format json has all)" if others else ""
                sys.stdout.writelines(f"    {verdict} {code}: {text}{more}\n" for text in texts[: len(texts) - others])
    return judged.verdict

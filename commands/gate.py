"""`hitless gate`: read both sides, decide, print. The rules and the statistics are in reports/gate."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from analysis.comparison import Comparison
from commands.compare import read_stored
from commands.gate_run import Version, run_versions, say_looks
from commands.options import GateFormat
from hitless.documents import read_document
from hitless.errors import UsageError
from reports.gate.absolute import Plans
from reports.gate.decision import Outcome, Question, Release, decide_release
from reports.gate.decision_table import parse_table
from reports.gate.inference import Look
from reports.gate.relative import make_plan, primary_values
from reports.gate.rules import Figure, Rules, Trait, read_rules
from reports.gate.sides import Side, StoredSummary, make_side, parse_summary
from reports.gate.simulation import RECORDED_INTERVAL_MS, RECORDED_MS, RECORDED_SOURCE, simulate_decisions
from reports.gate.writing import render_annotations, render_junit, render_markdown, render_self_test, render_text, say_plan
from reports.summary import summarise
from scenarios.loading import catalogue, find_scenario, load_scenario

EXIT_CODES: Final = {Outcome.GO: 0, Outcome.STOP: 1, Outcome.NOT_DECIDED: 20}
_RENDERERS: Final[Mapping[GateFormat, Callable[[Release], str]]] = {
    GateFormat.TEXT: render_text,
    GateFormat.JSON: lambda release: json.dumps(release.as_json(), indent=1) + "\n",
    GateFormat.MARKDOWN: render_markdown,
    GateFormat.JUNIT: render_junit,
    GateFormat.ANNOTATIONS: render_annotations,
}
_SUMMARY: Final = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """Options of a decision from the command line, except the sides."""

    rules_file: Path | None = None
    """None: the built-in rules."""
    scenario_files: tuple[Path, ...] = ()
    """Scenarios that are not shipped."""
    allow_different: tuple[Trait, ...] = ()
    decisions: Path | None = None
    """The candidate's decision table."""


def read_question(options: GateOptions, baseline: Side | None = None) -> Question:
    """Read the rules, and what the scenarios expect that the rules name and the baseline has. Raises UsageError."""
    path = options.rules_file
    rules = Rules() if path is None else read_rules(read_document(path), str(path), datetime.now(UTC).date())
    wanted = {*rules.required, *((rules.primary.scenario,) if baseline is None else baseline.scenarios)}
    table = None if options.decisions is None else parse_table(read_content(options.decisions), str(options.decisions))
    plans = _read_plans(wanted, options.scenario_files)
    return Question(rules=rules, plans=plans, allow_different=options.allow_different, decisions=table)


def gate_release(paths: Sequence[Path], options: GateOptions, output_format: GateFormat) -> int:
    """Decide about a release, print the decision, and return the exit code.

    Raises:
        UsageError: an input cannot be read, or the sides cannot be compared.
    """
    if len(paths) != 2:  # noqa: PLR2004 - a baseline and a candidate
        raise UsageError(f"give two folders, BASELINE and CANDIDATE; found {len(paths)}")
    baseline = read_side("BASELINE", paths[0])
    release = decide_release(baseline, read_side("CANDIDATE", paths[1]), read_question(options, baseline))
    sys.stdout.write(_RENDERERS[output_format](release))
    return EXIT_CODES[release.outcome]


def run_gate(arguments: tuple[str, str], options: GateOptions, budget: int, output: Path, output_format: GateFormat) -> int:
    """Run both versions until the release is decided, print the decision, and return the exit code.

    The arguments are those of `hitless compare` that make the last release, and those that make the candidate; the budget is
    the trials of each version at the most. Errors as `run_versions`.
    """
    question = read_question(options)
    files = {load_scenario(path).name: path for path in options.scenario_files}
    wanted = sorted({question.rules.primary.scenario, *question.rules.required})
    sources = {name: str(find_scenario(str(files.get(name, name)))) for name in wanted}
    baseline, candidate = (
        Version(name, _split(f"--{name.lower()}-args", text))
        for name, text in zip(("BASELINE", "CANDIDATE"), arguments, strict=True)
    )
    for line in (say_looks(budget), _say_recorded_plan(question.rules)):
        sys.stderr.write(f"hitless: {line}\n")
    release, directory = run_versions(question, sources, budget, baseline, candidate, output)
    sys.stdout.write(_RENDERERS[output_format](release))
    sys.stderr.write(f"hitless: trials and gate.json are in {directory}\n")
    return EXIT_CODES[release.outcome]


def _split(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(where=option, found=repr(text), expected=f"arguments quoted as for a shell ({error})") from error


def _say_recorded_plan(rules: Rules) -> str:
    if rules.primary.figure is not Figure.GATE_HOLD_AFTER_ROUTES:
        return say_plan(None)
    return f"by the recorded values, {make_plan(np.array(RECORDED_MS), rules.primary, RECORDED_INTERVAL_MS)}"


def check_gate(paths: Sequence[Path], rules_file: Path | None, looks: Sequence[Look], output_format: GateFormat) -> int:
    """Simulate decisions, print the operating curve, and return the exit code: 1 if the gate stops too often.

    Raises:
        UsageError: the values cannot be read, are too few, or belong to another figure.
    """
    rules = read_question(GateOptions(rules_file=rules_file)).rules
    if len(paths) > 1:
        raise UsageError("--self-test uses the runs of one version; give one folder, or none for the recorded values")
    if output_format not in {GateFormat.TEXT, GateFormat.JSON}:
        raise UsageError(where="--format", found=output_format, expected="text or json with --self-test")
    if paths:
        values, interval_ms = primary_values(read_side("BASELINE", paths[0]), rules.primary)
        source = str(paths[0])
    elif rules.primary.figure is Figure.GATE_HOLD_AFTER_ROUTES:
        values, interval_ms, source = np.array(RECORDED_MS), RECORDED_INTERVAL_MS, RECORDED_SOURCE
    else:
        raise UsageError(f"there are no recorded values of {rules.primary.figure}; give a folder with --self-test")
    found = simulate_decisions(values, interval_ms, rules.primary, looks, source)
    if output_format is GateFormat.JSON:
        sys.stdout.write(json.dumps({**asdict(found), "is_good": found.is_good}, indent=1) + "\n")
    else:
        sys.stdout.write(render_self_test(found))
    return 0 if found.is_good else 1


def read_side(name: str, path: Path) -> Side:
    """Read one side of a decision: one run, or summaries.

    Raises:
        UsageError: there is nothing, or it cannot be read.
        RecordDamagedError: the run cannot be read.
    """
    if (path / "run.json").is_file():
        (run,), _ = read_stored(path)
        summary = summarise(Comparison(runs=(run,), has_rule=False))
        return make_side(name, str(path), [StoredSummary(path=str(path), summary=summary)])
    return make_side(name, str(path), [parse_summary(read_content(file), str(file)) for file in find_summaries(path)])


def find_summaries(path: Path) -> tuple[Path, ...]:
    """Return the summaries at a path: the file itself, that of a comparison, or those of a session.

    Raises:
        UsageError: there is none, or a folder of the session lacks its own.
    """
    if path.is_file():
        return (path,)
    if (path / _SUMMARY).is_file():
        return (path / _SUMMARY,)
    try:
        folders = sorted(one for one in path.iterdir() if one.is_dir() and not one.is_symlink()) if path.is_dir() else []
    except OSError as error:
        raise UsageError(where=str(path), found=error.strerror or str(error), expected="a folder that can be read") from error
    found = tuple(folder / _SUMMARY for folder in folders if (folder / _SUMMARY).is_file())
    if not found:
        expected = f"a {_SUMMARY}, the folder of a comparison or of a run, or that of a session of suites"
        what = f"no {_SUMMARY} here" if path.exists() else "does not exist"
        raise UsageError(f"{what}; give {expected}", where=str(path))
    lacking = [folder for folder in folders if folder / _SUMMARY not in found]
    if lacking:
        raise UsageError(
            where=str(lacking[0]),
            found=f"no {_SUMMARY}",
            expected="a judged comparison; run `hitless judge` for this folder, or remove it",
        )
    return found


def read_content(path: Path) -> bytes:
    """Return the octets of a file. Raises UsageError: it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(where=str(path), found=error.strerror or str(error), expected="a readable file") from error


def _read_plans(wanted: Collection[str], files: Sequence[Path]) -> Plans:
    """Return what the arms of the wanted scenarios should come to: of those that are shipped, and of the given files.

    Raises:
        UsageError: a file is no scenario, or is not wanted.
    """
    scenarios = [load_scenario(path) for path in (*(path for path in catalogue() if path.stem in wanted), *files)]
    for scenario in scenarios:
        if scenario.name not in wanted:
            raise UsageError(
                where="--scenario", found=scenario.name, expected=f"a scenario that was run: {', '.join(sorted(wanted))}"
            )
    return {scenario.name: scenario.arm_plans for scenario in scenarios}

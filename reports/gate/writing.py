"""The release decision in words: text, Markdown, JUnit, annotations of GitHub. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET

from hitless.plural import plural
from reports.gate.decision import Outcome, Release
from reports.gate.inference import STOP_ALPHA
from reports.gate.relative import Plan, say_relative
from reports.gate.rules import RuleFinding, State
from reports.gate.sides import say_part
from reports.gate.simulation import SelfTest
from reports.templating import annotate, markdown_table

_COLUMNS: Final = ("rule", "scenario", "state", "what was found", "evidence", "next step")


def render_text(release: Release) -> str:
    """Return the decision for a terminal; the outcome is the last line."""
    lines = list(_say_inputs(release))
    for finding in release.findings:
        state = finding.state if finding.allowance is None else "allowed"
        lines.append(f"{state}  {finding.rule} of {finding.scenario}: {finding.text}")
        if finding.state is not State.HOLDS:
            lines.append(f"    evidence: {finding.evidence}")
            lines.append(f"    {'next: ' if finding.allowance is None else ''}{finding.remedy}")
    lines += (f"advisory  {text}" for text in _advisory(release))
    lines += (f"note  {text}" for text in _notes(release))
    return "\n".join((*lines, f"{release.outcome.upper()}: {_why(release)}", ""))


def render_markdown(release: Release) -> str:
    """Return the decision for a pull request; what holds and what is advisory is folded."""
    lines = [f"# Release gate: {release.outcome}", "", f"{_why(release)}.", ""]
    lines += [*(f"- {text}" for text in _say_inputs(release)), ""]
    shown = [finding for finding in release.findings if finding.state is not State.HOLDS]
    if shown:
        lines += [*markdown_table(_COLUMNS, map(_row, shown)), ""]
    holding = [finding for finding in release.findings if finding.state is State.HOLDS]
    lines += [*_fold(f"{plural(len(holding), 'rule')} held", markdown_table(_COLUMNS, map(_row, holding)))]
    lines += [*_fold("Advisory figures", [f"- {text}" for text in _advisory(release)])]
    lines += [*(f"- {text}" for text in _notes(release)), ""]
    return "\n".join(lines)


def _row(finding: RuleFinding) -> tuple[str, ...]:
    return finding.rule.value, finding.scenario, finding.state.value, finding.text, finding.evidence, finding.remedy


def _fold(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""]


def render_junit(release: Release) -> str:
    """Return the decision as JUnit: a rule that is broken is a failure, one that is not known an error."""
    suite = ET.Element(
        "testsuite",
        name="hitless gate",
        tests=str(len(release.findings)),
        failures=str(sum(finding.counts is State.BROKEN for finding in release.findings)),
        errors=str(sum(finding.counts is State.NOT_KNOWN for finding in release.findings)),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("outcome", release.outcome.value),
        ("baseline", release.baseline.path),
        ("candidate", release.candidate.path),
        ("plan", say_plan(release.plan)),
    ):
        ET.SubElement(properties, "property", name=name, value=value)
    for finding in release.findings:
        case = ET.SubElement(suite, "testcase", classname=f"gate.{finding.scenario}", name=finding.rule.value)
        if finding.counts is not State.HOLDS:
            kind = "failure" if finding.state is State.BROKEN else "error"
            found = ET.SubElement(case, kind, type=finding.state.value, message=finding.text)
            found.text = f"evidence: {finding.evidence}\nnext: {finding.next_step}"
        elif finding.allowance is not None:
            ET.SubElement(case, "system-out").text = f"{finding.text}; {finding.remedy}"
    ET.SubElement(suite, "system-out").text = "\n".join((*_advisory(release), *_notes(release)))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def render_annotations(release: Release) -> str:
    """Return the decision as workflow commands of GitHub Actions, which its runner shows beside the change."""
    levels = {Outcome.GO: "notice", Outcome.STOP: "error", Outcome.NOT_DECIDED: "warning"}
    lines = [annotate(levels[release.outcome], f"release gate: {release.outcome}", _why(release))]
    for finding in release.findings:
        title, text = f"{finding.rule} of {finding.scenario}", f"{finding.text}\nevidence: {finding.evidence}\n"
        if finding.allowance is not None:
            lines.append(annotate("notice", title, text + finding.remedy))
        elif finding.state is not State.HOLDS:
            level = "error" if finding.state is State.BROKEN else "warning"
            lines.append(annotate(level, title, f"{text}next: {finding.next_step}"))
    return "\n".join((*lines, ""))


def render_self_test(found: SelfTest) -> str:
    """Return the operating curve; the last line says whether the gate keeps its promise."""
    share = found.points[0].stop / found.decisions
    *before, last = (str(look.pairs) for look in found.looks)
    trials = f"{', '.join(before)} or {last}" if before else last
    drawn = (
        f"{plural(found.decisions, 'decision')} per line, {trials} trials of each "
        f"version, drawn from {plural(found.values, 'recorded value')}: {found.source}"
    )
    promise = (
        f"{'PASS' if found.is_good else 'FAIL'}: {share:.2%} of the decisions without a difference were a stop, at most "
        f"{STOP_ALPHA:.0%} may be; with 95 % confidence the probability is at most {found.stop_probability_max:.2%}"
    )
    lines = [
        drawn,
        str(found.plan),
        "injected     go    stop  not decided  trials",
        *(
            f"{point.injected_percent:6.0f} %  {point.go / found.decisions:6.1%}  {point.stop / found.decisions:6.1%}  "
            f"{point.not_decided / found.decisions:11.1%}  {point.pairs_mean:6.1f}"
            for point in found.points
        ),
        promise,
        "",
    ]
    return "\n".join(lines)


def _why(release: Release) -> str:
    counts = [finding.counts for finding in release.findings]
    broken, unknown = counts.count(State.BROKEN), counts.count(State.NOT_KNOWN)
    said = [f"{plural(count, 'rule')} {text}" for count, text in ((broken, "broken"), (unknown, "not known")) if count] or [
        f"{plural(len(counts), 'rule')} evaluated, none broken"
    ]
    if allowed := len(release.allowed):
        said.append(plural(allowed, "allowance") + " used")
    if release.trials_more is not None:
        said.append(f"{plural(release.trials_more, 'more trial')} of each version would probably decide the primary rule")
    return "; ".join(said)


def _say_inputs(release: Release) -> Iterator[str]:
    for side in (release.baseline, release.candidate):
        yield f"{side.name} {side.path}: {', '.join(map(say_part, side.parts)) or 'not stated in its summaries'}"
    yield say_plan(release.plan)


def say_plan(plan: Plan | None) -> str:
    """Return how many trials a decision needs."""
    if plan is None:
        return "needed trials: not known, the baseline has fewer than two values of the primary figure"
    return f"needed trials, from the baseline alone: {plan}"


def _advisory(release: Release) -> Iterator[str]:
    for relative in release.advisory:
        yield f"{relative.scenario}: {say_relative(relative)}"
    for lost in release.losses:
        (hits, trials), (hits_after, trials_after) = lost.baseline, lost.candidate
        before, after = lost.bounds
        yield (
            f"{lost.scenario} {lost.arm}: with loss {hits} of {plural(trials, 'trial')} in BASELINE (at most {before:.1%}), "
            f"{hits_after} of {plural(trials_after, 'trial')} in CANDIDATE (at most {after:.1%}); "
            f"Fisher's exact test: p = {lost.p_more:.4f} for more"
        )
    for one in release.resets:
        (reset, opened), (reset_after, opened_after) = one.baseline, one.candidate
        yield (
            f"{one.scenario} {one.arm} {one.family}: connections reset {reset:,} of {opened:,} in BASELINE, "
            f"{reset_after:,} of {opened_after:,} in CANDIDATE; Fisher's exact test: p = {one.p_more:.4f}"
        )


def _notes(release: Release) -> Iterator[str]:
    for one in release.differences:
        yield f"allowed to differ: {one.trait} of {one.scenario}: {one.baseline} and {one.candidate}"
    yield from release.notes

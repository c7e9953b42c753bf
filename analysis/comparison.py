"""A comparison of both arms and its rule. It is not a merge of verdicts, because UNGATED is expected to lose.

The ungated arm is the negative control. If it loses nothing, the gated arm's silence proves nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Final

from analysis.evidence import JudgedRun
from analysis.measure import find_background, without_background
from hitless.plural import plural
from hitless.verdicts import Finding, doubt, failure, merge, note
from hitless.words import MILLISECOND, Arm, FlowRole, Nanoseconds, Verdict

PROOF_INTERVALS: Final = 3
"""An ungated trial must certainly show an outage of at least this many intervals. Chosen here: one lost probe may be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict of a comparison, and what led to it."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    """Of the comparison's own rule; empty if the verdict is the merge of the runs' verdicts."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The runs of both arms of one scenario, in the order in which they ran."""

    runs: tuple[JudgedRun, ...]
    damaged: tuple[str, ...] = ()
    """Runs whose records cannot be read, each with the reason."""
    has_rule: bool = True
    """False: trials that are no comparison, such as one arm of a scenario."""

    @property
    def scenario(self) -> str:
        """Its name, the same in all runs; empty if there is no run."""
        return self.runs[0].history.header.scenario if self.runs else ""

    def runs_of(self, arm: Arm) -> tuple[JudgedRun, ...]:
        """Return the runs of one arm, by trial."""
        return tuple(
            sorted((run for run in self.runs if run.history.header.arm is arm), key=lambda run: run.history.header.trial)
        )

    @cached_property
    def decision(self) -> Decision:
        """The verdict: by the comparison's own rule, or the merge of the runs' verdicts.

        A run that cannot be read proves nothing: FAIL by the others stays FAIL, and PASS becomes INCONCLUSIVE.
        """
        doubts = tuple(doubt("run-damaged", f"a run cannot be read and is excluded: {reason}") for reason in self.damaged)
        if self.has_rule:
            return compare_verdict(self.runs, doubts)
        verdicts = (*(run.verdict for run in self.runs), *(one.verdict for one in doubts))
        return Decision(verdict=merge(verdicts), findings=doubts)


def compare_verdict(runs: Sequence[JudgedRun], doubts: tuple[Finding, ...] = ()) -> Decision:
    """Judge both arms.

    1. A run that is not valid: INCONCLUSIVE.
    2. A gated run that lost a probe or failed a check: FAIL.
    3. A run that cannot be read, an arm that is missing, a gated run without a verdict, an ungated trial that proved nothing:
       INCONCLUSIVE.
    4. Else PASS.
    """
    for found in (_find_invalid(runs), _find_failed(runs), chain(doubts, _find_unproven(runs))):
        findings = tuple(found)
        if findings:
            # Runs that could not be read are named even if they do not decide.
            return Decision(verdict=findings[0].verdict, findings=tuple(dict.fromkeys((*findings, *doubts))))
    losses = [_lost(run) for run in runs if run.history.header.arm is Arm.UNGATED]
    gated = sum(1 for run in runs if run.history.header.arm is Arm.GATED)
    lost = plural(losses[0], "probe") if len(set(losses)) == 1 else f"{min(losses):,} to {max(losses):,} probes"
    beyond = " beyond the links' own loss" if any(map(_background_ratio, runs)) else ""
    trials = plural(gated, "trial")
    text = f"GATED lost nothing{beyond} in {trials}; UNGATED lost {lost} per trial, so loss would have been seen"
    good = note("hitless", text)
    return Decision(verdict=Verdict.PASS, findings=(good, *_say_unproven(runs)))


def _name(run: JudgedRun) -> str:
    return f"{run.history.header.arm} trial {run.history.header.trial}"


def _lost(run: JudgedRun) -> int:
    """Return the lost probes of the flows between pods, and between pods and nodes, without what the links may have lost."""
    found = tuple(run.measures[flow.id] for flow in run.history.flows_of(FlowRole.MESH, FlowRole.POD, FlowRole.HOST))
    background = find_background(found, _background_ratio(run))
    return sum(without_background(one, background).lost for one in found)


def _background_ratio(run: JudgedRun) -> float:
    """Return the background loss ratio of the links, from the budget of the run's check of continuity."""
    return float(run.history.header.checks.get("continuity", {}).get("background_loss_ratio") or 0)


def _find_invalid(runs: Sequence[JudgedRun]) -> Iterator[Finding]:
    for run in runs:
        if not run.is_valid:
            findings = (finding for result in run.results if result.is_validity for finding in result.findings)
            reasons = ", ".join(sorted({finding.code for finding in findings if finding.verdict is not Verdict.PASS}))
            text = f"{_name(run)} is not valid ({reasons or 'no validity check ran'}): the measurement cannot be trusted"
            yield doubt("run-invalid", text)


def _find_failed(runs: Sequence[JudgedRun]) -> Iterator[Finding]:
    for run in runs:
        if run.history.header.arm is not Arm.GATED:
            continue
        lost = _lost(run)
        if lost:
            yield failure("gated-lost", f"{_name(run)} lost {plural(lost, 'probe')}")
        elif run.verdict is Verdict.FAIL:
            failed = ", ".join(result.check for result in run.results if result.verdict is Verdict.FAIL)
            yield failure("gated-failed", f"{_name(run)} failed: {failed}")


def _find_unproven(runs: Sequence[JudgedRun]) -> Iterator[Finding]:
    for arm in Arm:
        if not any(run.history.header.arm is arm for run in runs):
            text = (
                f"there is no trial of {arm}: the comparison's folder has no {arm.lower()}-1, or the scenario has no such arm; "
                "run `hitless compare` again, or judge the runs of the other arm one by one with `hitless judge`"
            )
            yield doubt("arm-missing", text)
    for run in runs:
        if run.history.header.arm is Arm.GATED and run.verdict is Verdict.INCONCLUSIVE:
            yield doubt("gated-inconclusive", f"{_name(run)} is inconclusive")
        if run.history.header.arm is Arm.UNGATED:
            yield from _doubt_proof(run)


def _say_unproven(runs: Sequence[JudgedRun]) -> Iterator[Finding]:
    """Yield the classes of flows for which the baseline proves nothing, because they lost nothing ungated either."""
    families: dict[str, int] = {}
    for run in runs:
        if run.history.header.arm is Arm.UNGATED:
            for flow in run.history.flows_of(FlowRole.POD, FlowRole.HOST):
                if not flow.flow_class.is_tcp:
                    families[flow.family] = families.get(flow.family, 0) + run.measures[flow.id].lost
    unproven = [family for family, lost in families.items() if not lost]
    if unproven:
        text = f"{', '.join(unproven)} lost nothing in UNGATED either: a clean GATED proves nothing for them"
        yield note("family-not-proven", text)


def _doubt_proof(run: JudgedRun) -> Iterator[Finding]:
    needed_ns = PROOF_INTERVALS * run.history.header.interval_ns
    # An outage after any of several requests proves that the probes see loss.
    requested_ns = min((request.t_ns for request in run.history.requests), default=0)
    if any(result.check == "books" and result.verdict is Verdict.INCONCLUSIVE for result in run.results):
        yield doubt("ungated-unexplained", f"{_name(run)} lost probes that no counter accounts for, so its loss proves nothing")
        return
    if not _lost(run):
        yield doubt("ungated-lost-nothing", f"{_name(run)} lost nothing, so it is not proven that loss would have been seen")
        return
    longest_ns = max(
        (
            outage.shortest_ns
            for flow in run.history.flows_of(FlowRole.MESH)
            for outage in run.measures[flow.id].outages
            if outage.end_ns > requested_ns
        ),
        default=Nanoseconds(0),
    )
    if longest_ns < needed_ns:
        text = (
            f"{_name(run)} showed no outage of at least {needed_ns / MILLISECOND:g} ms for certain, the longest "
            f"{longest_ns / MILLISECOND:.1f} ms: it is not proven that loss would have been seen"
        )
        yield doubt("ungated-outage-short", text)

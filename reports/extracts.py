"""Extracts of a comparison that a report shows beside the summary: the trial to show, the worst flows, the drops by place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure
from hitless.facts import Flow
from hitless.words import Arm, FlowRole, Verdict
from reports.causes import causes_of_flow
from reports.quantities import NONE, duration_of, ms, say_count, say_duration, say_ms
from reports.summary import ReportedFinding, measures_of

_SHARE_SHOWN: Final = 0.05
"""Smaller parts of a flow's downtime are not spelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstFlow:
    """A flow of one run that lost probes."""

    run: JudgedRun
    flow: Flow
    measure: FlowMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """Drops of the kernel at one place, over the trials of an arm."""

    place: str
    """Namespace, or `links`."""
    input_drops: int
    output_drops: int
    socket_drops: int
    reasons: str
    """Counters that moved, with their counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """Findings of one kind, over flows and trials."""

    verdict: Verdict
    check: str
    code: str
    arm: Arm | None
    count: int
    example: str
    """Text of the first."""


def shown_run(comparison: Comparison, arm: Arm) -> JudgedRun | None:
    """Return the trial that charts and timelines show: the trial that lost most; of several, the first."""
    runs = comparison.runs_of(arm)
    return max(runs, key=lambda run: sum(measure.lost for measure in measures_of(run, FlowRole.MESH)), default=None)


def worst_flows(comparison: Comparison, limit: int) -> tuple[WorstFlow, ...]:
    """Return the mesh flows that were down longest, by the longest bound; GATED first, for there every one matters."""
    hit = [
        WorstFlow(run=run, flow=flow, measure=run.measures[flow.id])
        for run in comparison.runs
        for flow in run.history.flows_of(FlowRole.MESH)
        if flow.id in run.measures and run.measures[flow.id].is_hit
    ]

    def order(worst: WorstFlow) -> tuple[bool, bool, int]:
        is_censored, length_ns = worst.measure.downtime.rank
        return worst.run.history.header.arm is not Arm.GATED, not is_censored, -length_ns

    return tuple(sorted(hit, key=order)[:limit])


def worst_rows(worst: Sequence[WorstFlow], accuracy_ms: float) -> Iterator[tuple[str, ...]]:
    """Yield one row per flow: run, flow, lost by direction, outages, downtime, the same by count, convergence time, cause."""
    for one in worst:
        header, found = one.run.history.header, one.measure
        yield (
            f"{header.arm} {header.trial}",
            one.flow.label,
            f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})",
            say_count(len(found.outages)),
            say_duration(duration_of(found.downtime), accuracy_ms),
            say_ms(ms(found.downtime_plbm_ns), accuracy_ms),
            say_ms(ms(found.convergence_ns), accuracy_ms),
            _say_causes(one),
        )


def _say_causes(one: WorstFlow) -> str:
    """Return the causes of a flow's downtime with their shares."""
    causes = causes_of_flow(one.run.evidence.causes, one.flow)
    shown = [(name, share) for name, share in causes if share >= _SHARE_SHOWN] or causes[:1]
    return ", ".join(name if len(shown) == 1 else f"{name} {share:.0%}" for name, share in shown) or NONE


def count_lost_datagrams(runs: Sequence[JudgedRun]) -> int:
    """Return how many datagrams of all classes and roles were lost in these runs: what the ledger balances."""
    return sum(run.evidence.ledger.lost for run in runs if run.evidence.ledger is not None)


def arm_drops(runs: Sequence[JudgedRun]) -> tuple[Drops, ...] | None:
    """Return the drops by place over the runs of an arm, most first; None if the cluster has no counters."""
    ledgers = [run.evidence.ledger for run in runs if run.evidence.ledger is not None]
    if not ledgers:
        return None
    sums: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    for ledger in ledgers:
        for place in ledger.places:
            kinds = {"input": place.input_drops, "output": place.output_drops, "socket": place.socket_drops}
            sums.setdefault(place.namespace, Counter()).update(kinds)
            reasons.setdefault(place.namespace, Counter()).update(place.reasons)
    drops = [
        Drops(
            place=place,
            input_drops=count["input"],
            output_drops=count["output"],
            socket_drops=count["socket"],
            reasons=", ".join(f"{name} {moved:,}" for name, moved in sorted(reasons[place].items())),
        )
        for place, count in sums.items()
    ]
    links = sum(ledger.link_drops for ledger in ledgers)
    if links:
        drops.append(Drops(place="links", input_drops=0, output_drops=links, socket_drops=0, reasons="sent but never received"))
    twice = sum(ledger.tunnel_drops for ledger in ledgers)
    if twice:
        reasons_of_tunnel = "encapsulated packets, counted twice above: at their place and on the tunnel, a link"
        drops.append(Drops(place="tunnels", input_drops=0, output_drops=-twice, socket_drops=0, reasons=reasons_of_tunnel))
    return tuple(sorted(drops, key=lambda one: (-(one.input_drops + one.output_drops + one.socket_drops), one.place)))


def group_findings(findings: Sequence[ReportedFinding]) -> tuple[FindingGroup, ...]:
    """Return the findings by kind: FAIL, then INCONCLUSIVE, then information; else in the given order."""
    groups: dict[tuple[Verdict, str, str, Arm | None], list[ReportedFinding]] = {}
    for finding in findings:
        groups.setdefault((finding.verdict, finding.check, finding.code, finding.arm), []).append(finding)
    rank = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
    listed = [
        FindingGroup(
            verdict=verdict, check=check, code=code, arm=arm, count=sum(1 + one.more for one in group), example=group[0].text
        )
        for (verdict, check, code, arm), group in groups.items()
    ]
    return tuple(sorted(listed, key=lambda group: rank[group.verdict]))

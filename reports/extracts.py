"""Extracts of a comparison that a report shows beside the summary: the trial to show, the worst flows, the drops by place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure
from hitless.facts import Flow
from hitless.words import Arm, FlowRole, Verdict
from reports.causes import causes_of_flow
from reports.quantities import NONE, duration_of, ms, say_count, say_duration, say_ms
from reports.summary import ReportedFinding, Summary, measures_of

_SHARE_SHOWN: Final = 0.05
"""Smaller parts of a flow's downtime are not spelled."""


def shown_run(comparison: Comparison, arm: Arm) -> JudgedRun | None:
    """Return the trial that charts and timelines show: the trial that lost most; of several, the first."""
    runs = comparison.runs_of(arm)
    return max(runs, key=lambda run: sum(measure.lost for measure in measures_of(run, FlowRole.MESH)), default=None)


def worst_rows(comparison: Comparison, limit: int, accuracy_ms: float) -> Iterator[tuple[str, ...]]:
    """Yield a row for each mesh flow that was down longest, by the longest bound; GATED first, for there every one matters.

    A row is run, flow, lost by direction, outages, downtime, the same by count, convergence time, causes.
    """
    hit = [
        (run, flow, run.measures[flow.id])
        for run in comparison.runs
        for flow in run.history.flows_of(FlowRole.MESH)
        if flow.id in run.measures and run.measures[flow.id].is_hit
    ]

    def order(one: tuple[JudgedRun, Flow, FlowMeasure]) -> tuple[bool, bool, int]:
        is_censored, length_ns = one[2].downtime.rank
        return one[0].history.header.arm is not Arm.GATED, not is_censored, -length_ns

    for run, flow, found in sorted(hit, key=order)[:limit]:
        yield (
            f"{run.history.header.arm} {run.history.header.trial}",
            flow.label,
            f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})",
            say_count(len(found.outages)),
            say_duration(duration_of(found.downtime), accuracy_ms),
            say_ms(ms(found.downtime_plbm_ns), accuracy_ms),
            say_ms(ms(found.convergence_ns), accuracy_ms),
            _say_causes(causes_of_flow(run.evidence.causes, flow)),
        )


def _say_causes(causes: Sequence[tuple[str, float]]) -> str:
    shown = [(name, share) for name, share in causes if share >= _SHARE_SHOWN] or causes[:1]
    return ", ".join(name if len(shown) == 1 else f"{name} {share:.0%}" for name, share in shown) or NONE


def drop_rows(runs: Sequence[JudgedRun]) -> list[tuple[str, ...]] | None:
    """Return a row for each place at which the kernel dropped packets, most first; None if the cluster has no counters.

    A row is the place (a namespace, or `links`), drops on input, on output and at sockets over the runs, and the counters that
    moved.
    """
    ledgers = [run.evidence.ledger for run in runs if run.evidence.ledger is not None]
    if not ledgers:
        return None
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for place in (place for ledger in ledgers for place in ledger.places):
        moved = (place.input_drops, place.output_drops, place.socket_drops)
        counts[place.namespace] = [before + more for before, more in zip(counts[place.namespace], moved, strict=True)]
        reasons[place.namespace].update(place.reasons)
    found = [
        (place, drops, ", ".join(f"{name} {moved:,}" for name, moved in sorted(reasons[place].items())))
        for place, drops in counts.items()
    ]
    if links := sum(ledger.link_drops for ledger in ledgers):
        found.append(("links", [0, links, 0], "sent but never received"))
    if twice := sum(ledger.tunnel_drops for ledger in ledgers):
        reason = "encapsulated packets, counted twice above: at their place and on the tunnel, a link"
        found.append(("tunnels", [0, -twice, 0], reason))
    found.sort(key=lambda row: (-sum(row[1]), row[0]))
    return [(place, *(say_count(count or None) for count in drops), reason) for place, drops, reason in found]


def finding_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Return a row for each kind of the runs' findings, over flows and trials: FAIL, then INCONCLUSIVE, then information.

    A row is verdict, check, code, arm, number, and the text of the first.
    """
    groups: dict[tuple[Verdict, str, str, str], list[ReportedFinding]] = {}
    for finding in summary.findings:
        if finding.check != "comparison":
            groups.setdefault((finding.verdict, finding.check, finding.code, finding.arm or "both"), []).append(finding)
    rank = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
    listed = sorted(groups.items(), key=lambda item: rank[item[0][0]])
    return [(*kind, f"{sum(1 + one.more for one in group)}", group[0].text) for kind, group in listed]

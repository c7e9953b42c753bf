"""The summary of a comparison: every number that a report prints, as one JSON document.

A pure function of judged runs; independent of rendering. The schema is a contract: readers of `summary.json` rely on
the names of the fields and on what null means: there is no bound, or the number does not apply. A field that was added later
has a default: the release gate (reports/gate) reads a summary without it. `hitless judge` makes a summary again from the
records.

Counts are sums over the trials and over the mesh flows of each; `*_max` go by the longest bound. Times are ms.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

from analysis.bounds import add_lengths
from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from analysis.measure import Counts, FlowMeasure
from hitless.facts import PartIdentity
from hitless.verdicts import Finding
from hitless.words import Arm, FlowId, FlowRole, JsonObject, Verdict
from reports.causes import JUDGED, CauseSummary, summarise_causes
from reports.connections import ConnectionTotals, summarise_connections
from reports.load import LoadSummary, summarise_load
from reports.paths import PathSummary, summarise_paths
from reports.quantities import Duration, Spread, duration_of, make_spread, ms
from scenarios.mesh import MeshCoverage, find_mesh_coverage

SCHEMA: Final = "hitless.summary/2"

FINDINGS_MAX: Final = 100
"""Findings of a check with one code in one run: a large cluster has one per flow. All can be made again from the records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """How large the cluster was."""

    zones: int
    nodes: int
    pods: int
    """Endpoints: mesh and control pods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFinding:
    """A finding, with where it was made."""

    check: str
    """Name of the check, or `comparison` for the comparison's own rule."""
    verdict: Verdict
    code: str
    arm: Arm | None
    """None: about both arms."""
    trial: int | None
    flow: str | None
    """Label of the flow, if it is about one."""
    t_ms: float | None
    """Run clock, if it is about one instant."""
    text: str
    more: int = 0
    """Further findings of its kind in its run, which the summary leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals(Counts):
    """The numbers of a set of flows: sums of their counts, and the worst values."""

    flows: int
    """Flows, each counted once per trial."""
    flows_hit: int
    """Mesh flows that lost a probe."""
    outages: int
    outage_ms_max: Duration | None
    """The longest outage; None: there was none."""
    censored: int
    """Outages that were open when the probing started or ended."""
    blind_ms_max: float | None
    """No outage longer than this could have been missed. None: a flow was hardly answered."""
    downtime_ms_max: Duration | None
    """Of the flow that was down longest; None: there is no flow."""
    downtime_ms_sum: Duration
    """Over all flows."""
    downtime_plbm_ms_max: float | None
    """The packet-loss-based estimate, beside it (RFC 6412 3.6.5); None: there is no flow."""
    convergence_ms_max: float | None
    """Full Convergence Time (RFC 6412 3.6.1); None: a flow did not converge, or none had to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSummary:
    """One run."""

    trial: int
    verdict: Verdict
    totals: Totals
    ticks_missed: int
    gate: str
    """What the gate did: `opened`, `held` (until the end), `not-applicable`, or `absent`: there was none to ask."""
    gate_hold_ms: float | None
    """How long it held before it opened; None: it did not open."""
    gate_hold_after_routes_ms: float | None = None
    """Of that, the time after the last route was there; None: it did not open, it never held, or no route was made before."""
    gate_looks: int | None = None
    """How often the extension asked the gate: each hold and the opening; None: a summary that does not say."""
    lost_unexplained: int | None
    """Lost probes, of control flows too, that the kernel does not account for; None: no counters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm."""

    trials: int
    totals: Totals
    """Mesh flows."""
    ticks_missed: int
    """Ticks that the sender skipped, for all its flows at once."""
    gate_hold_ms_max: float | None
    lost_unexplained: int | None
    durations: dict[str, Spread]
    """`convergence_ms` and `downtime_ms`: spread over the flows of all trials."""
    classes: dict[str, Totals]
    """Family of flows (`udp`, `icmp`, `node-port tcp-established`, ...) to its totals; control flows apart."""
    connections: dict[str, ConnectionTotals]
    """Of the TCP families: what became of their connections."""
    causes: tuple[CauseSummary, ...]
    """Why there were outages, the cause with most downtime first; of all judged flows."""
    control: Totals
    """Flows within a node, which no switch can touch."""
    paths: PathSummary
    """By which egress the probes of mesh flows went."""
    load: LoadSummary | None
    """What HTTP users met; None: the runs had no application load."""
    per_trial: tuple[TrialSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One comparison."""

    verdict: Verdict
    scenario: str
    cluster: str
    """Backend: `lab` or `kind`."""
    carrier: str
    """What carried the overlay on the wire."""
    kernel: str | None
    """Release of the nodes' kernel; None: not known."""
    families_probed: tuple[str, ...] = ("IPv4",)
    """Address families that flows are probed in."""
    families_not_probed: tuple[str, ...] = ()
    """Address families that the pods have and that no flow is probed in."""
    parts: tuple[PartIdentity, ...]
    """Every part under test, a double or the released program; a name that stands twice: the runs differ in it."""
    profile: str
    topology: Topology
    mesh: MeshCoverage | None = None
    """Which pairs of nodes the mesh flows probed; None: a summary that does not say."""
    interval_ms: float
    accuracy_ms: float
    """The accuracy interval is + and - this: the time between two probes of a flow (RFC 6413 6.1.3)."""
    forwarding_delay_threshold_ms: float
    versions: dict[str, str]
    findings: tuple[ReportedFinding, ...]
    """The comparison's own first, then those of each run."""
    arms: dict[Arm, ArmSummary]
    """Those that have a run."""

    def as_json(self) -> JsonObject:
        """Return the document of schema hitless.summary/2, as reports/summary.schema.json describes it."""
        # Through JSON and back: the result is what a reader of the file gets, lists and plain strings.
        document: JsonObject = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return document


def summarise(comparison: Comparison) -> Summary:
    """Summarise a comparison, which has at least one run.

    Raises:
        ValueError: there is no run, so there is no cluster to speak of.
    """
    if not comparison.runs:
        raise ValueError("a comparison needs at least one run")
    decision = comparison.decision
    header, facts = comparison.runs[0].history.header, comparison.runs[0].history.facts
    arms = {arm: comparison.runs_of(arm) for arm in Arm}
    return Summary(
        verdict=decision.verdict,
        scenario=comparison.scenario,
        cluster=facts.backend,
        carrier=facts.carrier,
        kernel=facts.versions.get("kernel"),
        families_probed=facts.families_probed,
        families_not_probed=tuple(family for family in facts.families if family not in facts.families_probed),
        parts=tuple(dict.fromkeys(part for run in comparison.runs for part in run.history.parts)),
        profile=header.profile.value,
        topology=Topology(
            zones=len(facts.zone_gateways), nodes=len(facts.nodes), pods=sum(end.is_pod for end in facts.endpoints)
        ),
        mesh=find_mesh_coverage(facts, comparison.runs[0].history.flows),
        interval_ms=ms(header.interval_ns),
        accuracy_ms=ms(header.interval_ns),
        forwarding_delay_threshold_ms=ms(header.forwarding_delay_threshold_ns),
        versions=dict(facts.versions),
        findings=(
            *(_report(finding, "comparison", None, {}) for finding in decision.findings),
            *(one for run in comparison.runs for one in _report_run(run)),
        ),
        arms={arm: summarise_arm(runs) for arm, runs in arms.items() if runs},
    )


def summarise_arm(runs: Sequence[JudgedRun]) -> ArmSummary:
    """Summarise the runs of one arm."""
    per_trial = tuple(_summarise_trial(run) for run in runs)
    mesh = [measure for run in runs for measure in measures_of(run, FlowRole.MESH)]
    families = dict.fromkeys(flow.family for run in runs for flow in run.history.flows_of(*JUDGED))
    unexplained = [trial.lost_unexplained for trial in per_trial]
    return ArmSummary(
        trials=len(runs),
        totals=_total(mesh),
        ticks_missed=sum(trial.ticks_missed for trial in per_trial),
        gate_hold_ms_max=_max_or_none([trial.gate_hold_ms for trial in per_trial]),
        lost_unexplained=None if None in unexplained else sum(count for count in unexplained if count is not None),
        durations={
            "convergence_ms": make_spread([ms(measure.convergence_ns) for measure in mesh]),
            "downtime_ms": make_spread([ms(measure.downtime.likely_ns) for measure in mesh]),
        },
        classes={
            name: _total([found for run in runs for found in measures_of(run, *JUDGED, family=name)]) for name in families
        },
        connections=summarise_connections(runs),
        causes=summarise_causes(runs),
        control=_total([measure for run in runs for measure in measures_of(run, FlowRole.CONTROL)]),
        paths=summarise_paths(runs),
        load=summarise_load(runs),
        per_trial=per_trial,
    )


def measures_of(run: JudgedRun, *roles: FlowRole, family: str | None = None) -> list[FlowMeasure]:
    """Return the measures of the flows of some roles, of one family or of all."""
    flows = (flow for flow in run.history.flows_of(*roles) if family is None or flow.family == family)
    return [run.measures[flow.id] for flow in flows if flow.id in run.measures]


def _summarise_trial(run: JudgedRun) -> TrialSummary:
    ledger, opened = run.evidence.ledger, run.history.first_event("gate.opened")
    gate = [event.name for event in run.history.events_named("gate.held", "gate.opened", "gate.not_applicable")]
    hold_ns = None if opened is None else opened.facts.get("held_ns", 0)
    after_routes_ns = None
    if opened is not None and hold_ns:
        routes = [event.t_ns for event in run.history.events_named("route.created") if event.t_ns <= opened.t_ns]
        after_routes_ns = opened.t_ns - routes[-1] if routes else None
    return TrialSummary(
        trial=run.history.header.trial,
        verdict=run.verdict,
        totals=_total(measures_of(run, FlowRole.MESH)),
        ticks_missed=int(run.history.records.skipped.size),
        gate=gate[-1].removeprefix("gate.").replace("_", "-") if gate else "absent",
        gate_hold_ms=ms(hold_ns),
        gate_looks=len(gate) - gate.count("gate.not_applicable"),
        gate_hold_after_routes_ms=ms(after_routes_ns),
        lost_unexplained=None if ledger is None else ledger.lost_unexplained,
    )


def _total(measures: Sequence[FlowMeasure]) -> Totals:
    outages = [outage for measure in measures for outage in measure.outages]
    longest = max(outages, key=lambda outage: outage.rank, default=None)
    worst = max((measure.downtime for measure in measures), key=lambda length: length.rank, default=None)
    counts = {field.name: sum(getattr(measure, field.name) for measure in measures) for field in fields(Counts)}
    return Totals(
        flows=len(measures),
        flows_hit=sum(measure.is_hit for measure in measures),
        **counts,
        outages=len(outages),
        outage_ms_max=None if longest is None else duration_of(longest),
        censored=sum(outage.is_censored for outage in outages),
        blind_ms_max=_max_or_none([ms(measure.blind_ns) for measure in measures]),
        downtime_ms_max=None if worst is None else duration_of(worst),
        downtime_ms_sum=duration_of(add_lengths(measure.downtime for measure in measures)),
        downtime_plbm_ms_max=max((ms(measure.downtime_plbm_ns) for measure in measures), default=None),
        convergence_ms_max=_max_or_none([ms(measure.convergence_ns) for measure in measures]),
    )


def _max_or_none(values: Iterable[float | None]) -> float | None:
    """Return the largest, or None if one is None or there is none."""
    known = tuple(values)
    return None if None in known else max((value for value in known if value is not None), default=None)


def _report_run(run: JudgedRun) -> Iterator[ReportedFinding]:
    """Yield the findings of a run, of each kind the first FINDINGS_MAX; the last of these counts the others."""
    labels = {flow.id: flow.label for flow in run.history.flows}
    for result in run.results:
        left = Counter((finding.verdict, finding.code) for finding in result.findings)
        kept: Counter[tuple[Verdict, str]] = Counter()
        for finding in result.findings:
            kind = finding.verdict, finding.code
            kept[kind] += 1
            left[kind] -= 1
            if kept[kind] <= FINDINGS_MAX:
                more = left[kind] if kept[kind] == FINDINGS_MAX else 0
                yield replace(_report(finding, result.check, run, labels), more=more)


def _report(finding: Finding, check: str, run: JudgedRun | None, labels: Mapping[FlowId, str]) -> ReportedFinding:
    return ReportedFinding(
        check=check,
        verdict=finding.verdict,
        code=finding.code,
        arm=None if run is None else run.history.header.arm,
        trial=None if run is None else run.history.header.trial,
        flow=None if finding.flow is None else labels.get(finding.flow, str(finding.flow)),
        t_ms=ms(finding.t_ns),
        text=finding.text,
    )

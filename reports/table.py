"""A comparison in words: the sentence of its verdict, what was tested, and its tables as rows of strings.

Terminal, page and Markdown print the same. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from analysis.comparison import Comparison
from analysis.evidence import JudgedRun
from analysis.measure import FlowMeasure
from analysis.paths import ModeLoss
from hitless.facts import Flow
from hitless.plural import plural
from hitless.words import Arm, FlowRole, Verdict
from reports.causes import causes_of_flow
from reports.paths import DirectionCounts
from reports.quantities import NONE, duration_of, ms, say_count, say_duration, say_ms, say_share
from reports.summary import ArmSummary, ReportedFinding, Summary, Totals

_HEADLINE: Final = ("longest downtime of a flow", "flows hit", "probes lost", "gate held", "full convergence time")

_SHARE_SHOWN: Final = 0.05
"""Smaller parts of a flow's downtime are not spelled."""
_COMMIT_CHARACTERS: Final = 12
_DIGEST_CHARACTERS: Final = len("sha256:") + 12
"""The summary has the whole of both."""


Row = tuple[str, str, str]
"""Label, UNGATED, GATED."""


def verdict_sentence(summary: Summary) -> str:
    """Return one sentence with the reason of the verdict."""
    own = [finding.text for finding in summary.findings if finding.check == "comparison"]
    if own:
        more = f" (and {plural(len(own) - 1, 'more finding')})" if len(own) > 1 else ""
        return f"{own[0]}{more}."
    trials = [trial for arm in summary.arms.values() for trial in arm.per_trial]
    parts = [f"{sum(trial.verdict is verdict for trial in trials)} {verdict}" for verdict in Verdict]
    return f"of {plural(len(trials), 'trial')}: {', '.join(parts)}."


def identity(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield name and value of the tested set-up: the cluster, the overlay's carrier, and every part."""
    yield "cluster", f"{summary.cluster}, profile {summary.profile}"
    if summary.mesh is not None and not summary.mesh.is_full:
        yield "mesh", summary.mesh.text
    yield "carrier", summary.carrier
    yield "address families", " and ".join(summary.families_probed)
    for part in summary.parts:
        words = ["double" if part.is_double else "real", part.version]
        if part.commit:
            words.append(f"at {part.commit[:_COMMIT_CHARACTERS]}")
        if part.path and part.digest:
            words.append(f"({Path(part.path).name}, {part.digest[:_DIGEST_CHARACTERS]})")
        if part.calico_version:
            words.append(f"renders Calico {part.calico_version}")
        yield part.name.value, " ".join(word for word in words if word)
    if not summary.parts and summary.kernel:
        yield "kernel", summary.kernel


def comparison_rows(summary: Summary) -> tuple[Row, ...]:
    """Return the deciding rows: loss, its length, and the gate's hold."""
    accuracy_ms = summary.accuracy_ms

    def where_lost(say: Callable[[Totals], str]) -> Callable[[ArmSummary], str]:
        return lambda arm: say(arm.totals) if arm.totals.lost else "none seen"

    says: dict[str, Callable[[ArmSummary], str]] = {
        "trials": lambda arm: ", ".join(f"{trial.verdict}" for trial in arm.per_trial),
        "flows hit": lambda arm: say_share(arm.totals.flows_hit, arm.totals.flows),
        "probes lost": lambda arm: say_share(arm.totals.lost, arm.totals.offered),
        "longest outage": lambda arm: (
            say_duration(arm.totals.outage_ms_max, accuracy_ms) if arm.totals.outages else "none seen"
        ),
        "longest downtime of a flow": where_lost(lambda totals: say_duration(totals.downtime_ms_max, accuracy_ms)),
        "the same by count (PLBM)": where_lost(lambda totals: say_ms(totals.downtime_plbm_ms_max, accuracy_ms)),
        "downtime of all flows together": where_lost(lambda totals: say_duration(totals.downtime_ms_sum, accuracy_ms)),
        "outages that may have gone unseen": lambda arm: (
            "of any length" if arm.totals.blind_ms_max is None else f"up to {say_ms(arm.totals.blind_ms_max)}"
        ),
        "full convergence time": lambda arm: _say_convergence(arm, accuracy_ms),
        "gate held": _say_gate,
        "control flows lost": lambda arm: say_share(arm.control.lost, arm.control.offered),
        "loss unexplained": lambda arm: say_count(arm.lost_unexplained),
    }
    return tuple(_arm_row(summary, label, say) for label, say in says.items())


def headline_rows(summary: Summary) -> tuple[Row, ...]:
    """Return the rows that a reader needs first."""
    rows = {row[0]: row for row in comparison_rows(summary)}
    return tuple(rows[label] for label in _HEADLINE)


def family_rows(summary: Summary) -> tuple[Row, ...]:
    """Return one row per family of flows, such as `icmp`: what it lost, on how many flows; none if there is one family."""
    families = tuple(dict.fromkeys(name for arm in summary.arms.values() for name in arm.classes))
    if len(families) < 2:  # noqa: PLR2004 - one is the table above
        return ()
    return tuple(_arm_row(summary, name, partial(_say_family, name)) for name in families)


_COUNTS: Final = {
    "offered": "offered",
    "unimpaired": "unimpaired",
    "lost": "lost",
    "- on the way out (near end)": "lost_near_end",
    "- on the way back (far end)": "lost_far_end",
    "- direction unknown": "lost_unknown",
    "- of all lost: late": "late",
    "duplicated": "duplicated",
    "reordered": "reordered",
    "corrupted": "corrupted",
    "send errors (not offered)": "send_errors",
    "lost by the instrument (not offered)": "lost_instrument",
}
"""Label to the field of Totals. Each probe is in one class of RFC 6412 3.8.1; late ones are part of lost."""


def count_rows(summary: Summary, flow_class: str) -> tuple[Row, ...]:
    """Return the counts of one flow class."""

    def say(field: str, arm: ArmSummary) -> str:
        return say_count(getattr(arm.classes[flow_class], field)) if flow_class in arm.classes else NONE

    return (
        *(_arm_row(summary, label, partial(say, field)) for label, field in _COUNTS.items()),
        _arm_row(summary, "missed ticks (all flows at once)", lambda arm: say_count(arm.ticks_missed)),
    )


def _arm_row(summary: Summary, label: str, say: Callable[[ArmSummary], str]) -> Row:
    ungated, gated = (say(summary.arms[arm]) if arm in summary.arms else NONE for arm in (Arm.UNGATED, Arm.GATED))
    return label, ungated, gated


def _say_family(name: str, arm: ArmSummary) -> str:
    totals = arm.classes.get(name)
    if totals is None:
        return NONE
    lost = say_share(totals.lost, totals.offered)
    refused = f", {say_count(totals.send_errors)} refused" if totals.send_errors else ""
    return f"{lost} on {totals.flows_hit} of {plural(totals.flows, 'flow')}{refused}" if totals.lost else f"{lost}{refused}"


def _say_convergence(arm: ArmSummary, accuracy_ms: float) -> str:
    spread = arm.durations["convergence_ms"]
    if spread.flows and spread.unbounded == spread.flows:
        return NONE
    if spread.unbounded:
        return f"{spread.unbounded} of {plural(spread.flows, 'flow')} did not converge"
    return say_ms(arm.totals.convergence_ms_max, accuracy_ms)


def _say_gate(arm: ArmSummary) -> str:
    outcomes = {trial.gate for trial in arm.per_trial}
    if outcomes == {"held"}:
        return "until the end"
    if "held" in outcomes:
        held = sum(trial.gate == "held" for trial in arm.per_trial)
        return f"until the end in {held} of {plural(arm.trials, 'trial')}"
    if outcomes == {"opened"}:
        return f"up to {say_ms(arm.gate_hold_ms_max)}"
    return ", ".join(sorted(outcome.replace("-", " ") for outcome in outcomes))


_EGRESS: Final[Mapping[str, Callable[[DirectionCounts], str]]] = {
    "packets": lambda way: say_count(way.taken),
    "by the Preferred Egress": lambda way: say_share(way.preferred, way.taken),
    "by the Next-Best Egress": lambda way: say_share(way.next_best, way.taken),
    "not known": lambda way: say_share(way.unknown, way.taken),
    "- TTL and events contradict": lambda way: say_count(way.contradicted),
    "by tunnel / directly / by the router": lambda way: f"{way.tunnel:,} / {way.direct:,} / {way.router:,}",
}


def egress_rows(summary: Summary) -> tuple[Row, ...]:
    """Return what is known of the egress of the packets, out and back."""

    def row(way: str, label: str, say: Callable[[DirectionCounts], str]) -> Row:
        return _arm_row(summary, f"{way}: {label}", lambda arm: say(getattr(arm.paths, way)))

    return tuple(row(way, label, say) for way in ("out", "back") for label, say in _EGRESS.items())


def mode_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    """Yield the mode of the sender's node, of the receiver's, and of each arm lost of offered, and in which direction.

    Pairs of modes that no probe met are left out.
    """
    cells = {arm: {(cell.sender, cell.receiver): cell for cell in found.paths.matrix} for arm, found in summary.arms.items()}
    for pair in dict.fromkeys(pair for found in cells.values() for pair in found):
        if any(found[pair].offered for found in cells.values()):
            yield *pair, *(_say_loss(cells[arm][pair]) if arm in cells else NONE for arm in (Arm.UNGATED, Arm.GATED))


def _say_loss(cell: ModeLoss) -> str:
    if not cell.offered:
        return NONE
    ways = f" ({cell.lost_near_end:,} / {cell.lost_far_end:,} / {cell.lost_unknown:,})" if cell.lost else ""
    return f"{cell.lost:,} of {cell.offered:,}{ways}"


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
        causes = causes_of_flow(run.evidence.causes, flow)
        shown = [(name, share) for name, share in causes if share >= _SHARE_SHOWN] or causes[:1]
        yield (
            f"{run.history.header.arm} {run.history.header.trial}",
            flow.label,
            f"{found.lost:,} ({found.lost_near_end:,} / {found.lost_far_end:,} / {found.lost_unknown:,})",
            say_count(len(found.outages)),
            say_duration(duration_of(found.downtime), accuracy_ms),
            say_ms(ms(found.downtime_plbm_ns), accuracy_ms),
            say_ms(ms(found.convergence_ns), accuracy_ms),
            ", ".join(name if len(shown) == 1 else f"{name} {share:.0%}" for name, share in shown) or NONE,
        )


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

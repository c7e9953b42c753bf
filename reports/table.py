"""A comparison in words: the sentence of its verdict, what was tested, and its table, ungated beside gated, as rows of strings.

Terminal, page and Markdown print the same. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from analysis.paths.path import ModeLoss
from hitless.plural import plural
from hitless.words import Arm, Verdict
from reports.paths import DirectionCounts
from reports.quantities import NONE, say_count, say_duration, say_ms, say_share
from reports.summary import ArmSummary, Summary, Totals

_HEADLINE: Final = ("longest downtime of a flow", "flows hit", "probes lost", "gate held", "full convergence time")

_COMMIT_CHARACTERS: Final = 12
_DIGEST_CHARACTERS: Final = len("sha256:") + 12
"""The summary has the whole of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    label: str
    ungated: str
    gated: str


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

    def per_totals(label: str, say: Callable[[Totals], str]) -> Row:
        return arm_row(summary, label, lambda arm: say(arm.totals))

    return (
        arm_row(summary, "trials", lambda arm: ", ".join(f"{trial.verdict}" for trial in arm.per_trial)),
        per_totals("flows hit", lambda totals: say_share(totals.flows_hit, totals.flows)),
        per_totals("probes lost", lambda totals: say_share(totals.lost, totals.offered)),
        per_totals(
            "longest outage",
            lambda totals: say_duration(totals.outage_ms_max, accuracy_ms) if totals.outages else "none seen",
        ),
        per_totals(
            "longest downtime of a flow",
            lambda totals: say_duration(totals.downtime_ms_max, accuracy_ms) if totals.lost else "none seen",
        ),
        per_totals(
            "the same by count (PLBM)",
            lambda totals: say_ms(totals.downtime_plbm_ms_max, accuracy_ms) if totals.lost else "none seen",
        ),
        per_totals(
            "downtime of all flows together",
            lambda totals: say_duration(totals.downtime_ms_sum, accuracy_ms) if totals.lost else "none seen",
        ),
        per_totals(
            "outages that may have gone unseen",
            lambda totals: "of any length" if totals.blind_ms_max is None else f"up to {say_ms(totals.blind_ms_max)}",
        ),
        arm_row(summary, "full convergence time", lambda arm: _say_convergence(arm, accuracy_ms)),
        arm_row(summary, "gate held", _say_gate),
        arm_row(summary, "control flows lost", lambda arm: say_share(arm.control.lost, arm.control.offered)),
        arm_row(summary, "loss unexplained", lambda arm: say_count(arm.lost_unexplained)),
    )


def headline_rows(summary: Summary) -> tuple[Row, ...]:
    """Return the rows that a reader needs first."""
    rows = {row.label: row for row in comparison_rows(summary)}
    return tuple(rows[label] for label in _HEADLINE)


def family_rows(summary: Summary) -> tuple[Row, ...]:
    """Return one row per family of flows, such as `icmp`: what it lost, on how many flows; none if there is one family."""
    families = tuple(dict.fromkeys(name for arm in summary.arms.values() for name in arm.classes))
    if len(families) < 2:  # noqa: PLR2004 - one is the table above
        return ()
    return tuple(arm_row(summary, name, partial(_say_family, name)) for name in families)


def count_rows(summary: Summary, flow_class: str) -> tuple[Row, ...]:
    """Return the counts of one flow class. Each probe is in one class of RFC 6412 3.8.1; late ones are part of lost."""

    def per_class(label: str, say: Callable[[Totals], int]) -> Row:
        def count(arm: ArmSummary) -> str:
            return say_count(say(arm.classes[flow_class])) if flow_class in arm.classes else NONE

        return arm_row(summary, label, count)

    return (
        per_class("offered", lambda totals: totals.offered),
        per_class("unimpaired", lambda totals: totals.unimpaired),
        per_class("lost", lambda totals: totals.lost),
        per_class("- on the way out (near end)", lambda totals: totals.lost_near_end),
        per_class("- on the way back (far end)", lambda totals: totals.lost_far_end),
        per_class("- direction unknown", lambda totals: totals.lost_unknown),
        per_class("- of all lost: late", lambda totals: totals.late),
        per_class("duplicated", lambda totals: totals.duplicated),
        per_class("reordered", lambda totals: totals.reordered),
        per_class("corrupted", lambda totals: totals.corrupted),
        per_class("send errors (not offered)", lambda totals: totals.send_errors),
        per_class("lost by the instrument (not offered)", lambda totals: totals.lost_instrument),
        arm_row(summary, "missed ticks (all flows at once)", lambda arm: say_count(arm.ticks_missed)),
    )


def arm_row(summary: Summary, label: str, say: Callable[[ArmSummary], str]) -> Row:
    """Return a line with what is to be said of each arm."""
    cells = {arm: say(summary.arms[arm]) if arm in summary.arms else NONE for arm in Arm}
    return Row(label=label, ungated=cells[Arm.UNGATED], gated=cells[Arm.GATED])


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


def egress_rows(summary: Summary) -> Iterator[Row]:
    """Yield what is known of the egress of the packets, out and back."""
    for way in ("out", "back"):
        for label, say in _EGRESS.items():
            yield arm_row(summary, f"{way}: {label}", partial(_say_egress, say, way))


def _say_egress(say: Callable[[DirectionCounts], str], way: str, arm: ArmSummary) -> str:
    return say(getattr(arm.paths, way))


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


def transition_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    """Yield label, arm, number of flows, minimum, median, mean, and the longest with its bounds; transitions that were made."""
    accuracy_ms = summary.accuracy_ms
    for arm, paths in ((arm, found.paths) for arm, found in summary.arms.items()):
        for label, length in (
            (f"event transition ({paths.events_impaired:,} ended by an impaired probe)", paths.event_transition),
            ("first probe out by the Next-Best Egress", paths.first_out),
            ("first answer back by the Next-Best Egress", paths.first_back),
            ("recovery transition", paths.recovery_transition),
        ):
            spread = length.spread_ms
            if spread.flows:
                yield (
                    label,
                    arm,
                    f"{spread.flows:,} of {paths.flows:,}",
                    *(say_ms(value, accuracy_ms) for value in (spread.min, spread.median, spread.mean)),
                    say_duration(length.bounds_ms_max, accuracy_ms),
                )

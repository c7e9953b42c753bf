"""The release gate in the lab: decisions between two equal versions, and the length from which an outage breaks a rule.

The decisions check the simulation of `hitless gate --self-test`: by the same primary rule, of gated trials that were run in
turns. The outages are dropped by the lab's router in a mesh that is probed as GATED is; one lost probe of any flow breaks the
rule gated-downtime.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from bench.lab.accuracy import Accuracy, measure_accuracy
from bench.question import Question
from bench.tables import Table
from clusters.kind.config import KindOptions
from commands.arms import execute_trial
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, make_performer
from commands.terminal import print_progress
from hitless.plural import plural
from hitless.words import SECOND, Arm, JsonObject
from reports.gate.inference import STOP_ALPHA, Look, bound_probability, min_pairs
from reports.gate.relative import choose, decide
from reports.gate.rules import Primary
from reports.gate.simulation import DECISIONS as DECISIONS_SIMULATED
from reports.gate.simulation import simulate_decisions
from reports.summary import TrialSummary, summarise_arm
from scenarios.loading import find_scenario, load_scenario
from scenarios.plan import Case, Options, make_case

RATE_HZ: Final = 50.0
DECISIONS: Final = 20
PAIRS: Final = min_pairs(STOP_ALPHA)
"""Of each decision: the fewest that can stop a release."""
OUTAGES: Final = 600
_EDGES: Final = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""Of the classes of lengths, intervals."""


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    count = 1 if is_quick else DECISIONS
    decisions = []
    for number in range(1, count + 1):
        print_progress(f"gate: decision {number} of {count} between equal versions, {2 * PAIRS} gated trials ...")
        decisions.append(run_pairs())
    print_progress("gate: short outages ...")
    return {"rate_hz": RATE_HZ, "decisions": decisions, "outages": find_short_outages(40 if is_quick else OUTAGES)}


def run_pairs() -> list[JsonObject]:
    """Run the trials of one decision between two equal versions, in turns; return them, a pair an object."""
    case = make_case(load_scenario(find_scenario(Primary().scenario)), Options(rate_hz=RATE_HZ))
    pairs: list[JsonObject] = []
    for number in range(1, PAIRS + 1):
        sides = ("baseline", "candidate") if number % 2 else ("candidate", "baseline")
        pairs.append({side: _run_trial(case, number) for side in sides})
    return pairs


def _run_trial(case: Case, number: int) -> JsonObject:
    backend, performer = make_backend(BackendName.LAB, KindOptions()), make_performer(SwitchName.DOUBLES)
    with tempfile.TemporaryDirectory(prefix="hitless-gate-") as folder:
        judged = execute_trial(backend, performer, case, Arm.GATED, number, Path(folder) / "run")
        trial: TrialSummary = summarise_arm([judged]).per_trial[0]
    return {"verdict": trial.verdict.value, "lost": trial.totals.lost, "hold_ms": trial.gate_hold_after_routes_ms}


def find_short_outages(count: int) -> list[JsonObject]:
    """Drop outages of 0.25 to 3 intervals; return each class of lengths with the outages that were found."""
    interval_s = 1 / RATE_HZ
    lengths_ms = (_EDGES[0] * interval_s * 1000, _EDGES[-1] * interval_s * 1000)
    with tempfile.TemporaryDirectory() as folder:
        found = measure_accuracy(RATE_HZ, count, Path(folder), seed=3, length_ms=lengths_ms)
    return [_count(found, least, most) for least, most in pairwise(_EDGES)]


def _count(found: Accuracy, least: float, most: float) -> JsonObject:
    interval_ns = SECOND / RATE_HZ
    samples = [one for one in found.samples if least <= one.truth.middle_ns / interval_ns < most]
    outages = {id(one.truth) for one in samples}
    seen = {id(one.truth) for one in samples if one.outage is not None}
    return {
        "least": least,
        "most": most,
        "outages": len(outages),
        "found": len(seen),
        "samples": len(samples),
        "samples_found": sum(one.outage is not None for one in samples),
    }


def _show(document: JsonObject) -> tuple[Table, ...]:
    return _show_decisions(document["decisions"]), _show_outages(document)


def _show_decisions(decisions: list[list[JsonObject]]) -> Table:
    outcomes = [_decide(pairs) for pairs in decisions]
    trials = [pair[side] for pairs in decisions for pair in pairs for side in ("baseline", "candidate")]
    values = np.array([one["hold_ms"] for one in trials if one["hold_ms"] is not None])
    simulated = simulate_decisions(values, 1000 / RATE_HZ, Primary(), [Look(pairs=PAIRS)], "the lab's trials").points[0]
    counts = [outcomes.count(one) for one in ("go", "stop", "not decided")]
    expected = [count * len(outcomes) / DECISIONS_SIMULATED for count in (simulated.go, simulated.stop, simulated.not_decided)]
    inconclusive, lossy = (
        plural(sum(found), "was", "were")
        for found in ([one["verdict"] == "INCONCLUSIVE" for one in trials], [one["lost"] > 0 for one in trials])
    )
    return Table(
        title=f"Decisions between equal versions, {PAIRS} pairs each",
        columns=("", "decisions", "go", "stop", "not decided"),
        rows=(
            ("in the lab", f"{len(outcomes)}", *(f"{count}" for count in counts)),
            ("simulated from the same trials", f"{len(outcomes)}", *(f"{count:.1f}" for count in expected)),
        ),
        note=(
            f"By the primary rule. Of {len(trials)} gated trials, {inconclusive} inconclusive and {lossy} with loss. With "
            f"{plural(counts[1], 'false stop')} in {len(outcomes)} decisions, the probability of one is at most "
            f"{bound_probability(counts[1], len(outcomes)):.0%} (95 %, Clopper-Pearson). An inconclusive trial has no "
            "figure, so its decision cannot be made."
        ),
    )


def _decide(pairs: list[JsonObject]) -> str:
    if any(one["hold_ms"] is None or one["verdict"] == "INCONCLUSIVE" for pair in pairs for one in pair.values()):
        return "not decided"
    baseline, candidate = (np.array([[pair[side]["hold_ms"] for pair in pairs]]) for side in ("baseline", "candidate"))
    _, p_worse, p_harmless = choose(baseline, candidate, Primary(), 1000 / RATE_HZ)
    is_go, is_stop = decide(p_worse, p_harmless, Look(pairs=PAIRS))
    return "go" if is_go[0] else "stop" if is_stop[0] else "not decided"


def _show_outages(document: JsonObject) -> Table:
    return Table(
        title=f"Short outages at {document['rate_hz']:g} probes per second",
        columns=("length in intervals", "outages", "found by the gate", "share", "found by one flow"),
        rows=tuple(
            (
                f"{row['least']:g} to {row['most']:g}",
                f"{row['outages']}",
                f"{row['found']}",
                f"{row['found'] / row['outages']:.1%}" if row["outages"] else "",
                f"{row['samples_found'] / row['samples']:.1%}" if row["samples"] else "",
            )
            for row in document["outages"]
        ),
        note=(
            "Outages of both directions between the zones of a mesh of 4 nodes. The gate finds one if any flow lost a probe; "
            "the last column is the share of the 8 flows that did. They are probed at nearly the same times."
        ),
    )


GATE: Final = Question(name="gate", text="decisions of the release gate in the lab", ask=_ask, show=_show)

"""Precision and recall of the attribution, by outages of known cause.

Counters are sums of a run, so causes that only a counter shows are harder to distinguish the more often they occur. Two
settings are measured: runs in which each cause occurs once, as in a switch, and crowded ones.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.lab.cause_experiment import CauseExperiment, run_cause_experiment
from bench.lab.cause_scenes import STAGES
from bench.lab.cause_scores import count_confusions, score_causes
from bench.question import Question
from bench.tables import Table
from commands.terminal import print_progress
from hitless.words import JsonObject

RATE_HZ: Final = 200.0
SEED_FIRST: Final = 2001
"""Other seeds than those with which the odds were chosen."""
_QUICK: Final = ((2, 1),)
_FULL: Final = ((12, 1), (4, 4))
"""Runs, and how often each kind of cause comes in one run."""


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    return {"settings": [_measure(runs, each) for runs, each in (_QUICK if is_quick else _FULL)]}


def _measure(runs: int, each: int) -> JsonObject:
    print_progress(f"causes: {runs} runs, {each} of every kind of cause in each ...")
    experiments = [_experiment(seed, each) for seed in range(SEED_FIRST, SEED_FIRST + runs)]
    return {
        "runs": runs,
        "each": each,
        "rate_hz": RATE_HZ,
        "causes": [
            asdict(score) | {"precision": score.precision, "recall": score.recall} for score in score_causes(experiments)
        ],
        "confusions": [asdict(confusion) for confusion in count_confusions(experiments)],
    }


def _experiment(seed: int, each: int) -> CauseExperiment:
    with tempfile.TemporaryDirectory() as folder:
        return run_cause_experiment(tuple(STAGES) * each, Path(folder), rate_hz=RATE_HZ, seed=seed)


def _show(document: JsonObject) -> tuple[Table, ...]:
    return tuple(_make_table(setting) for setting in document["settings"])


def _make_table(setting: JsonObject) -> Table:
    wrong = [entry for entry in setting["confusions"] if entry["truth"] != entry["said"]]
    taken = ", ".join(f"{entry['outages']} of {entry['truth'] or 'nothing broken'} for {entry['said']}" for entry in wrong)
    counts = ("injections", "outages", "said", "right", "named")
    return Table(
        title=(
            f"Causes of outages: {setting['runs']} runs, {setting['each']} of every kind in each, {setting['rate_hz']:g} Hz"
        ),
        columns=("cause", *counts, "precision", "recall"),
        rows=tuple(
            (
                str(row["kind"] or "all"),
                *(f"{row[name]}" for name in counts),
                *("-" if row[name] is None else f"{row[name]:.3f}" for name in ("precision", "recall")),
            )
            for row in setting["causes"]
        ),
        note=f"Named: exactly what was broken was named. Wrong: {taken or 'nothing'}.",
    )


CAUSES: Final = Question(name="causes", text="precision and recall of the attribution", ask=_ask, show=_show)

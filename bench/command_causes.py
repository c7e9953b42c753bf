"""`python -m bench`, causes: precision and recall of the attribution, by outages of known cause.

Counters are sums of a run, so causes that only a counter shows are harder to tell, the more often they occur in one run. Two
settings are measured: runs in which each cause occurs once, as in a switch, and crowded ones.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.lab.cause_experiment import CauseExperiment, run_cause_experiment
from bench.lab.cause_scenes import STAGES
from bench.lab.cause_scores import SURE, count_confusions, score_causes
from commands.terminal import print_progress, print_table
from hitless.words import JsonObject

RATE_HZ: Final = 200.0
SEED_FIRST: Final = 2001
"""Other seeds than those with which the odds were chosen."""
_QUICK: Final = ((2, 1),)
_FULL: Final = ((12, 1), (4, 4))
"""Runs, and how often each kind of cause comes in one run."""


def run_cause_bench(*, is_quick: bool) -> list[JsonObject]:
    """Break a lab in every known way, print how well the causes were attributed, and return the rows. Inside the sandbox only.

    Returns:
        One document a setting: `runs`, `each`, `rate_hz`, `causes` (the fields of CauseScore with precision and recall; the
        last has kind None: all), `confusions` (truth, said, outages).

    Raises:
        WorldError: the lab or the agents failed.
    """
    return [_measure(runs, each) for runs, each in (_QUICK if is_quick else _FULL)]


def _measure(runs: int, each: int) -> JsonObject:
    print_progress(f"causes: {runs} runs, {each} of every kind of cause in each ...")
    experiments = [_experiment(seed, each) for seed in range(SEED_FIRST, SEED_FIRST + runs)]
    scores = score_causes(experiments)
    document: JsonObject = {
        "runs": runs,
        "each": each,
        "rate_hz": RATE_HZ,
        "causes": [asdict(score) | {"precision": score.precision, "recall": score.recall} for score in scores],
        "confusions": [asdict(confusion) for confusion in count_confusions(experiments)],
    }
    _print(document)
    return document


def _experiment(seed: int, each: int) -> CauseExperiment:
    with tempfile.TemporaryDirectory() as folder:
        return run_cause_experiment(tuple(STAGES) * each, Path(folder), rate_hz=RATE_HZ, seed=seed)


def _print(document: JsonObject) -> None:
    names = ("injections", "outages", "said", "right")
    every = document["causes"][-1]
    wrong = [entry for entry in document["confusions"] if entry["truth"] != entry["said"]]
    taken = ", ".join(f"{entry['outages']} of {entry['truth'] or 'nothing broken'} for {entry['said']}" for entry in wrong)
    print_table(
        f"Causes of outages: {document['runs']} runs, {document['each']} of every kind in each, {document['rate_hz']:g} Hz",
        ("cause", "broken", "outages", "said", "right", "precision", "recall"),
        (
            (str(row["kind"] or "all"), *(str(row[name]) for name in names), _say(row["precision"]), _say(row["recall"]))
            for row in document["causes"]
        ),
        f"What was broken is named, and nothing else, in {every['named']} of {every['right']}. Said with a score of at least "
        f"{SURE:g}: {every['sure']}, of which {every['sure_right']} are right. Taken wrongly: {taken or 'nothing'}.",
    )


def _say(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"

"""Accuracy: outages of random real lengths and phases, dropped in the lab's router, against their measurement.

At 100 Hz and 1 kHz in a full mesh, at 5 kHz on one flow. Flows of one sender share its phase, so the unit of the statistics is
the outage: its error is the mean over its flows, its largest error the largest of them.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.estimates import MEAN_WANTED, describe_errors, is_mean_reached
from bench.lab.accuracy import Accuracy, Sample, measure_accuracy
from bench.question import Question
from bench.tables import Table
from commands.terminal import print_progress
from hitless.words import JsonObject

BLUR_SHARE: Final = 0.25
"""If the truth is not known to a quarter of an interval, the outage tells nothing about a tool's error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """One experiment."""

    rate_hz: float
    is_pair: bool
    """One flow; otherwise a mesh of 12, of which 8 cross the router."""
    outages: int
    outages_quick: int


_SETTINGS: Final = (
    _Setting(rate_hz=100.0, is_pair=False, outages=1000, outages_quick=25),
    _Setting(rate_hz=1000.0, is_pair=False, outages=1000, outages_quick=25),
    _Setting(rate_hz=5000.0, is_pair=True, outages=400, outages_quick=25),
)


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    return {
        "rows": [_measure(setting, setting.outages_quick if is_quick else setting.outages) for setting in _SETTINGS],
    }


def _measure(setting: _Setting, count: int) -> JsonObject:
    what = "one flow" if setting.is_pair else "a mesh"
    print_progress(f"accuracy at {setting.rate_hz:g} Hz, {what}: {count} outages ...")
    blur_ns = BLUR_SHARE * 1e9 / setting.rate_hz
    with tempfile.TemporaryDirectory() as folder:
        found = measure_accuracy(setting.rate_hz, count, Path(folder), is_pair=setting.is_pair, blur_ns_max=blur_ns)
    truths = {id(sample.truth): sample.truth for sample in found.samples}
    return {
        "rate_hz": setting.rate_hz,
        "flows": 1 if setting.is_pair else 8,
        "injected": len(truths),
        "blur_us_mean": round(statistics.fmean(truth.blur_ns for truth in truths.values()) / 1000, 1),
        "samples": len(found.samples),
        "wrong": sum(not sample.holds for sample in found.samples),
        "false": len(found.false_outages),
        "merged": sum(sample.is_merged for sample in found.samples),
        "ticks": found.ticks,
        "ticks_missed": found.ticks_missed,
        "ways": {
            "likely length": _describe(found, blur_ns, lambda sample: sample.likely_error_ns),
            "middle of bounds": _describe(found, blur_ns, lambda sample: sample.error_ns),
        },
    }


def _describe(found: Accuracy, blur_ns: float, error_of: Callable[[Sample], float | None]) -> JsonObject:
    """Return the statistics over the sharp outages, each with the mean error of its flows."""
    by_outage: dict[int, list[float]] = defaultdict(list)
    for sample in found.samples:
        error_ns = error_of(sample)
        if error_ns is not None and sample.truth.blur_ns <= blur_ns:
            by_outage[id(sample.truth)].append(error_ns)
    sizes_ns = [statistics.fmean(map(abs, errors)) for errors in by_outage.values()]
    every_ns = [error for errors in by_outage.values() for error in errors]
    described = describe_errors(sizes_ns, found.interval_ns)
    if not every_ns:
        return described
    return described | {
        "bias": round(statistics.fmean(every_ns) / found.interval_ns, 4),
        "largest": round(max(map(abs, every_ns)) / found.interval_ns, 4),
        "above_one": sum(abs(error) > found.interval_ns for error in every_ns),
    }


def _show(document: JsonObject) -> tuple[Table, ...]:
    rows = [(row, by, way) for row in document["rows"] for by, way in row["ways"].items()]
    errors = Table(
        title="Accuracy: injected outages against what is measured",
        columns=("rate, flows", "estimate", "outages", "mean error", "± 2 SE", "mean reached", "largest", "above 1", "bias"),
        rows=tuple((f"{row['rate_hz']:g} Hz, {row['flows']}", by, *_make_cells(way)) for row, by, way in rows),
        note=(
            "Errors in intervals: estimate - middle of the truth; an unseen outage counts as an estimate of 0. Aim: the mean "
            "is a third of an interval within two standard errors, and no error is above one interval (0.2 ms at 5 kHz)."
        ),
    )
    experiment = Table(
        title="Accuracy: the experiments",
        columns=("rate, flows", "injected", "truth known to", "samples", "bounds wrong", "false", "merged", "missed ticks"),
        rows=tuple(
            (
                f"{row['rate_hz']:g} Hz, {row['flows']}",
                f"{row['injected']:,}",
                f"± {row['blur_us_mean']:.0f} us",
                f"{row['samples']:,}",
                f"{row['wrong']}",
                f"{row['false']}",
                f"{row['merged']}",
                f"{row['ticks_missed']:,} of {row['ticks_missed'] + row['ticks']:,}",
            )
            for row in document["rows"]
        ),
        note=f"Outages whose truth is not known to {BLUR_SHARE:g} of an interval are excluded above, not here.",
    )
    return errors, experiment


def _make_cells(way: JsonObject) -> tuple[str, ...]:
    if not way["outages"]:
        return ("0", *[""] * 6)
    error = "" if way["standard_error"] is None else f"{2 * way['standard_error']:.3f}"
    beyond = way["mean"] - MEAN_WANTED
    reached = "yes" if is_mean_reached(way) else f"no, {beyond:+.3f}" if beyond > 0 else f"better, {beyond:+.3f}"
    numbers = (f"{way['outages']:,}", f"{way['mean']:.3f}", error, reached, f"{way['largest']:.2f}", f"{way['above_one']}")
    return (*numbers, f"{way['bias']:+.3f}")


ACCURACY: Final = Question(name="accuracy", text="error against injected outages", ask=_ask, show=_show)

"""Precision and recall of the attribution, by outages of known cause."""

from __future__ import annotations

import contextlib
import io
from typing import Final

from bench.command_causes import run_cause_bench
from bench.question import Question
from bench.tables import Table
from hitless.words import JsonObject


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - as every question
    # It prints its tables itself, for who runs it alone; here they are made from what is stored.
    with contextlib.redirect_stdout(io.StringIO()):
        return {"settings": run_cause_bench(is_quick=is_quick)}


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
        note=f"Named: what was broken was named, and nothing else. Taken wrongly: {taken or 'nothing'}.",
    )


CAUSES: Final = Question(name="causes", text="precision and recall of the attribution", ask=_ask, show=_show)

"""`python -m bench estimators RUN`: what other tools would have reported of the outages of stored runs."""

from __future__ import annotations

from pathlib import Path

from bench.estimators.estimate import estimate_arm
from bench.estimators.table import tool_rows
from commands.compare import read_stored
from commands.terminal import print_table
from hitless.words import MILLISECOND, Arm

COLUMNS = ("tool", "does", "worst flow", "all flows", "flows reported", "reports nothing")
WIDTH = 160
"""Characters a line where the output is no terminal."""


def show_estimates(path: Path) -> None:
    """Print a table an arm. Raises UsageError: there is no stored run; RecordDamagedError: a record cannot be read."""
    runs, _ = read_stored(path)
    for arm in Arm:
        own = [run for run in runs if run.history.header.arm is arm]
        if own:
            rows = tool_rows(estimate_arm(own), own[0].history.header.interval_ns / MILLISECOND)
            print_table(
                f"{arm}: estimates by models of the tools (docs/estimators.md)",
                COLUMNS,
                rows,
                has_numbers=False,
                width_min=WIDTH,
            )

"""`hitless history`: keep the figures of every release, and show how they change."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from commands.options import Format, OutputFormat, check_folder
from commands.terminal import print_table
from hitless.errors import UsageError, attempting
from hitless.plural import plural
from reports.gate.rules import Figure

app = typer.Typer(help="Keep the figures of every release and show their changes.", no_args_is_help=True)
History = Annotated[Path, typer.Argument(metavar="HISTORY", help="Folder of the history.")]


@app.command()
def add(
    history: History,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Comparisons, sessions of suites, or summaries.")],
    *,
    release: Annotated[str | None, typer.Option(help="Version; default: that of the extension in the summary.")] = None,
) -> None:
    """Add the trials of summaries; a summary that was added before is not changed."""
    from commands.history_files import add_summaries  # noqa: PLC0415 - scipy takes a second to import

    added, present = add_summaries(history, paths, release)
    sys.stdout.write(f"{plural(added, 'summary', 'summaries')} added to {history}, {present:,} already there\n")


@app.command()
def show(history: History, *, output_format: OutputFormat = Format.TEXT) -> None:
    """List what the history has: a line for each release, scenario and arm."""
    from commands.history_files import list_contents, read_rows  # noqa: PLC0415 - as above

    rows = read_rows(history)
    if output_format is Format.JSON:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1, default=str) + "\n")
        return
    columns = ("release", "scenario", "arm", "trials", "with loss", "PASS", "FAIL", "INCONCLUSIVE")
    print_table(f"History {history}", columns, list_contents(rows))


@app.command()
def trend(
    history: History,
    *,
    scenario: Annotated[str, typer.Option(help="Name of the scenario.")] = "plain-switch",
    figure: Annotated[Figure, typer.Option(help="What is drawn.")] = Figure.GATE_HOLD_AFTER_ROUTES,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with every figure.", dir_okay=False)
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Draw a figure over the releases, with the changes of its level and the allowances."""
    from commands.history_files import read_rows  # noqa: PLC0415 - as above
    from reports.trend import make_trend, render_trend, render_trend_page  # noqa: PLC0415 - as above

    check_folder("--page", page)
    rows = read_rows(history)
    found = make_trend(rows, scenario, figure)
    if found is None:
        expected = ", ".join(sorted({row.scenario for row in rows})) or "nothing: the history is empty"
        raise UsageError(where="--scenario", found=scenario, expected=f"a scenario of the history: {expected}")
    if page is not None:
        trends = [trend for name in Figure if (trend := make_trend(rows, scenario, name)) is not None and trend.is_known]
        with attempting(f"write {page}"):
            page.write_text(render_trend_page(trends or [found]), encoding="utf-8")
    sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n" if output_format is Format.JSON else render_trend(found))

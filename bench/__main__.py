"""The command line of the benches: `python -m bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.command import run_bench
from bench.tables import BenchFormat
from commands.main import run_app

app = typer.Typer(
    name="bench", no_args_is_help=False, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
def measure(
    context: typer.Context,
    *,
    quick: Annotated[bool, typer.Option(help="Few repetitions: tests the benchmark; the figures mean little.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            help="Of these, with commas: accuracy, peers, cpu, rate, mesh, bringup, causes, reports, scale, hold; default: all."
        ),
    ] = None,
    output_format: Annotated[BenchFormat, typer.Option("--format", help="What to print.")] = BenchFormat.TEXT,
    stored: Annotated[Path | None, typer.Option("--from", help="A bench.json to show instead of measuring.")] = None,
    into: Annotated[Path | None, typer.Option(help="A document whose tables are replaced: docs/benchmarks.md.")] = None,
) -> None:
    """Measure the instrument, beside fping, irtt, iperf3, ping, ip -batch and mininet."""
    if context.invoked_subcommand is None:
        run_bench(is_quick=quick, only=only, output_format=output_format, stored=stored, into=into)


@app.command()
def estimators(run: Annotated[Path, typer.Argument(help="Folder of a stored comparison or of one stored run.")]) -> None:
    """Show what other tools would have reported of the outages of a stored comparison, by models of them."""
    from bench.estimators.command import show_estimates  # noqa: PLC0415 - only this command reads records

    show_estimates(run)


if __name__ == "__main__":
    run_app(app)

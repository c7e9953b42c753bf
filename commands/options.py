"""Options of several commands: their types, the refusal of options without effect, and help in groups."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption

from commands.settings import RUNS_HELP, Format, default_runs
from hitless.errors import UsageError
from hitless.words import Verdict

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 20}

_OUTPUT: Final = "Output"

Output = Annotated[
    Path,
    typer.Option(default_factory=default_runs, help="Folder for the records.", show_default=RUNS_HELP, rich_help_panel=_OUTPUT),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="What to print.", rich_help_panel=_OUTPUT)]
Prometheus = Annotated[
    Path | None,
    typer.Option(help="File for the figures as Prometheus text.", dir_okay=False, metavar="FILE.prom", rich_help_panel=_OUTPUT),
]


class GroupedCommand(TyperCommand):
    """A command whose help lists its options below the heading of each (`rich_help_panel`), in the order of the options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps click's types to itself
        """Write the options, those without a heading last."""
        shown = [(param, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx)) is not None]
        for heading, found in groupby(shown, key=lambda one: _heading_of(one[0])):
            with formatter.section(heading):
                formatter.write_dl([record for _, record in found])


def _heading_of(param: object) -> str:
    return (isinstance(param, TyperOption) and param.rich_help_panel) or "Other options"


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter stood on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_beside(option: str, names: Collection[str]) -> None:
    """Refuse options that would have no effect. Raises UsageError."""
    if names:
        has, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise UsageError(f"{name_options(names)} {has} no effect with {option}; leave {them} out")


def name_options(names: Collection[str]) -> str:
    """Return options as messages name them."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))

"""Options of several commands: their types, the refusal of options without effect, and help in groups."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption

from commands.settings import MESH_HELP, RUNS_HELP, Format, default_runs
from hitless.errors import UsageError
from hitless.words import IpipCarrier, Overlay, Profile, Verdict

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 20}

run = partial(typer.Option, rich_help_panel="What to run")
where = partial(typer.Option, rich_help_panel="Where")
kind = partial(typer.Option, rich_help_panel="With --backend kind")
_tested = partial(typer.Option, rich_help_panel="Versions and programs under test")
_output = partial(typer.Option, rich_help_panel="Output")

ScenarioName = Annotated[str, run(help="Name of a shipped scenario, or a YAML file.")]
ProfileName = Annotated[Profile | None, run(help="Timing constants; default: fast in the lab, else gardener.")]
OverlayName = Annotated[Overlay | None, run(help="Encapsulation; default: the scenario's.")]
Zones = Annotated[int | None, run(help="Number of zones; default: the scenario's.")]
NodesPerZone = Annotated[int | None, run(help="Nodes per zone; default: the scenario's.")]
MeshName = Annotated[str | None, run(help=f"{MESH_HELP} Default: full.")]
Carrier = Annotated[IpipCarrier | None, where(help="Tunnel device for overlay ipip; default: ipip if the kernel has it.")]
ClusterName = Annotated[str, kind(help="Name of the kind cluster.")]
KindBin = Annotated[Path | None, kind(help="Path of kind; default: from PATH.")]
KubectlBin = Annotated[Path | None, kind(help="Path of kubectl; default: from PATH.")]
NodeImage = Annotated[str | None, kind(help="Node image; default: the pinned one.")]
CalicoVersion = Annotated[
    str | None, _tested(help="Calico's tag; default: the extension's. With --extension on kind: the tag of the node images.")
]
Output = Annotated[Path, _output(default_factory=default_runs, help="Folder for the records.", show_default=RUNS_HELP)]
OutputFormat = Annotated[Format, _output("--format", help="What to print.")]
Prometheus = Annotated[
    Path | None, _output(help="File for the figures as Prometheus text.", dir_okay=False, metavar="FILE.prom")
]


def _program(part: str) -> Any:  # noqa: ANN401 - what typer takes
    """Return the option for a part that a program may take the place of."""
    return _tested(metavar="PROGRAM", help=f"Path of the {part} program, or double.")


Extension = Annotated[str, _program("The Calico extension")]
ResourceManager = Annotated[str, _program("gardener-resource-manager")]
RouteController = Annotated[str, _program("aws-custom-route-controller")]


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

"""The command line of `hitless compare`: its options in groups, and the refusal of those that contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from commands.options import EXIT_CODES, Output, OutputFormat, Prometheus, is_given, refuse_beside
from commands.settings import (
    AUTO,
    DOUBLE,
    MESH_HELP,
    TRIALS_MAX,
    BackendName,
    Format,
    Outcome,
    check_folder,
    read_mesh,
    read_rate,
)
from hitless.words import IpipCarrier, Overlay, Profile
from scenarios.mesh import FULL_MESH
from scenarios.plan import Options

KIND_PARAMETERS: Final = frozenset({"cluster_name", "kind_bin", "kind_kubectl_bin", "kind_image", "keep_cluster"})
_RUN: Final = "What to run"
_WHERE: Final = "Where"
_KIND: Final = "With --backend kind"
_TESTED: Final = "Versions and programs under test"


def compare(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    *,
    scenario: Annotated[
        str, typer.Option(help="Name of a shipped scenario, or a YAML file.", rich_help_panel=_RUN)
    ] = "plain-switch",
    trials: Annotated[int, typer.Option(min=1, max=TRIALS_MAX, help="Runs of each arm.", rich_help_panel=_RUN)] = 3,
    first_trial: Annotated[int, typer.Option(min=1, help="Number of the first of them.", rich_help_panel=_RUN)] = 1,
    profile: Annotated[
        Profile | None, typer.Option(help="Timing constants; default: lab fast, kind gardener.", rich_help_panel=_RUN)
    ] = None,
    overlay: Annotated[
        Overlay | None, typer.Option(help="Encapsulation; default: the scenario's.", rich_help_panel=_RUN)
    ] = None,
    zones: Annotated[int | None, typer.Option(help="Number of zones; default: the scenario's.", rich_help_panel=_RUN)] = None,
    nodes_per_zone: Annotated[
        int | None, typer.Option(help="Nodes a zone; default: the scenario's.", rich_help_panel=_RUN)
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Probes a second a flow, or auto: 200, 100, 50 or 20, as this machine answers them.", rich_help_panel=_RUN
        ),
    ] = None,
    mesh: Annotated[str | None, typer.Option(help=f"{MESH_HELP} Default: full.", rich_help_panel=_RUN)] = None,
    watched: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="UNGATED GATED", help="Run nothing: compare two stored watches of these folders.", rich_help_panel=_RUN
        ),
    ] = None,
    backend: Annotated[BackendName, typer.Option(help="Where the arms run.", rich_help_panel=_WHERE)] = BackendName.LAB,
    carrier: Annotated[
        IpipCarrier | None, typer.Option(help="What carries ipip; default: ipip, if the kernel has it.", rich_help_panel=_WHERE)
    ] = None,
    cluster_name: Annotated[str, typer.Option(help="Name of the cluster.", rich_help_panel=_KIND)] = DEFAULT_CLUSTER_NAME,
    kind_bin: Annotated[Path | None, typer.Option(help="The program; default: from PATH.", rich_help_panel=_KIND)] = None,
    kind_kubectl_bin: Annotated[Path | None, typer.Option(help="kubectl; default: from PATH.", rich_help_panel=_KIND)] = None,
    kind_image: Annotated[str | None, typer.Option(help="Node image; default: the pinned one.", rich_help_panel=_KIND)] = None,
    keep_cluster: Annotated[
        bool, typer.Option("--keep-cluster", help="Use one cluster for all runs, and leave it up.", rich_help_panel=_KIND)
    ] = False,
    calico_version: Annotated[
        str | None,
        typer.Option(
            help="Calico's tag; default: the extension's. Beside --extension on kind: the images of the nodes.",
            rich_help_panel=_TESTED,
        ),
    ] = None,
    extension: Annotated[
        str,
        typer.Option(
            metavar="PROGRAM", help="The Calico extension: the path of its program, or double.", rich_help_panel=_TESTED
        ),
    ] = DOUBLE,
    resource_manager: Annotated[
        str,
        typer.Option(
            metavar="PROGRAM", help="gardener-resource-manager: the path of its program, or double.", rich_help_panel=_TESTED
        ),
    ] = DOUBLE,
    route_controller: Annotated[
        str,
        typer.Option(
            metavar="PROGRAM", help="aws-custom-route-controller: the path of its program, or double.", rich_help_panel=_TESTED
        ),
    ] = DOUBLE,
    output: Output,
    prometheus: Prometheus = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Switch without and with the gate, and compare.

    Switches several times each, and shows the downtime side by side.
    """
    from commands.compare import ComparisonOptions, compare_arms, compare_watched  # noqa: PLC0415 - only its call needs it
    from commands.performers import read_programs  # noqa: PLC0415 - as above

    given = {name for name in context.params if is_given(context, name)}
    check_folder("--prometheus", prometheus)
    if watched is not None:
        refuse_beside("--watched", given - {"watched", "output", "output_format", "prometheus"})
        raise Outcome(EXIT_CODES[compare_watched(watched, output, output_format, prometheus)])
    if backend is not BackendName.KIND:
        refuse_beside(f"--backend {backend}", given & KIND_PARAMETERS)
    is_auto = rate == AUTO
    if backend is not BackendName.LAB:
        refuse_beside(f"--backend {backend}", {"carrier"} & given)
    wanted = ComparisonOptions(
        scenario=scenario,
        backend=backend,
        kind=KindOptions(
            cluster_name=cluster_name, kind_bin=kind_bin, kubectl_bin=kind_kubectl_bin, image=kind_image, keep=keep_cluster
        ),
        profile=profile,
        options=Options(
            overlay=overlay,
            zones=zones,
            nodes_per_zone=nodes_per_zone,
            rate_hz=None if is_auto else read_rate(rate),
            carrier=carrier,
            mesh=read_mesh(mesh) or FULL_MESH,
            calico_version=calico_version,
        ),
        trials=range(first_trial, first_trial + trials),
        is_rate_auto=is_auto,
        programs=read_programs(extension, resource_manager, route_controller),
    )
    raise Outcome(EXIT_CODES[compare_arms(wanted, output, output_format, prometheus)])

"""The command line of `hitless compare`: its options in groups, and the refusal of those that contradict each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

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
_run = partial(typer.Option, rich_help_panel="What to run")
_where = partial(typer.Option, rich_help_panel="Where")
_kind = partial(typer.Option, rich_help_panel="With --backend kind")
_tested = partial(typer.Option, rich_help_panel="Versions and programs under test")


def _program(part: str) -> Any:  # noqa: ANN401 - what typer takes
    """Return the option for a part that a program may take the place of."""
    return _tested(metavar="PROGRAM", help=f"{part}: the path of its program, or double.")


def compare(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    *,
    scenario: Annotated[str, _run(help="Name of a shipped scenario, or a YAML file.")] = "plain-switch",
    trials: Annotated[int, _run(min=1, max=TRIALS_MAX, help="Runs of each arm.")] = 3,
    first_trial: Annotated[int, _run(min=1, help="Number of the first of them.")] = 1,
    profile: Annotated[Profile | None, _run(help="Timing constants; default: lab fast, kind gardener.")] = None,
    overlay: Annotated[Overlay | None, _run(help="Encapsulation; default: the scenario's.")] = None,
    zones: Annotated[int | None, _run(help="Number of zones; default: the scenario's.")] = None,
    nodes_per_zone: Annotated[int | None, _run(help="Nodes a zone; default: the scenario's.")] = None,
    rate: Annotated[
        str | None, _run(help="Probes per second per flow, or auto: 200, 100, 50 or 20, as this machine answers them.")
    ] = None,
    mesh: Annotated[str | None, _run(help=f"{MESH_HELP} Default: full.")] = None,
    watched: Annotated[
        tuple[Path, Path] | None,
        _run(metavar="UNGATED GATED", help="Run nothing: compare two stored watches of these folders."),
    ] = None,
    backend: Annotated[BackendName, _where(help="Where the arms run.")] = BackendName.LAB,
    carrier: Annotated[IpipCarrier | None, _where(help="What carries ipip; default: ipip, if the kernel has it.")] = None,
    cluster_name: Annotated[str, _kind(help="Name of the cluster.")] = DEFAULT_CLUSTER_NAME,
    kind_bin: Annotated[Path | None, _kind(help="The program; default: from PATH.")] = None,
    kind_kubectl_bin: Annotated[Path | None, _kind(help="kubectl; default: from PATH.")] = None,
    kind_image: Annotated[str | None, _kind(help="Node image; default: the pinned one.")] = None,
    keep_cluster: Annotated[bool, _kind("--keep-cluster", help="Use one cluster for all runs, and leave it up.")] = False,
    calico_version: Annotated[
        str | None, _tested(help="Calico's tag; default: the extension's. Beside --extension on kind: the images of the nodes.")
    ] = None,
    extension: Annotated[str, _program("The Calico extension")] = DOUBLE,
    resource_manager: Annotated[str, _program("gardener-resource-manager")] = DOUBLE,
    route_controller: Annotated[str, _program("aws-custom-route-controller")] = DOUBLE,
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

"""The command line of `hitless compare`, and the refusal of options that contradict each other."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Final

import typer

from clusters.kind.config import DEFAULT_CLUSTER_NAME, KindOptions
from commands import options
from commands.options import (
    AUTO,
    DOUBLE,
    TRIALS_MAX,
    BackendName,
    Format,
    Outcome,
    check_folder,
    is_given,
    read_mesh,
    read_rate,
    refuse_beside,
)
from hitless.errors import UsageError
from scenarios.mesh import FULL_MESH

KIND_PARAMETERS: Final = frozenset({"cluster_name", "kind_bin", "kind_kubectl_bin", "kind_image", "keep_cluster"})


def compare(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    *,
    scenario: options.ScenarioName = "plain-switch",
    trials: Annotated[int, options.run(min=1, max=TRIALS_MAX, help="Runs of each arm.")] = 3,
    first_trial: Annotated[int, options.run(min=1, help="Number of the first trial.")] = 1,
    profile: options.ProfileName = None,
    overlay: options.OverlayName = None,
    zones: options.Zones = None,
    nodes_per_zone: options.NodesPerZone = None,
    rate: Annotated[
        str | None,
        options.run(help="Probes per second per flow, or auto: the highest of 200, 100, 50, 20 that this machine sustains."),
    ] = None,
    mesh: options.MeshName = None,
    watched: Annotated[
        tuple[Path, Path] | None,
        options.run(metavar="UNGATED GATED", help="Do not run; compare the stored watches in these two folders."),
    ] = None,
    backend: Annotated[BackendName, options.where(help="Where the arms run.")] = BackendName.LAB,
    carrier: options.Carrier = None,
    cluster_name: options.ClusterName = DEFAULT_CLUSTER_NAME,
    kind_bin: options.KindBin = None,
    kind_kubectl_bin: options.KubectlBin = None,
    kind_image: options.NodeImage = None,
    keep_cluster: Annotated[bool, options.kind("--keep-cluster", help="Use one cluster for all runs and leave it up.")] = False,
    calico_version: options.CalicoVersion = None,
    extension: options.Extension = DOUBLE,
    resource_manager: options.ResourceManager = DOUBLE,
    route_controller: options.RouteController = DOUBLE,
    output: options.Output,
    prometheus: options.Prometheus = None,
    output_format: options.OutputFormat = Format.TEXT,
) -> None:
    """Switch without and with the gate, and compare.

    Switches several times each, and shows the downtime side by side.
    """
    from commands.backends import fit_backend, make_backend  # noqa: PLC0415 - only its call needs them
    from commands.compare import compare_arms, compare_watched  # noqa: PLC0415 - as above
    from commands.performers import SwitchName, make_performer, read_programs  # noqa: PLC0415 - as above
    from scenarios.loading import find_scenario, load_scenario  # noqa: PLC0415 - as above
    from scenarios.plan import Options, make_case  # noqa: PLC0415 - as above

    given = {name for name in context.params if is_given(context, name)}
    check_folder("--prometheus", prometheus)
    if watched is not None:
        refuse_beside("--watched", given - {"watched", "output", "output_format", "prometheus"})
        raise Outcome(options.EXIT_CODES[compare_watched(watched, output, output_format, prometheus)])
    _check_backend(backend, given)
    kind = KindOptions(
        cluster_name=cluster_name, kind_bin=kind_bin, kubectl_bin=kind_kubectl_bin, image=kind_image, keep=keep_cluster
    )
    performer = make_performer(SwitchName.DOUBLES, programs=read_programs(extension, resource_manager, route_controller))
    place = fit_backend(make_backend(backend, kind), performer, calico_version)
    is_auto = rate == AUTO
    changes = Options(
        profile=place.choose_profile(profile),
        overlay=overlay,
        zones=zones,
        nodes_per_zone=nodes_per_zone,
        rate_hz=None if is_auto else place.rate_hz if rate is None else read_rate(rate),
        carrier=carrier,
        mesh=read_mesh(mesh) or FULL_MESH,
        calico_version=calico_version,
    )
    case = make_case(load_scenario(find_scenario(scenario)), changes)
    numbers = range(first_trial, first_trial + trials)
    verdict = compare_arms(place, performer, case, numbers, output, output_format, prometheus, is_rate_auto=is_auto)
    raise Outcome(options.EXIT_CODES[verdict])


def _check_backend(backend: BackendName, given: AbstractSet[str]) -> None:
    """Refuse a backend that `compare` cannot switch, and options of another backend. Raises UsageError."""
    if backend is not BackendName.KIND:
        refuse_beside(f"--backend {backend}", given & KIND_PARAMETERS)
    if backend is not BackendName.LAB:
        refuse_beside(f"--backend {backend}", {"carrier"} & given)
    if backend is BackendName.KUBECONFIG:
        raise UsageError(
            "`hitless compare` switches the cluster itself, and hitless only watches that of a kubeconfig; "
            "use `hitless watch` for each arm, then `hitless compare --watched UNGATED GATED`"
        )

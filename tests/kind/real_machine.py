"""The engine of a machine and what a real cluster on it is made from, as the options of the suites say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from clusters.kind.config import KindOptions, make_spec
from clusters.kind.docker import Docker, find_docker
from clusters.kind.images import find_images
from clusters.kind.kept import remove_cluster
from clusters.kind.machine import capabilities_missing
from clusters.kind.programs import find_programs
from clusters.kind.versions import calico_images
from hitless.errors import MissingCapabilityError
from hitless.words import FlowSet, Overlay, Profile
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.plan import Case, Options, make_case

FLOW_SETS = (FlowSet.UDP, FlowSet.HOST_TO_POD)
SCENARIOS = {Overlay.IPIP: "plain-switch", Overlay.VXLAN: "vxlan-covered-switch"}


def case_of(overlay: Overlay, calico_version: str | None = None) -> Case:
    """Return a switch to NATIVE whose pods the cloud's routes cover, on two nodes, one of them the control plane."""
    scenario = load_scenario(CATALOGUE / f"{SCENARIOS[overlay]}.yaml")
    flows = type(scenario.flows)(fast=FLOW_SETS, gardener=FLOW_SETS)
    options = Options(profile=Profile.GARDENER, overlay=overlay, nodes_per_zone=1, calico_version=calico_version)
    return make_case(scenario.model_copy(update={"flows": flows}), options)


def find_missing(docker: Docker, case: Case, options: KindOptions) -> tuple[str, ...]:
    """Return all requirements of a cluster that this machine lacks, images by name."""
    missing: list[str] = []
    spec = make_spec(case, options)
    asked: tuple[Callable[[], object], ...] = (
        partial(find_programs, options),
        docker.version,
        partial(find_images, docker, spec.image, calico_images(spec.calico_version)),
    )
    for ask in asked:
        try:
            ask()
        except MissingCapabilityError as error:
            missing.append(str(error))
    return (*missing, *capabilities_missing(case))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The engine, and the options of its cluster."""

    docker: Docker
    case: Case
    options: KindOptions


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """The machine's engine and a case for an overlay that its kernel has; what was made of it goes in the end."""
    option = pytestconfig.getoption
    paths = {name: Path(option(f"kind_{name}")) if option(f"kind_{name}") else None for name in ("bin", "kubectl_bin")}
    options = KindOptions(
        cluster_name=option("cluster_name"),
        kind_bin=paths["bin"],
        kubectl_bin=paths["kubectl_bin"],
        image=option("kind_image"),
        keep=True,
    )
    try:
        docker = find_docker()
    except MissingCapabilityError as error:
        pytest.skip(f"missing: {error}")
    cases = [case_of(one, option("--calico-version")) for one in Overlay if option("--overlay") in {None, one.value}]
    missing, case = min(((find_missing(docker, case, options), case) for case in cases), key=lambda found: len(found[0]))
    if missing:
        pytest.skip(f"missing: {'; '.join(missing)}")
    yield Machine(docker=docker, case=case, options=options)
    if not option("keep_cluster"):
        remove_cluster(docker, options.cluster_name)

"""The ports' contracts on a real kind cluster with real pods; where this machine lacks something, a skip that names it all.

The machine's own docker engine is used, because its images are. The cluster is made once, kept between the tests, and taken
down after the last: `pytest tests/kind/test_conformance_kind.py` on a machine that `hitless kind images` has prepared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clusters.kind.cluster import CalicoCluster, capabilities_missing, make_kind_cluster
from clusters.kind.config import KindOptions, make_spec
from clusters.kind.docker import Docker, find_docker
from clusters.kind.images import find_image
from clusters.kind.kept import remove_cluster
from clusters.kind.programs import find_programs
from clusters.kind.versions import CALICO_IMAGES, LOCAL_IMAGES, PROBER_IMAGE, ROUTER_IMAGE, PinnedImage
from hitless.clock import RunClock
from hitless.errors import MissingCapabilityError
from hitless.events import Event, Recorder
from hitless.facts import Flow
from hitless.ports import Prober
from hitless.words import FlowClass, FlowRole, FlowSet, Nanoseconds, Overlay, Profile
from scenarios.flows import make_flows
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.plan import Case, Options, make_case
from tests.lab.conformance.cluster import ClusterConformance
from tests.lab.conformance.prober import ProberConformance, probe

NAME = "hitless-conformance"
OPTIONS = KindOptions(cluster_name=NAME, keep=True)
FLOW_SETS = (FlowSet.UDP, FlowSet.HOST_TO_POD)


def case_of(overlay: Overlay) -> Case:
    scenario = load_scenario(CATALOGUE / f"{'plain' if overlay is Overlay.IPIP else 'vxlan'}-switch.yaml")
    flows = type(scenario.flows)(fast=FLOW_SETS, gardener=FLOW_SETS)
    return make_case(
        scenario.model_copy(update={"flows": flows}), Options(profile=Profile.GARDENER, overlay=overlay, nodes_per_zone=1)
    )


def find_missing(docker: Docker, case: Case, options: KindOptions) -> tuple[str, ...]:
    """Return everything that keeps a cluster from coming up on this machine, images by name."""
    missing: list[str] = []
    try:
        docker.version()
        name, _, digest = make_spec(case, options).image.partition("@")
        node = PinnedImage(name=name, digest=digest or None, purpose="the nodes")
        states = [find_image(docker, image) for image in (node, *CALICO_IMAGES, *LOCAL_IMAGES)]
        # The router's is made from the nodes' image.
        missing = [f"the image {one.image.name}" for one in states if one.reference is None and one.image.name != ROUTER_IMAGE]
        find_programs(options)
    except MissingCapabilityError as error:
        missing.append(str(error))
    return (*missing, *capabilities_missing(case))


class Silent:
    """Takes nothing down."""

    def record(self, name: str, /, *, t_ns: Nanoseconds | None = None, **facts: Any) -> Event:  # noqa: ANN401 - JSON
        return Event(t_ns=t_ns or Nanoseconds(0), name=name, facts=facts)


@pytest.fixture(scope="module")
def machine() -> Iterator[tuple[Docker, Case]]:
    """The machine's engine and a case for an overlay that its kernel has; what was made of it goes in the end."""
    try:
        docker = find_docker()
    except MissingCapabilityError as error:
        pytest.skip(f"missing: {error}")
    found = {overlay: find_missing(docker, case_of(overlay), OPTIONS) for overlay in Overlay}
    overlay = min(found, key=lambda one: len(found[one]))
    if found[overlay]:
        pytest.skip(f"missing: {'; '.join(found[overlay])}")
    yield docker, case_of(overlay)
    remove_cluster(docker, NAME)


@pytest.fixture
def clock() -> RunClock:
    return RunClock()


@pytest.fixture
def recorder() -> Recorder:
    return Silent()


@pytest.fixture
def cluster(machine: tuple[Docker, Case], clock: RunClock) -> Iterator[CalicoCluster]:
    made = make_kind_cluster(machine[1], clock, OPTIONS)
    yield made
    made.down()


class TestKindCluster(ClusterConformance):
    pass


class TestKindProber(ProberConformance):
    @pytest.fixture
    def prober(self, cluster: CalicoCluster) -> Prober:
        self._facts = cluster.up()
        return cluster.prober

    @pytest.fixture
    def flows(self, prober: Prober) -> Sequence[Flow]:
        assert prober is not None
        udp = [flow for flow in make_flows(self._facts, FLOW_SETS) if flow.flow_class is FlowClass.UDP]
        return [replace(flow, interval_ns=None) for flow in udp if flow.role in {FlowRole.MESH, FlowRole.CONTROL}]


def test_nodes_and_pods_reach_each_other_and_no_probe_is_seen_on_the_management_network(
    cluster: CalicoCluster, clock: RunClock, tmp_path: Path
) -> None:
    facts = cluster.up()
    flows = make_flows(facts, FLOW_SETS)
    assert {flow.role for flow in flows} >= {FlowRole.MESH, FlowRole.HOST}
    before = cluster.counters()
    probe(cluster.prober, flows, clock, tmp_path / "run")
    after = cluster.counters()
    sender = cluster.prober.collect().sender
    assert set(sender["copies"].tolist()) == {1}
    for node in facts.nodes:
        strays = [counters[node.name][name] for counters in (before, after) for name in counters[node.name] if "Manag" in name]
        assert strays[: len(strays) // 2] == strays[len(strays) // 2 :], node.name


class EmptyEngine(Docker):
    """An engine that answers and has no image."""

    def __init__(self) -> None:
        super().__init__(Path("docker"))

    def version(self) -> str:
        return "28.2.2"

    def has_image(self, reference: str) -> bool:
        assert reference
        return False


def test_a_machine_that_lacks_something_is_told_all_of_it_by_name(tmp_path: Path) -> None:
    nowhere = replace(OPTIONS, kind_bin=tmp_path / "kind", kubectl_bin=tmp_path / "kubectl")
    case = case_of(Overlay.IPIP)
    missing = "; ".join(find_missing(EmptyEngine(), case, nowhere))
    assert ROUTER_IMAGE not in missing
    for name in ("kindest/node:v1.36.4", *(image.name for image in CALICO_IMAGES), PROBER_IMAGE, "kind", "kubectl"):
        assert name in missing, missing

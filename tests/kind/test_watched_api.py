"""`pytest suites/ --backend kubeconfig` before anything is deployed: its reads from a real API server; it writes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.kubernetes.kube import KindKube
from clusters.programs.api_server import ApiServer
from commands.backends import Backend, make_backend
from commands.options import BackendName
from hitless.errors import UsageError
from hitless.words import JsonObject, Mode
from switches.observer import KINDS
from tests.cases import case_of
from tests.kind.test_switch import Stage
from tests.unit.fakes_gardener import shipped_shoot


@pytest.fixture
def stage(kube_api: KindKube) -> Iterator[Stage]:
    made = Stage(kube_api, Mode.OVERLAY, shipped_shoot("aws-1.36"))
    yield made
    made.leave()


@pytest.fixture
def backend(api_server: ApiServer) -> Backend:
    image = "registry.example.org/prober:1"
    return make_backend(BackendName.KUBECONFIG, kubeconfig=api_server.kubeconfig, image=image)


def everything(kube: KindKube) -> list[JsonObject]:
    return [document for kind in KINDS for document in kube.list(kind)]


@pytest.mark.usefixtures("stage")
def test_a_cluster_that_begins_as_the_scenario_does_lacks_nothing_and_is_not_touched(
    kube_api: KindKube, backend: Backend
) -> None:
    before = everything(kube_api)
    assert backend.find_missing(case_of("plain-switch")) == ()
    assert everything(kube_api) == before


@pytest.mark.usefixtures("stage")
def test_a_cluster_that_begins_otherwise_is_told_apart(backend: Backend) -> None:
    assert backend.find_missing(case_of("native-to-overlay")) == ("a cluster in mode NATIVE: it is in OVERLAY",)
    assert backend.find_missing(case_of("vxlan-switch")) == ("the overlay vxlan: it is ipip",)


@pytest.mark.usefixtures("kube_api")
def test_a_cluster_without_nodes_has_no_mesh(backend: Backend) -> None:
    with pytest.raises(UsageError, match="the cluster has 0 nodes; probing needs at least 2"):
        backend.find_missing(case_of("plain-switch"))

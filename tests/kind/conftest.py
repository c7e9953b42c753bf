"""One API server for all tests of this directory that do not break it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.kind.docker import Docker
from clusters.kubernetes.kube import KindKube
from clusters.programs.api_server import ApiServer
from tests.kind.api_world import register_node, running_server, watched_api
from tests.kind.engine import missing_for_engine, running_engine
from tests.kind.real_machine import machine

__all__ = ["api_server", "docker", "kube_api", "machine", "node"]


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server, or a skip that names the missing program."""
    with running_server(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@pytest.fixture
def kube_api(api_server: ApiServer) -> Iterator[KindKube]:
    """The API, watched."""
    with watched_api(api_server.kubeconfig) as kube:
        yield kube


@pytest.fixture
def node(kube_api: KindKube) -> str:
    """The name of a Node."""
    return register_node(kube_api, "node-a1")


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A docker engine for the tests."""
    missing = missing_for_engine()
    if missing is not None:
        pytest.skip(f"missing: {missing}")
    with running_engine() as (client, _):
        yield client

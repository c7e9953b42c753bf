"""Makes clusters on a real docker engine with a stub of kind; Calico's API and the prober are in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clusters.kind.bring_up import ClusterApi
from clusters.kind.cluster import CalicoCluster, ProberHandle
from clusters.kind.config import KindOptions, make_spec
from clusters.kind.docker import KIND_LABEL, LABEL_CLUSTER, Docker
from clusters.kind.spec import make_plan
from clusters.kind.versions import CALICO_IMAGES, PROBER_IMAGE
from hitless.clock import RunClock
from tests.cases import case_of
from tests.kind.cluster_parts import PlacedProber, StartedApi
from tests.kind.stand_ins import IMAGE, import_image, import_router, remove_strays

STUB = Path(__file__).parent / "stub_kind.py"
NAME = "trial"


@dataclass(slots=True)
class Workshop:
    """Makes the clusters of a test."""

    docker: Docker
    directory: Path
    options: KindOptions
    api: StartedApi | None = None
    prober: PlacedProber | None = None

    @property
    def calls(self) -> list[list[str]]:
        """How the stub of kind was called."""
        return [json.loads(line) for line in (self.directory / "log").read_text(encoding="utf-8").splitlines()]

    @property
    def verbs(self) -> list[str]:
        return [" ".join(call[:2]) for call in self.calls]

    def make(
        self,
        scenario: str = "plain-switch",
        *,
        tell: Callable[[str], None] | None = None,
        keep: bool = False,
        nodes_per_zone: int = 1,
    ) -> CalicoCluster:
        case, options = case_of(scenario, nodes_per_zone=nodes_per_zone), replace(self.options, keep=keep)
        spec = make_spec(case, options)

        def connect(kubeconfig: Path) -> tuple[ClusterApi, ProberHandle]:
            assert kubeconfig == self.directory / ".pytest-kind" / NAME / "kubeconfig"
            self.api, self.prober = StartedApi(make_plan(spec)), PlacedProber()
            return self.api, self.prober

        tell = tell or (lambda _: None)
        return CalicoCluster(options, case, RunClock(), docker=self.docker, connect=connect, tell=tell)

    def leftovers(self) -> tuple[str, ...]:
        return (*self.docker.find_containers(KIND_LABEL), *self.docker.find_containers(LABEL_CLUSTER), *self.networks())

    def networks(self) -> tuple[str, ...]:
        return self.docker.find_networks(LABEL_CLUSTER)


@pytest.fixture(scope="module")
def engine(docker: Docker) -> Docker:
    import_router(docker)
    import_image(docker)
    for name in (*(image.name for image in CALICO_IMAGES), PROBER_IMAGE):
        docker.run("tag", IMAGE, name)
    return docker


@pytest.fixture
def workshop(engine: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    stub, kubectl = tmp_path / "kind", tmp_path / "kubectl"
    shutil.copy(STUB, stub)
    kubectl.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    for program in (stub, kubectl):
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", engine.environment["DOCKER_HOST"])
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("STUB_IMAGE", IMAGE)
    options = KindOptions(cluster_name=NAME, kind_bin=stub, kubectl_bin=kubectl, image=IMAGE)
    try:
        yield Workshop(engine, tmp_path, options)
    finally:
        remove_strays(engine)

"""Our configuration through the real kind: decoded, validated, and rendered for kubeadm of every version that is pinned.

docker is a stub that answers until kind has written kubeadm's configuration into every node.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clusters.kind.config import cluster_config, render_config
from clusters.kind.spec import KindSpec
from clusters.kind.versions import KIND_VERSION, NODE_IMAGES
from hitless.documents import parse_documents
from hitless.words import JsonObject
from tests.kind.kind_cases import find_kind, spec_of

KIND = find_kind()
pytestmark = pytest.mark.skipif(KIND is None, reason=f"missing: kind (go install sigs.k8s.io/kind@{KIND_VERSION})")
STUB = Path(__file__).parent / "recording_docker.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The output of kind, and its calls of docker."""

    stderr: str
    calls: tuple[tuple[list[str], str], ...]

    @property
    def rendered(self) -> Mapping[str, Mapping[str, JsonObject]]:
        """Node to kind of document to document, of the kubeadm configuration that was written into it."""
        files = {call[3]: stdin for call, stdin in self.calls if call[0] == "exec" and call[-1] == "/kind/kubeadm.conf"}
        return {node: {one.content["kind"]: one.content for one in parse_documents(text, node)} for node, text in files.items()}

    @property
    def containers(self) -> list[list[str]]:
        """Arguments of every `docker run`."""
        return [call for call, _ in self.calls if call[0] == "run"]


def run_kind(document: str, directory: Path, version: str) -> Told:
    assert KIND is not None
    shutil.copy(STUB, directory / "docker")
    (directory / "docker").chmod(0o755)
    configuration = directory / "kind.json"
    configuration.write_text(document, encoding="utf-8")
    log = directory / "log"
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "STUB_LOG": str(log), "STUB_VERSION": version}
    files = [f"--kubeconfig={directory}/kubeconfig", f"--config={configuration}"]
    command = [str(KIND), "create", "cluster", "--name=hitless", "--image=kindest/node:here", "--retain", *files]
    done = subprocess.run(  # noqa: S603 - the real kind, fixed words
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return Told(stderr=done.stderr, calls=tuple((call, stdin) for call, stdin in map(json.loads, lines)))


def spec_for(version: tuple[int, int]) -> KindSpec:
    return replace(
        spec_of(),
        kubernetes=version,
        feature_gates=() if version >= (1, 36) else ("MutatingAdmissionPolicy",),
        runtime_config=() if version >= (1, 36) else ("admissionregistration.k8s.io/v1beta1",),
    )


def arguments_of(holder: JsonObject, key: str) -> dict[str, Any]:
    """Return arguments by name, from a list of {name, value} (v1beta4) or from a map (v1beta3)."""
    given = holder[key]
    return dict(given) if isinstance(given, dict) else {one["name"]: one["value"] for one in given}


@pytest.fixture(scope="module", params=sorted(NODE_IMAGES), ids=lambda version: ".".join(map(str, version)))
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[int, int], Told]:
    version: tuple[int, int] = request.param
    image = NODE_IMAGES[version].name.rpartition(":")[2]
    return version, run_kind(render_config(spec_for(version)), tmp_path_factory.mktemp("kind"), image)


def test_kind_takes_our_configuration_as_far_as_kubeadm(told: tuple[tuple[int, int], Told]) -> None:
    assert "failed to init node with kubeadm" in told[1].stderr
    assert set(told[1].rendered) == {"hitless-control-plane", "hitless-worker", "hitless-worker2", "hitless-worker3"}


def test_every_kubelet_gets_its_nodes_provider_id_and_keeps_kinds_own_arguments(told: tuple[tuple[int, int], Told]) -> None:
    zones = {"hitless-control-plane": "a", "hitless-worker": "a", "hitless-worker2": "b", "hitless-worker3": "b"}
    for node, documents in told[1].rendered.items():
        kind = "InitConfiguration" if node == "hitless-control-plane" else "JoinConfiguration"
        arguments = arguments_of(documents[kind]["nodeRegistration"], "kubeletExtraArgs")
        assert arguments["provider-id"] == f"aws:///{zones[node]}/{node}"
        assert arguments["node-ip"].startswith("172.18.0.")


def test_the_control_plane_has_no_taint(told: tuple[tuple[int, int], Told]) -> None:
    assert told[1].rendered["hitless-control-plane"]["InitConfiguration"]["nodeRegistration"]["taints"] == []


def test_networks_and_controller_manager_are_the_shoots(told: tuple[tuple[int, int], Told]) -> None:
    cluster = told[1].rendered["hitless-control-plane"]["ClusterConfiguration"]
    assert cluster["networking"] == {"podSubnet": "100.96.0.0/11", "serviceSubnet": "100.64.0.0/13"}
    arguments = arguments_of(cluster["controllerManager"], "extraArgs")
    wanted = {"allocate-node-cidrs": "true", "cluster-cidr": "100.96.0.0/11", "node-cidr-mask-size": "24"}
    assert wanted.items() <= arguments.items()
    assert told[1].rendered["hitless-control-plane"]["KubeProxyConfiguration"]["mode"] == "iptables"


def test_admission_policies_are_switched_on_below_1_36_only(told: tuple[tuple[int, int], Told]) -> None:
    version, heard = told
    server = arguments_of(heard.rendered["hitless-control-plane"]["ClusterConfiguration"]["apiServer"], "extraArgs")
    is_old = version < (1, 36)
    assert ("MutatingAdmissionPolicy=true" in server.get("feature-gates", "")) == is_old
    assert ("admissionregistration.k8s.io/v1beta1=true" in server.get("runtime-config", "")) == is_old


def test_nodes_bear_their_zone_and_are_made_of_the_given_image(tmp_path: Path) -> None:
    heard = run_kind(render_config(spec_of()), tmp_path, "v1.36.4")
    assert len(heard.containers) == 4
    for call in heard.containers:
        assert "io.x-k8s.kind.cluster=hitless" in call
        assert call[-1] == "kindest/node:here"
    registration = heard.rendered["hitless-worker2"]["JoinConfiguration"]["nodeRegistration"]
    assert arguments_of(registration, "kubeletExtraArgs")["node-labels"] == "topology.kubernetes.io/zone=b"


@pytest.mark.parametrize("place", ["networking", "nodes"])
def test_a_field_that_kind_does_not_know_is_refused_before_anything_starts(tmp_path: Path, place: str) -> None:
    document = cluster_config(spec_of())
    target = document[place][0] if place == "nodes" else document[place]
    target["noSuchField"] = True
    heard = run_kind(json.dumps(document), tmp_path, "v1.36.4")
    assert "field noSuchField not found" in heard.stderr
    assert heard.containers == []

"""NonPrivilegedCalicoNode on a real cluster: the rights of calico-node's containers, from their objects and from the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from clusters.kind.cluster import make_kind_cluster
from clusters.kind.docker import KIND_LABEL, Docker
from hitless.calico import CALICO_NODE
from hitless.clock import RunClock
from hitless.errors import WorldError
from hitless.objects import name_of
from hitless.words import JsonObject, Kind, Mode, Profile
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.plan import Case, Options, make_case
from tests.kind.api_world import watched_api
from tests.kind.real_machine import Machine

PRIVILEGED: Final = {
    Mode.OVERLAY: {"log-mtu-issues", "install-cni"},
    Mode.NATIVE: {"cleanup-routes", "log-mtu-issues", "install-cni"},
}
"""Containers that the chart makes privileged with and without the feature gate: all of them end before Felix starts. Source:
gardener-extension-networking-calico charts/internal/calico/templates/node/daemonset-calico-node.yaml."""
GRANTED: Final = {12: "NET_ADMIN", 13: "NET_RAW", 10: "NET_BIND_SERVICE"}
"""Bits of the capabilities that calico-node requests. Source: the same; linux/capability.h."""
HOST_POWERS: Final = {16: "SYS_MODULE", 19: "SYS_PTRACE", 21: "SYS_ADMIN"}
"""Bits of the capabilities that give a container control of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The first process of a container, as the node's kernel has it."""

    uid: int
    gid: int
    bounding: int
    """Capabilities that it and its children can ever have, as bits."""
    effective: int
    """Its effective capabilities."""
    has_no_new_privileges: bool


def read_process(docker: Docker, node: str, container_id: str) -> Process:
    """Return a running container's first process; `container_id` is as a pod's status has it."""
    template = ("inspect", "--output", "go-template", "--template", "{{.info.pid}}")
    pid = docker.execute(node, "crictl", *template, container_id.partition("://")[2]).strip()
    lines = docker.execute(node, "cat", f"/proc/{pid}/status").splitlines()
    fields = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    return Process(
        uid=int(fields["Uid"][1]),
        gid=int(fields["Gid"][1]),
        bounding=int(fields["CapBnd"][0], 16),
        effective=int(fields["CapEff"][0], 16),
        has_no_new_privileges=fields["NoNewPrivs"] == ["1"],
    )


def calico_pods(kubeconfig: Path) -> list[JsonObject]:
    with watched_api(kubeconfig) as kube:
        pods = kube.list(Kind.POD)
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("k8s-app") == CALICO_NODE]


def containers_of(pod: JsonObject) -> Iterator[JsonObject]:
    yield from pod["spec"]["initContainers"]
    yield from pod["spec"]["containers"]


def case_of_mode(machine: Machine, mode: Mode) -> Case:
    """Return the case of a cluster of the machine's overlay in a mode, with the feature gate."""
    case = machine.case
    if mode is Mode.NATIVE:
        scenario = load_scenario(CATALOGUE / "native-to-overlay.yaml").model_copy(update={"pod_addresses": "pod-cidr"})
        options = Options(
            profile=Profile.GARDENER,
            overlay=case.overlay,
            nodes_per_zone=1,
            calico_version=case.feature_gates.release.calico_version,
        )
        case = make_case(scenario, options)
    return replace(case, feature_gates=replace(case.feature_gates, non_privileged_calico_node=True))


def judge(docker: Docker, pods: list[JsonObject], mode: Mode) -> None:
    """Compare the pods of calico-node with what the chart promises for a mode."""
    assert len(pods) == 2
    for pod in pods:
        contexts = {one["name"]: one.get("securityContext") or {} for one in containers_of(pod)}
        assert {name for name, context in contexts.items() if context.get("privileged")} == PRIVILEGED[mode], name_of(pod)
        assert contexts["hostpath-init"] == {"allowPrivilegeEscalation": False, "runAsUser": 0}
        assert contexts["calico-node"]["capabilities"] == {"add": ["NET_RAW", "NET_ADMIN", "NET_BIND_SERVICE"]}
        ended = {one["name"]: one["state"]["terminated"]["exitCode"] for one in pod["status"]["initContainerStatuses"]}
        assert ended == dict.fromkeys((one["name"] for one in pod["spec"]["initContainers"]), 0)
        ids = {one["name"]: one["containerID"] for one in pod["status"]["containerStatuses"]}
        processes = {name: read_process(docker, pod["spec"]["nodeName"], one) for name, one in ids.items()}
        for name, process in processes.items():
            assert not [power for bit, power in HOST_POWERS.items() if process.bounding >> bit & 1], name
            assert process.has_no_new_privileges, name
        services = ("crictl", "exec", ids[CALICO_NODE].partition("://")[2], "ls", "/etc/service/enabled")
        assert "felix" in docker.execute(pod["spec"]["nodeName"], *services).split()
        felix = processes[CALICO_NODE]
        assert (felix.uid, felix.gid) == (999, 0)
        assert [name for bit, name in GRANTED.items() if not felix.bounding >> bit & 1] == []
        # Kubernetes gives a process that is not root none of them, and without new privileges its setuid bit has no effect.
        assert felix.effective == 0


@pytest.mark.parametrize("mode", Mode)
def test_what_stays_running_of_calico_node_has_the_rights_that_the_chart_gives_it(
    machine: Machine, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Felix gets no capability as the chart has it, so calico-node never becomes ready: it only runs long enough to be judged.
    monkeypatch.setattr("clusters.kind.bring_up._ROLLED_S", 45.0)
    for node in machine.docker.find_containers(f"{KIND_LABEL}={machine.options.cluster_name}"):
        # hostpath-init gives the folder to uid 999, but not this file, which a privileged calico-node may have left.
        machine.docker.execute(node, "rm", "--force", "/var/lib/calico/nodename")
    cluster = make_kind_cluster(case_of_mode(machine, mode), RunClock(), machine.options)
    refusals = []
    try:
        cluster.up()
    except WorldError as error:
        refusals.append(str(error))
    finally:
        cluster.down()
    assert ["container calico-node of pod" in refusal for refusal in refusals] == [True], refusals
    judge(machine.docker, calico_pods(Path.cwd() / ".pytest-kind" / machine.options.cluster_name / "kubeconfig"), mode)

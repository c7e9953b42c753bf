"""What the probers are in a cluster: valid, unprivileged, and gone with two deletions."""

from __future__ import annotations

import itertools

import kubernetes_validate
import pytest

from clusters.kind.versions import PROBER_IMAGE
from clusters.kubernetes.prober_manifests import (
    PRIORITY_CLASS,
    RECORDS,
    ROLE_LABEL,
    PodRole,
    ProberSpec,
    render_owned,
    render_probers,
)
from hitless.words import JsonObject

SPECS = {
    "plain": ProberSpec(image=PROBER_IMAGE),
    "pods only": ProberSpec(
        image=PROBER_IMAGE, roles=(PodRole.MESH, PodRole.CONTROL), namespace="probers", pull_policy="Never"
    ),
}


def daemon_sets(spec: ProberSpec) -> dict[PodRole, JsonObject]:
    found = [document for document in render_probers(spec) if document["kind"] == "DaemonSet"]
    return {PodRole(document["metadata"]["labels"][ROLE_LABEL]): document for document in found}


@pytest.mark.parametrize("version", ["1.34", "1.35", "1.36", "1.37"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_every_object_fits_the_schema(spec: ProberSpec, version: str) -> None:
    for document in render_probers(spec):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_objects_come_in_an_order_in_which_they_can_be_applied() -> None:
    kinds = [document["kind"] for document in render_probers(SPECS["plain"])]
    order = ["Namespace", "PriorityClass", "ServiceAccount", "Service", "DaemonSet", "DaemonSet", "DaemonSet"]
    assert kinds == order


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_everything_is_in_the_namespace_or_deleted_with_it(spec: ProberSpec) -> None:
    owned = {(document["kind"], document["metadata"]["name"]) for document in render_owned(spec)}
    assert owned == {("Namespace", spec.namespace), ("PriorityClass", PRIORITY_CLASS)}
    outside = {
        (document["kind"], document["metadata"]["name"])
        for document in render_probers(spec)
        if document["metadata"].get("namespace") != spec.namespace
    }
    assert outside == owned


@pytest.mark.parametrize("role", PodRole)
def test_a_pod_has_nothing_that_it_does_not_need(role: PodRole) -> None:
    pod = daemon_sets(SPECS["plain"])[role]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod.get("hostNetwork", False) is (role is PodRole.HOST)
    assert pod["automountServiceAccountToken"] is False
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert security["runAsUser"] > 0
    # hitless must not change the node's own network, and the kubelet would refuse it.
    ping = [{"name": "net.ipv4.ping_group_range", "value": f"{security['runAsGroup']} {security['runAsGroup']}"}]
    assert security.get("sysctls", []) == ([] if role is PodRole.HOST else ping)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume.keys() - {"name"} for volume in pod["volumes"]] == [{"emptyDir"}]
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"] == container["resources"]["limits"]["ephemeral-storage"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [RECORDS]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "cpu" not in container["resources"]["limits"]
    assert not {"livenessProbe", "readinessProbe", "env", "envFrom"} & container.keys()
    assert container["startupProbe"]["exec"]["command"] == ["test", "-S", f"{container['args'][1]}/supervisor.socket"]


def test_no_two_roles_share_pods() -> None:
    selectors = {role: one["spec"]["selector"]["matchLabels"] for role, one in daemon_sets(SPECS["plain"]).items()}
    labels = {role: one["spec"]["template"]["metadata"]["labels"] for role, one in daemon_sets(SPECS["plain"]).items()}
    for one, other in itertools.product(PodRole, repeat=2):
        assert (selectors[one].items() <= labels[other].items()) is (one is other)
    (service,) = (document for document in render_probers(SPECS["plain"]) if document["kind"] == "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert all(service["spec"]["selector"].items() <= found.items() for found in labels.values())


def test_unless_told_otherwise_everything_is_in_the_namespace_hitless() -> None:
    namespaces = {document["metadata"].get("namespace") for document in render_probers(SPECS["plain"])}
    assert namespaces == {None, "hitless"}  # Namespace and PriorityClass are in none
    assert [one["metadata"]["name"] for one in render_owned(SPECS["plain"])] == ["hitless", PRIORITY_CLASS]


def test_the_namespace_admits_no_more_than_its_pods_need() -> None:
    levels = {
        name: render_probers(spec)[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name, spec in SPECS.items()
    }
    assert levels == {"plain": "privileged", "pods only": "restricted"}

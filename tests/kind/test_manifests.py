"""All rendered objects, in every mode and variant, validated by Kubernetes' schemas and by a real API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from clusters.kubernetes.kube import KindKube
from gardener.feature_gates import FeatureGates
from gardener.manifests.admission import policy_manifests
from gardener.manifests.rbac import calico_objects, part_objects
from gardener.manifests.render import pool_from_environment, render
from hitless.words import JsonObject, Mode
from tests.kind.api_world import validate
from tests.unit.fakes_gardener import make_shoot, shipped_shoot

NETWORKS: dict[str, Mapping[str, Any] | None] = {
    "no NetworkConfig": None,
    "no overlay section": {},
    "ipip": {"overlay": {"enabled": True}},
    "vxlan": {"overlay": {"enabled": True}, "vxlan": {"enabled": True}},
    "native": {"overlay": {"enabled": False}},
    "native, vxlan kept": {"overlay": {"enabled": False}, "vxlan": {"enabled": True}},
    "native, pod routes": {"overlay": {"enabled": False, "createPodRoutes": True}},
    "vxlan, ipip pool": {
        "overlay": {"enabled": True},
        "vxlan": {"enabled": True},
        "ipv4": {"pool": "ipip", "mode": "Always"},
    },
    "native, all options": {
        "overlay": {"enabled": False},
        "typha": {"enabled": False},
        "snatToUpstreamDNS": {"enabled": False},
        "vethMTU": "1430",
        "wireguardEncryption": True,
        "serviceLoopPrevention": "Drop",
    },
}
VARIANTS = [FeatureGates(), FeatureGates(non_privileged_calico_node=True)]
VERSIONS = ("1.34", "1.35", "1.36", "1.37")


def rendered() -> dict[str, tuple[JsonObject, ...]]:
    """Name to objects, of all that is rendered anywhere."""
    found: dict[str, tuple[JsonObject, ...]] = {}
    for name, network in NETWORKS.items():
        for gates in VARIANTS:
            shoot = make_shoot(network=network)
            variant = "non-privileged" if gates.non_privileged_calico_node else "privileged"
            found[f"{name}, {variant}"] = (*render(shoot, gates), pool_from_environment(shoot, gates))
    both = make_shoot(network={"overlay": {"enabled": False}}, families=("IPv4", "IPv6"))
    found["native, dual stack"] = render(both, FeatureGates())
    found["policy v1"] = policy_manifests(shipped_shoot("aws-1.36").with_mode(Mode.NATIVE))
    found["accounts of the parts"] = part_objects()
    found["accounts of Calico"] = calico_objects()
    return found


RENDERED = rendered()


@pytest.mark.parametrize("name", RENDERED)
def test_it_fits_the_schemas_of_kubernetes(name: str) -> None:
    for document in RENDERED[name]:
        if document["kind"] == "IPPool":
            continue  # A custom resource is in no schema of Kubernetes; the server below judges it.
        is_policy = "Admission" in document["kind"]
        for version in VERSIONS[2:] if is_policy else VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_policy_of_older_versions_fits_their_schemas() -> None:
    documents = policy_manifests(shipped_shoot("aws-1.34-with-admission").with_mode(Mode.NATIVE))
    assert len(documents) == 2
    for document in documents:
        for version in ("1.34", "1.35"):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_would_find_a_mistake() -> None:
    [document] = [item for item in RENDERED["native, privileged"] if item["kind"] == "DaemonSet"]
    broken = {**document, "spec": {**document["spec"], "maxUnavailable": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="maxUnavailable"):
        kubernetes_validate.validate(broken, "1.36", strict=True)


@pytest.mark.parametrize("name", RENDERED)
def test_a_real_api_server_takes_it(kube_api: KindKube, name: str) -> None:
    validate(kube_api, RENDERED[name])

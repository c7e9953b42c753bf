"""kind's configuration document, names and addresses: all from the scenario."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.kind.config import KindOptions, cluster_config, digest_spec, make_spec
from clusters.kind.spec import KindSpec, make_plan
from clusters.kind.versions import NODE_IMAGES, find_node_image
from hitless.errors import UsageError
from hitless.words import Mode, Overlay
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.plan import Options, make_case


def spec_of(scenario: str = "plain-switch", options: KindOptions | None = None, **changes: int) -> KindSpec:
    case = make_case(load_scenario(CATALOGUE / f"{scenario}.yaml"), Options(**changes))  # type: ignore[arg-type]  # numbers
    return make_spec(case, options or KindOptions())


def test_a_plain_scenario_runs_on_the_pinned_image_of_its_shoots_version() -> None:
    spec = spec_of()
    assert (spec.kubernetes, spec.image) == ((1, 36), NODE_IMAGES[1, 36].reference)
    assert "@sha256:" in spec.image
    assert (spec.pod_cidr, spec.service_cidr, spec.rp_filter) == ("100.96.0.0/11", "100.64.0.0/13", 2)
    assert (spec.overlay, spec.start_mode) == (Overlay.IPIP, Mode.OVERLAY)
    assert (spec.feature_gates, spec.runtime_config) == ((), ())


def test_no_default_cni_the_shoots_networks_and_iptables() -> None:
    assert cluster_config(spec_of())["networking"] == {
        "ipFamily": "ipv4",
        "disableDefaultCNI": True,
        "podSubnet": "100.96.0.0/11",
        "serviceSubnet": "100.64.0.0/13",
        "kubeProxyMode": "iptables",
    }


def test_a_nodes_pod_cidr_is_as_long_as_the_shoot_says(tmp_path: Path) -> None:
    shoot = (CATALOGUE.parent / "shoots" / "aws-1.36.yaml").read_text(encoding="utf-8")
    mask = "kubeControllerManager: {nodeCIDRMaskSize: 25}\n    kubeProxy:"
    (tmp_path / "shoot.yaml").write_text(shoot.replace("kubeProxy:", mask), encoding="utf-8")
    scenario = (CATALOGUE / "plain-switch.yaml").read_text(encoding="utf-8").replace("../shoots/aws-1.36.yaml", "shoot.yaml")
    (tmp_path / "plain-switch.yaml").write_text(scenario, encoding="utf-8")
    spec = make_spec(make_case(load_scenario(tmp_path / "plain-switch.yaml"), Options()), KindOptions())
    (patch,) = cluster_config(spec)["kubeadmConfigPatches"]
    assert json.loads(patch)["controllerManager"]["extraArgs"]["node-cidr-mask-size"] == "25"


def test_before_1_36_the_shoots_feature_gates_and_api_versions_are_switched_on() -> None:
    spec = replace(
        spec_of(),
        kubernetes=(1, 34),
        feature_gates=("MutatingAdmissionPolicy",),
        runtime_config=("admissionregistration.k8s.io/v1beta1",),
    )
    document = cluster_config(spec)
    assert document["featureGates"] == {"MutatingAdmissionPolicy": True}
    assert document["runtimeConfig"] == {"admissionregistration.k8s.io/v1beta1": "true"}
    assert "featureGates" not in cluster_config(spec_of())


def test_a_shoot_of_1_34_brings_its_own_feature_gates() -> None:
    names = {path.stem for path in CATALOGUE.glob("*.yaml")}
    old = [spec for spec in map(spec_of, sorted(names)) if spec.kubernetes == (1, 34)]
    assert old
    for spec in old:
        assert spec.image == NODE_IMAGES[1, 34].reference


def test_nodes_are_made_zone_by_zone_and_the_first_is_the_control_plane() -> None:
    nodes = cluster_config(spec_of(zones=2, nodes_per_zone=2))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker", "worker"]
    assert [node["labels"]["topology.kubernetes.io/zone"] for node in nodes] == ["a", "a", "b", "b"]
    patches = [json.loads(node["kubeadmConfigPatches"][0]) for node in nodes]
    assert [patch["kind"] for patch in patches] == ["InitConfiguration", *["JoinConfiguration"] * 3]
    assert patches[0]["nodeRegistration"]["taints"] == []
    assert [patch["nodeRegistration"]["kubeletExtraArgs"]["provider-id"] for patch in patches] == [
        "aws:///a/hitless-control-plane",
        "aws:///a/hitless-worker",
        "aws:///b/hitless-worker2",
        "aws:///b/hitless-worker3",
    ]


def test_addresses_are_unique_and_the_router_is_the_first_of_every_zone() -> None:
    plan = make_plan(spec_of(zones=3, nodes_per_zone=4))
    assert [zone.gateway for zone in plan.zones] == ["10.250.0.1", "10.250.1.1", "10.250.2.1"]
    assert len({node.address for node in plan.nodes} | {zone.docker_gateway for zone in plan.zones}) == 15
    assert len({node.name for node in plan.nodes}) == 12
    assert plan.network_of(plan.nodes[-1]) == "hitless-zone-c"


def test_the_digest_tells_configurations_apart_but_not_modes() -> None:
    spec = spec_of()
    assert digest_spec(spec) == digest_spec(replace(spec, start_mode=Mode.NATIVE, rp_filter=1, overlay=Overlay.VXLAN))
    others = (
        replace(spec, zones=3),
        replace(spec, image="kindest/node:v1.36.0"),
        replace(spec, pod_cidr="10.0.0.0/16"),
        replace(spec, node_mask=25),
    )
    assert len({digest_spec(spec), *map(digest_spec, others)}) == 5


def test_an_image_of_another_version_than_the_shoots_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--kind-image: found kindest/node:v1\.35\.8; expected .*1\.36"):
        spec_of(options=KindOptions(image="kindest/node:v1.35.8"))
    assert spec_of(options=KindOptions(image="registry.example/own:latest")).image == "registry.example/own:latest"


def test_a_version_without_image_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(UsageError, match=r"Kubernetes 1\.33; expected on kind: 1\.34, 1\.35, 1\.36, 1\.37"):
        find_node_image((1, 33))


@pytest.mark.parametrize("name", ["", "Hitless", "a_b", "-a", "a-", "a" * 41, "a/b", "é"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--cluster-name"):
        spec_of(options=KindOptions(cluster_name=name))


def test_more_nodes_than_a_machine_carries_are_refused() -> None:
    with pytest.raises(UsageError, match="2 to 16 nodes"):
        spec_of(zones=2, nodes_per_zone=9)

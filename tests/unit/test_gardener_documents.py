"""Files as people keep them: several documents, lists, operator Extensions, and keys that nearly are what is read."""

from typing import Any

import pytest

from gardener.feature_gates import FeatureGates, read_feature_gates
from gardener.shoot import parse_shoot
from hitless.documents import parse_documents
from hitless.errors import UsageError
from tests.unit.fakes_gardener import SHOOTS

SHOOT = (SHOOTS / "aws-1.36.yaml").read_text()
ON = FeatureGates(seamless_overlay_switch=True)
GATES = "featureGates: {SeamlessOverlaySwitch: true}"
DEPLOYMENT = "{apiVersion: core.gardener.cloud/v1, kind: ControllerDeployment, metadata: {name: NAME}, helm: {values: VALUES}}"
EXTENSION = (
    "{apiVersion: operator.gardener.cloud/v1alpha1, kind: Extension, metadata: {name: networking-calico}, "
    "spec: {deployment: {extension: {values: VALUES}}, resources: [{kind: Network, type: calico}]}}"
)
REGISTRATION = (
    "{apiVersion: core.gardener.cloud/v1beta1, kind: ControllerRegistration, metadata: {name: cni}, "
    "spec: {deployment: {deploymentRefs: [{name: NAME}]}, resources: [{kind: Network, type: calico}]}}"
)

HEAD = "apiVersion: calico.networking.extensions.config.gardener.cloud/v1alpha1\nkind: ControllerConfiguration\n"
HELM = "apiVersion: core.gardener.cloud/v1beta1\nkind: ControllerDeployment\ntype: helm\n"


def deployment(values: str = f"{{config: {{{GATES}}}}}", name: str = "networking-calico") -> str:
    return DEPLOYMENT.replace("NAME", name).replace("VALUES", values)


def extension(values: str = f"{{config: {{{GATES}}}}}") -> str:
    return EXTENSION.replace("VALUES", values)


def registration(name: str) -> str:
    return REGISTRATION.replace("NAME", name)


@pytest.mark.parametrize(
    ("text", "gates"),
    [
        (extension(), ON),
        (extension("{}"), FeatureGates()),
        (f"{deployment()}\n---\n{registration('networking-calico')}", ON),
        (f"{registration('networking-calico')}\n---\n{deployment()}", ON),
        (f"---\n---\n{deployment()}\n---\n# nothing\n---\n", ON),
        (f"{{apiVersion: v1, kind: List, items: [{deployment()}, {registration('networking-calico')}]}}", ON),
        (f"{deployment('{}', 'networking-cilium')}\n---\n{deployment()}", ON),
        (
            f"{deployment('{}')}\n---\n{deployment(name='cni')}\n---\n{registration('cni')}".replace("networking-calico", "x"),
            ON,
        ),
        (HEAD, FeatureGates()),
        (HEAD + "featureGates: {AllAlpha: true}", FeatureGates(seamless_overlay_switch=True, non_privileged_calico_node=True)),
        (HEAD + "featureGates: {AllAlpha: true, NonPrivilegedCalicoNode: false}", FeatureGates(seamless_overlay_switch=True)),
        (HEAD + "featureGates: {SeamlessOverlaySwitch: false}", FeatureGates()),
        (HELM, FeatureGates()),
        (HELM + "providerConfig: {chart: H4sI, values: {}}", FeatureGates()),
    ],
)
def test_the_one_document_that_holds_the_gates_is_read(text: str, gates: FeatureGates) -> None:
    assert read_feature_gates(parse_documents(text, "x"), "x") == gates


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{deployment()}\n---\n{extension()}",
            "x: found ControllerDeployment networking-calico at line 1 and Extension networking-calico at line 3",
        ),
        (f"{registration('a')}\n---\nkind: Secret", "x: found ControllerRegistration cni at line 1 and Secret at line"),
        (
            deployment(name="networking-cilium"),
            "x: metadata.name: found ControllerDeployment networking-cilium; expected a name that contains calico",
        ),
        (deployment(f"{{{GATES}}}"), "x: helm.values.featureGates.SeamlessOverlaySwitch: hitless does not read this key"),
        (
            deployment(f"{{gardener: {{{GATES}}}}}"),
            "x: helm.values.gardener.featureGates.SeamlessOverlaySwitch: hitless does not read",
        ),
        (
            deployment(f"{{config: {{{GATES}}}}}".replace("featureGates", "FeatureGates")),
            "x: helm.values.config.FeatureGates: hitless does not read",
        ),
        (
            deployment("{config: {featuregates: {}}}"),
            "x: helm.values.config.featuregates: hitless does not read this key; did you mean hel",
        ),
        (
            deployment().replace("helm", "providerConfig"),
            "x: providerConfig.values.config.featureGates.SeamlessOverlaySwitch: hitless does not read",
        ),
        (deployment("{confg: {}}"), "x: helm.values.confg: hitless does not read this key; did you mean helm.values.config?"),
        (
            extension("{config: {featureGates: {seamlessOverlaySwitch: true}}}"),
            "x: spec.deployment.extension.values.config.feature",
        ),
        (f"[{deployment()}]", "x: found [{"),
        (f"{{kind: List, items: [7]}}\n---\n{deployment()}", "x: items.0: found 7; expected a mapping"),
        ("---\n---\n", "x: found nothing; expected a mapping"),
        (HEAD + "featureGates: {SeamlessOverlay: true}", "x: featureGates: found 'SeamlessOverlay'; expected "),
        (HEAD + "featureGates: {SeamlessOverlaySwitch: 1}", "x: featureGates.SeamlessOverlaySwitch: found 1; expected true"),
        (HEAD + "featureGates: []", "x: featureGates: found []; expected a mapping"),
        (HELM + "providerConfig: {values: 7}", "x: providerConfig.values: found 7; expected a mapping"),
        (HELM.replace("helm", "raw"), "x: type: found 'raw'"),
        ("kind: ConfigMap", "x: kind: found ConfigMap of nothing"),
    ],
)
def test_wrong_feature_gates_and_those_that_would_not_be_read_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_feature_gates(parse_documents(text, "x"), "x")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", [SHOOT + "---\n", "---\n" + SHOOT, f"kind: Secret\n---\n{SHOOT}"])
def test_a_shoot_is_read_beside_other_documents(text: str) -> None:
    assert parse_shoot(text, "x") == parse_shoot(SHOOT, "x")


def test_a_shoot_is_read_out_of_a_list() -> None:
    listed = "kind: List\nitems:\n- " + SHOOT.partition("\n")[2].replace("\n", "\n  ")
    assert parse_shoot(listed, "x") == parse_shoot(SHOOT, "x")
    with pytest.raises(UsageError, match=r"x: items\.0\.spec\.networking\.type: found cilium"):
        parse_shoot(listed.replace("type: calico", "type: cilium"), "x")


def test_a_document_among_several_is_named_by_its_line() -> None:
    with pytest.raises(UsageError, match=r"x: line 3\.spec\.networking\.type: found cilium"):
        parse_shoot(f"kind: Secret\n---\n{SHOOT.partition(chr(10))[2].replace('type: calico', 'type: cilium')}", "x")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: overlay", "name: overlay\n  labels: {1: one}\n  annotations: {match: =, created: 2026-13-45}"),
        ("networking:", "networking:\t# why"),
        ("ipFamilies:\n      - IPv4", "ipFamilies:"),
        ("kubeProxy:\n      mode: IPTables", "kubeAPIServer:"),
    ],
)
def test_parts_that_are_not_read_are_data(old: str, new: str) -> None:
    assert old in SHOOT
    assert parse_shoot(SHOOT.replace(old, new), "x").spec.networking == parse_shoot(SHOOT, "x").spec.networking


@pytest.mark.parametrize(
    ("old", "new", "place", "meant"),
    [
        ("kubeProxy:", "kubeApiServer:", "spec.kubernetes.kubeApiServer", "spec.kubernetes.kubeAPIServer"),
        ("providerConfig:", "providerconfig:", "spec.networking.providerconfig", "spec.networking.providerConfig"),
        ("overlay:\n", "overLay:\n", "spec.networking.providerConfig.overLay", "spec.networking.providerConfig.overlay"),
        ("kubeProxy:", "featureGates:", "spec.kubernetes.featureGates", "spec.kubernetes.kubeAPIServer.featureGates"),
        ("region:", "providerConfig: {}\n  region:", "spec.providerConfig", "spec.networking.providerConfig"),
        ("pods:", "overlay: {}\n    pods:", "spec.networking.overlay", "spec.networking.providerConfig.overlay"),
        (
            "      overlay:",
            "      pods: 10.0.0.0/8\n      overlay:",
            "spec.networking.providerConfig.pods",
            "spec.networking.pods",
        ),
    ],
)
def test_a_key_that_was_meant_to_be_read_is_refused(old: str, new: str, place: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shoot(SHOOT.replace(old, new, 1), "x")
    assert str(caught.value) == f"x: {place}: hitless does not read this key; did you mean {meant}?"


def test_a_version_that_gardener_would_choose_is_refused() -> None:
    with pytest.raises(UsageError, match=r"spec\.kubernetes\.version: found nothing; expected .* is not in this file"):
        parse_shoot(SHOOT.replace("    version: 1.36.1\n", ""), "x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "nodes: 10.250.0.0/16",
            "nodes: 100.97.0.0/16",
            'spec.networking.pods: found "100.96.0.0/11"; expected a network that does',
        ),
        (
            "services: 100.64.0.0/13",
            "services: 10.250.0.0/24",
            'spec.networking.nodes: found "10.250.0.0/16"; expected a network',
        ),
        ("nodes: 10.250.0.0/16", "nodes: fd00::/56", 'spec.networking.nodes: found "fd00::/56"; expected an IPv4 CIDR'),
    ],
)
def test_networks_that_gardener_refuses_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shoot(SHOOT.replace(old, new), "x")
    assert message in str(caught.value)


GARDENERS: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("status",),
    ("metadata",): ("labels", "annotations", "uid", "generation", "finalizers", "generateName", "managedFields"),
    ("spec",): (
        "accessRestrictions", "addons", "cloudProfile", "cloudProfileName", "controlPlane", "credentialsBindingName", "dns",
        "exposureClassName", "extensions", "hibernation", "maintenance", "monitoring", "provider", "purpose", "region",
        "resources", "schedulerName", "secretBindingName", "seedName", "seedSelector", "systemComponents", "tolerations",
    ),
    ("spec", "kubernetes"): (
        "clusterAutoscaler", "enableStaticTokenKubeconfig", "etcd", "kubeControllerManager", "kubeScheduler", "kubelet",
        "verticalPodAutoscaler",
    ),
    ("spec", "kubernetes", "kubeAPIServer"): (
        "admissionPlugins", "apiAudiences", "auditConfig", "autoscaling", "defaultNotReadyTolerationSeconds",
        "enableAnonymousAuthentication", "encryptionConfig", "eventTTL", "logging", "oidcConfig", "requests",
        "serviceAccountConfig", "structuredAuthentication", "structuredAuthorization", "watchCacheSizes",
    ),
    ("spec", "kubernetes", "kubeProxy"): ("featureGates",),
    ("spec", "kubernetes", "kubeControllerManager"): ("featureGates", "horizontalPodAutoscaler", "nodeMonitorGracePeriod"),
}  # fmt: skip
"""Keys of a Shoot that are not read, by the place where they stand. Source: gardener pkg/apis/core/v1beta1/types_shoot.go."""


def test_no_key_of_gardeners_is_taken_for_a_mistake() -> None:
    document: Any = {
        "apiVersion": "core.gardener.cloud/v1beta1",
        "kind": "Shoot",
        "metadata": {"name": "x"},
        "spec": {
            "kubernetes": {"version": "1.36.1", "kubeAPIServer": {}, "kubeProxy": {}, "kubeControllerManager": {}},
            "networking": {"type": "calico"},
        },
    }
    for place, keys in GARDENERS.items():
        at = document
        for key in place:
            at = at[key]
        at.update({key: {} for key in keys if key not in at})
    assert parse_shoot(document, "x").metadata.name == "x"

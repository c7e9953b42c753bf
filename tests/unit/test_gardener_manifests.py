"""The Calico objects of each mode: one test for every row in which the modes differ."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gardener.feature_gates import FeatureGates
from gardener.manifests.render import key_of, pool_from_environment, render
from gardener.releases import RELEASES
from gardener.shoot import parse_shoot
from hitless.calico import is_calico_node
from hitless.errors import UsageError
from hitless.objects import is_switched_on
from hitless.words import JsonObject
from tests.unit.fakes_gardener import make_shoot

NETWORKS: dict[str, dict[str, Any]] = {
    "ipip": {"overlay": {"enabled": True}},
    "vxlan": {"overlay": {"enabled": True}, "vxlan": {"enabled": True}},
    "native": {"overlay": {"enabled": False}},
    "native-vxlan-kept": {"overlay": {"enabled": False}, "vxlan": {"enabled": True}},
    "pod-routes": {"overlay": {"enabled": False, "createPodRoutes": True}},
}
MODES = list(NETWORKS)
PRIVILEGED = FeatureGates()


def objects(mode: str, gates: FeatureGates = PRIVILEGED, **network: object) -> dict[str, JsonObject]:
    rendered = render(make_shoot(network={**NETWORKS[mode], **network}), gates)
    return {document["metadata"]["name"]: document for document in rendered}


def config(mode: str, /, **network: object) -> JsonObject:
    data: JsonObject = objects(mode, PRIVILEGED, **network)["calico-config"]["data"]
    return data


def pod(mode: str, gates: FeatureGates = PRIVILEGED, **network: object) -> JsonObject:
    spec: JsonObject = objects(mode, gates, **network)["calico-node"]["spec"]["template"]["spec"]
    return spec


def named(entries: list[JsonObject], name: str = "calico-node") -> JsonObject:
    return next(entry for entry in entries if entry["name"] == name)


def environment(mode: str, **network: object) -> dict[str, str | None]:
    container = named(pod(mode, PRIVILEGED, **network)["containers"])
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def ipam(mode: str) -> JsonObject:
    network = json.loads(config(mode)["cni_network_config"].replace("__CNI_MTU__", "0"))
    found: JsonObject = network["plugins"][0]["ipam"]
    return found


def each(**expected: object) -> pytest.MarkDecorator:
    """Parametrise over the modes; `native_vxlan_kept` defaults to what native has, `pod_routes` too."""
    native = expected["native"]
    table: dict[str, object] = {
        "native-vxlan-kept": native,
        "pod-routes": native,
        **{key.replace("_", "-"): value for key, value in expected.items()},
    }
    return pytest.mark.parametrize(("mode", "expected"), list(table.items()), ids=list(table))


@each(ipip="bird", vxlan="vxlan", native="none", pod_routes="bird")
def test_backend(mode: str, expected: str) -> None:
    assert expected == config(mode)["calico_backend"]


@pytest.mark.parametrize("mode", MODES)
def test_mtu_is_automatic_unless_set(mode: str) -> None:
    assert (config(mode)["veth_mtu"], config(mode, vethMTU="1430")["veth_mtu"]) == ("0", "1430")


HOST_LOCAL = {"type": "host-local", "subnet": "usePodCidr", "assign_ipv4": "true", "assign_ipv6": "false"}
CALICO_IPAM = {**HOST_LOCAL, "type": "calico-ipam"}


@each(ipip=HOST_LOCAL, vxlan=CALICO_IPAM, native=HOST_LOCAL, native_vxlan_kept=CALICO_IPAM)
def test_ipam(mode: str, expected: JsonObject) -> None:
    assert expected == ipam(mode)


@each(ipip="true", vxlan=None, native="true", native_vxlan_kept=None)
def test_use_pod_cidr_of_node_and_typha(mode: str, expected: str | None) -> None:
    typha = objects(mode)["calico-typha-deploy"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert expected == environment(mode).get("USE_POD_CIDR")
    assert expected == {variable["name"]: variable["value"] for variable in typha}.get("USE_POD_CIDR")


@each(
    ipip={"IPIP": "Always", "CIDR": "100.96.0.0/11"},
    vxlan={"VXLAN": "Always", "IPIP": "Never", "CIDR": "100.96.0.0/11"},
    native={"IPIP": "Never", "CIDR": "100.96.0.0/11"},
    native_vxlan_kept={"VXLAN": "Never", "CIDR": "100.96.0.0/11"},
)
def test_pool_environment(mode: str, expected: dict[str, str]) -> None:
    prefix = "CALICO_IPV4POOL_"
    assert expected == {
        name.removeprefix(prefix): value for name, value in environment(mode).items() if name.startswith(prefix)
    }


@each(ipip="true", vxlan="absent", native="false")
def test_felix_ipip(mode: str, expected: str) -> None:
    assert expected == environment(mode).get("FELIX_IPINIPENABLED", "absent")


@each(ipip="absent", vxlan="true", native="absent")
def test_felix_vxlan(mode: str, expected: str) -> None:
    assert expected == environment(mode).get("FELIX_VXLANENABLED", "absent")


@each(ipip="absent", vxlan="absent", native="Append")
def test_chain_insert_mode(mode: str, expected: str) -> None:
    assert expected == environment(mode).get("FELIX_CHAININSERTMODE", "absent")


@pytest.mark.parametrize("mode", MODES)
def test_what_is_the_same_in_every_mode(mode: str) -> None:
    expected = {
        "CLUSTER_TYPE": "k8s,bgp",
        "FELIX_HEALTHENABLED": "true",
        "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",
        "FELIX_NATPORTRANGE": "32768:65535",
        "CALICO_MANAGE_CNI": "true",
        "IP_AUTODETECTION_METHOD": "cidr=10.250.0.0/16",
    }
    assert expected == {name: value for name, value in environment(mode).items() if name in expected}


@each(ipip=False, vxlan=False, native=True)
def test_cleanup_routes_comes_first_and_is_privileged(mode: str, expected: bool) -> None:  # noqa: FBT001 - parametrised
    names = [container["name"] for container in pod(mode)["initContainers"]]
    assert names == [*(["cleanup-routes"] if expected else []), "log-mtu-issues", "install-cni"]
    if expected:
        assert pod(mode)["initContainers"][0]["securityContext"] == {"privileged": True}


@each(
    ipip=["network-unavailable-condition-ensurer", "calico-node"],
    vxlan=["network-unavailable-condition-ensurer", "calico-node"],
    native=["add-snat-rule-to-upstream-dns", "calico-node"],
    pod_routes=["add-snat-rule-to-upstream-dns", "network-unavailable-condition-ensurer", "calico-node"],
)
def test_sidecars(mode: str, expected: list[str]) -> None:
    assert expected == [container["name"] for container in pod(mode)["containers"]]


@each(ipip=True, vxlan=False, native=False, pod_routes=True)
def test_probes_ask_bird_where_there_is_one(mode: str, expected: bool) -> None:  # noqa: FBT001 - parametrised
    container = named(pod(mode)["containers"])
    for probe, question in (("livenessProbe", "live"), ("readinessProbe", "ready")):
        birds = [f"-bird-{question}"] if expected else []
        assert container[probe]["exec"]["command"] == ["/bin/calico-node", f"-felix-{question}", *birds]


@each(ipip=("Always", "Never"), vxlan=("Never", "Always"), native=("Never", "Never"))
def test_default_pool(mode: str, expected: tuple[str, str]) -> None:
    spec = objects(mode)["default-ipv4-ippool"]["spec"]
    assert expected == (spec["ipipMode"], spec["vxlanMode"])
    assert (spec["cidr"], spec["blockSize"], spec["natOutgoing"]) == ("100.96.0.0/11", 26, True)


NODE_POOL = {"cidr": "10.250.0.0/16", "disabled": True, "disableBGPExport": True}


@each(ipip=None, vxlan=None, native=NODE_POOL)
def test_pool_against_masquerading_of_node_traffic(mode: str, expected: JsonObject | None) -> None:
    assert expected == objects(mode).get("no-snat-for-node-cidr", {}).get("spec")


@each(ipip=True, vxlan=True, native=False, pod_routes=True)
def test_kube_controllers(mode: str, expected: bool) -> None:  # noqa: FBT001 - parametrised
    assert expected == ("calico-kube-controllers" in objects(mode))


@pytest.mark.parametrize(("before", "rolls"), [("ipip", False), ("vxlan", True)])
def test_typha_rolls_only_where_the_ipam_changes(before: str, rolls: bool) -> None:  # noqa: FBT001 - parametrised
    old, new = (objects(mode)["calico-typha-deploy"]["spec"]["template"] for mode in (before, "native"))
    assert rolls == (old != new)


def test_a_changed_configuration_changes_the_checksum() -> None:
    def checksum(mode: str, **network: object) -> str:
        annotations = objects(mode, PRIVILEGED, **network)["calico-node"]["spec"]["template"]["metadata"]["annotations"]
        found: str = annotations["checksum/configmap-calico"]
        return found

    variants = [checksum("ipip"), checksum("native"), checksum("vxlan"), checksum("ipip", vethMTU="1430")]
    assert len(set(variants)) == 4


def test_calico_node_does_not_roll_for_what_is_only_in_other_objects() -> None:
    privileged, restricted = (objects("ipip", gates) for gates in (PRIVILEGED, FeatureGates(non_privileged_calico_node=True)))
    assert privileged["calico-config"] == restricted["calico-config"]
    first, second = (found["calico-node"]["spec"]["template"]["metadata"]["annotations"] for found in (privileged, restricted))
    assert first == second


@pytest.mark.parametrize("mode", MODES)
def test_roll_and_probe_constants(mode: str) -> None:
    daemon_set, container = objects(mode)["calico-node"], named(pod(mode)["containers"])
    assert daemon_set["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    assert "minReadySeconds" not in daemon_set["spec"]
    assert (pod(mode)["terminationGracePeriodSeconds"], pod(mode)["hostNetwork"]) == (0, True)
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["/bin/calico-node", "-shutdown"]
    live, ready = container["livenessProbe"], container["readinessProbe"]
    assert (live["initialDelaySeconds"], live["failureThreshold"], live["periodSeconds"]) == (10, 6, 10)
    assert (ready["periodSeconds"], ready["timeoutSeconds"], "initialDelaySeconds" in ready) == (10, 10, False)
    typha = objects(mode)["calico-typha-deploy"]["spec"]
    assert typha["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": "100%"}
    assert typha["template"]["spec"]["terminationGracePeriodSeconds"] == 300


@pytest.mark.parametrize("mode", MODES)
def test_the_pools_are_applied_last(mode: str) -> None:
    rendered = render(make_shoot(network=NETWORKS[mode]), PRIVILEGED)
    kinds = [kind.value for kind, _ in map(key_of, rendered)]
    rank = ["ConfigMap", "DaemonSet", "Deployment", "IPPool"]
    assert kinds == sorted(kinds, key=rank.index)
    assert (kinds[0], kinds[-1]) == ("ConfigMap", "IPPool")


@pytest.mark.parametrize("mode", MODES)
def test_every_container_has_an_image_of_the_same_release(mode: str) -> None:
    workloads = [document for document in objects(mode).values() if document["kind"] in {"DaemonSet", "Deployment"}]
    pods = [document["spec"]["template"]["spec"] for document in workloads]
    containers = [one for spec in pods for key in ("containers", "initContainers") for one in spec.get(key, ())]
    images = {container["name"]: container["image"] for container in containers}
    # Source: gardener-extension-networking-calico imagevector/images.yaml; the sidecars are calico/node as well.
    own = {"install-cni": "cni", "calico-typha": "typha", "calico-kube-controllers": "kube-controllers"}
    assert images == {name: f"quay.io/calico/{own.get(name, 'node')}:v3.31.6" for name in images}
    assert {"calico-node", "install-cni", "calico-typha"} <= images.keys()


@pytest.mark.parametrize("mode", MODES)
def test_every_mounted_volume_exists(mode: str) -> None:
    for gates in (PRIVILEGED, FeatureGates(non_privileged_calico_node=True)):
        spec = pod(mode, gates)
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounts = [mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())]
        mounts += [mount["name"] for container in spec["initContainers"] for mount in container.get("volumeMounts", ())]
        assert set(mounts) == volumes


def test_without_privilege_calico_node_keeps_three_capabilities() -> None:
    gates = FeatureGates(non_privileged_calico_node=True)
    security = named(pod("native", gates)["containers"])["securityContext"]
    assert (security["privileged"], security["runAsUser"]) == (False, 999)
    assert security["capabilities"] == {"add": ["NET_RAW", "NET_ADMIN", "NET_BIND_SERVICE"]}
    sidecar = named(pod("native", gates)["containers"], "add-snat-rule-to-upstream-dns")["securityContext"]
    assert sidecar["capabilities"] == {"add": ["NET_ADMIN"]}
    assert [container["name"] for container in pod("native", gates)["initContainers"]] == [
        "cleanup-routes", "log-mtu-issues", "install-cni", "hostpath-init",
    ]  # fmt: skip
    assert named(pod("native")["containers"])["securityContext"] == {"privileged": True}


def test_snat_to_upstream_dns_can_be_turned_off() -> None:
    assert "FELIX_CHAININSERTMODE" not in environment("native", snatToUpstreamDNS={"enabled": False})
    assert "add-snat" not in str(pod("native", snatToUpstreamDNS={"enabled": False})["containers"])
    assert "FELIX_CHAININSERTMODE" not in environment("ipip", snatToUpstreamDNS={"enabled": True})


def test_typha_can_be_turned_off() -> None:
    assert config("ipip", typha={"enabled": False})["typha_service_name"] == "none"
    assert "calico-typha-deploy" not in objects("ipip", typha={"enabled": False})


def test_without_an_overlay_section_calico_node_makes_the_pool_itself() -> None:
    shoot = make_shoot(network=None)
    assert [kind for kind, _ in map(key_of, render(shoot, PRIVILEGED)) if kind == "IPPool"] == []
    spec = pool_from_environment(shoot, PRIVILEGED)["spec"]
    assert (spec["ipipMode"], spec["vxlanMode"]) == ("Always", "Never")


def test_dual_stack_renders_ipip_as_off() -> None:
    rendered = render(make_shoot(network=NETWORKS["ipip"], families=("IPv4", "IPv6")), PRIVILEGED)
    env = {
        variable["name"]: variable.get("value")
        for variable in named(rendered[1]["spec"]["template"]["spec"]["containers"])["env"]
    }
    assert (env["FELIX_IPINIPENABLED"], env["FELIX_IPV6SUPPORT"]) == ("false", "true")


def test_kube_proxy_off_is_refused() -> None:
    spec = {"kubernetes": {"version": "1.36.1", "kubeProxy": {"enabled": False}}, "networking": {"type": "calico"}}
    head = {"apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": {"name": "test"}}
    with pytest.raises(UsageError, match="found false; expected true, because the extension forbids false"):
        render(parse_shoot({**head, "spec": spec}, "test"), FeatureGates())


def test_an_older_release_renders_its_calico_and_keeps_ipip_with_pod_routes() -> None:
    shoot = make_shoot(network={"overlay": {"enabled": False, "createPodRoutes": True}})
    found = {}
    for name in ("v1.57", "v1.58", "v1.59", "v1.60"):
        documents = render(shoot, FeatureGates(release=RELEASES[name]))
        daemon_set = next(document for document in documents if is_calico_node(document))
        image = daemon_set["spec"]["template"]["spec"]["containers"][0]["image"]
        found[name] = (image.rpartition(":")[2], is_switched_on(daemon_set, "FELIX_IPINIPENABLED"))
    assert found == {
        "v1.57": ("v3.30.6", True),
        "v1.58": ("v3.30.7", True),
        "v1.59": ("v3.31.6", False),
        "v1.60": ("v3.31.6", False),
    }


def test_ebpf_is_refused() -> None:
    with pytest.raises(UsageError, match="ebpfDataplane"):
        objects("ipip", ebpfDataplane={"enabled": True})

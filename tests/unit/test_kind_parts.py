"""The pure parts of kind: batches, sysctls, routes and counters as text, owners, and what a roll or a Node says of itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from clusters.kind.bring_up import calico_definitions
from clusters.kind.config import KindOptions
from clusters.kind.docker import Docker, is_owner_alive, this_process
from clusters.kind.images import describe_remedy, list_images
from clusters.kind.machine import examine_for_kind
from clusters.kind.nodes import STRAY_PROBES, STRAY_TUNNELS, describe_route, parse_strays
from clusters.kind.router import find_device, find_management_device, make_router_batch, make_sysctls
from clusters.kind.spec import make_plan
from clusters.kind.versions import CALICO_IMAGES, LOCAL_IMAGES, NODE_IMAGES, PROBER_IMAGE, ROUTER_IMAGE, find_node_image
from clusters.kubernetes.prober_manifests import ProberSpec, render_probers
from gardener.feature_gates import FeatureGates
from gardener.manifests.render import render
from hitless.errors import WorldError
from hitless.objects import is_ready, is_rolled
from tests.unit.fakes_gardener import make_shoot
from tests.unit.test_kind_config import spec_of

PLAN = make_plan(spec_of())


def test_the_router_finds_its_interfaces_by_address_not_by_name() -> None:
    batch = make_router_batch(PLAN, {"lo": ("127.0.0.1",), "eth1": ("10.250.0.1",), "eth0": ("10.250.1.1",)})
    assert batch.splitlines() == [
        "route flush default",
        "rule add iif eth1 lookup 101 priority 1000",
        "route add 10.250.0.0/24 dev eth1 proto boot table 101",
        "route add 10.250.1.0/24 dev eth0 proto boot table 101",
        "rule add iif eth0 lookup 102 priority 1001",
        "route add 10.250.0.0/24 dev eth1 proto boot table 102",
        "route add 10.250.1.0/24 dev eth0 proto boot table 102",
    ]


def test_a_router_without_an_interface_in_a_zone_is_an_error_that_names_it() -> None:
    with pytest.raises(WorldError, match=r"hitless-router: no interface has the address 10\.250\.1\.1"):
        make_router_batch(PLAN, {"eth0": ("10.250.0.1",)})


def test_management_is_the_interface_outside_of_the_zones() -> None:
    interfaces = {"lo": ("127.0.0.1",), "tunl0": ("100.96.0.1",), "eth1": ("172.18.0.2",), "eth0": ("10.250.0.11",)}
    assert find_management_device(interfaces, PLAN, "node") == "eth1"
    assert find_device(interfaces, "10.250.0.11", "node") == "eth0"
    with pytest.raises(WorldError, match="node: no interface outside the zones"):
        find_management_device({"lo": ("127.0.0.1",), "eth0": ("10.250.0.11",)}, PLAN, "node")


def test_sysctls_name_all_default_and_every_link_and_a_dot_in_a_name_is_a_slash() -> None:
    settings = make_sysctls({"eth0": (), "eth0.5": ()}, rp_filter=1)
    assert settings[0] == "net.ipv4.ip_forward=1"
    assert [one for one in settings if "rp_filter" in one] == [
        "net.ipv4.conf.all.rp_filter=1",
        "net.ipv4.conf.default.rp_filter=1",
        "net.ipv4.conf.eth0.rp_filter=1",
        "net.ipv4.conf.eth0/5.rp_filter=1",
    ]
    assert sum("send_redirects=0" in one or "accept_redirects=0" in one for one in settings) == 8


@pytest.mark.parametrize(
    ("printed", "described"),
    [
        (
            {"type": "1", "dst": "default", "gateway": "10.0.0.2", "dev": "v0", "protocol": "16"},
            ({"dst": "default", "type": "unicast", "protocol": 16, "dev": "v0", "via": "10.0.0.2"},),
        ),
        (
            {"type": "6", "dst": "10.2.0.0/24", "protocol": "12"},
            ({"dst": "10.2.0.0/24", "type": "blackhole", "protocol": 12},),
        ),
        (
            {"type": "1", "dst": "10.9.0.5", "dev": "cali1", "protocol": "3"},
            ({"dst": "10.9.0.5/32", "type": "unicast", "protocol": 3, "dev": "cali1"},),
        ),
        (
            {
                "type": "1",
                "dst": "10.3.0.0/24",
                "protocol": "80",
                "nexthops": [{"gateway": "10.0.0.3", "dev": "v0"}, {"gateway": "10.0.0.4", "dev": "v0"}],
            },
            (
                {"dst": "10.3.0.0/24", "type": "unicast", "protocol": 80, "dev": "v0", "via": "10.0.0.3"},
                {"dst": "10.3.0.0/24", "type": "unicast", "protocol": 80, "dev": "v0", "via": "10.0.0.4"},
            ),
        ),
    ],
)
def test_a_route_as_ip_prints_it_is_described_as_the_port_says(
    printed: dict[str, object], described: tuple[dict[str, object], ...]
) -> None:
    assert describe_route(printed) == described


def test_strays_are_added_up_over_the_rules_of_a_name() -> None:
    text = """-P PREROUTING ACCEPT -c 10 20
-A PREROUTING -i eth0 -p udp -m udp --dport 8620 -m comment --comment "hitless-Management.probes" -c 3 300
-A PREROUTING -i eth0 -p udp -m udp --sport 8620 -m comment --comment "hitless-Management.probes" -c 4 400
-A PREROUTING -i eth0 -p 4 -m comment --comment hitless-Management.tunnels -c 5 500
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -c 9 900 -j cali-PREROUTING
"""
    assert parse_strays(text) == {STRAY_PROBES: 7, STRAY_TUNNELS: 5}
    assert parse_strays("") == {STRAY_PROBES: 0, STRAY_TUNNELS: 0}


def test_an_owner_lives_as_long_as_its_process() -> None:
    host, process, ticks = this_process().split("/")
    assert int(process) == os.getpid()
    assert is_owner_alive(this_process())
    assert not is_owner_alive(f"{host}/{process}/{int(ticks) + 1}")
    assert is_owner_alive("another-host/1/1")


@pytest.mark.parametrize("text", ["", "host", "host/1", "host/one/2", "host/1/2/3", "/1/2", "host/1/²"])
def test_a_text_without_an_owner_names_no_living_one(text: str) -> None:
    assert not is_owner_alive(text)


def test_definitions_are_calicos_and_each_keeps_what_is_written() -> None:
    documents = calico_definitions()
    names = [document["metadata"]["name"] for document in documents]
    assert names == sorted(set(names))
    assert {"ippools.crd.projectcalico.org", "felixconfigurations.crd.projectcalico.org"} < set(names)
    assert len(names) == 24
    for document in documents:
        (version,) = document["spec"]["versions"]
        assert version["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] is True
        is_protected = document["spec"]["group"].endswith(".k8s.io")
        assert is_protected == ("api-approved.kubernetes.io" in document["metadata"].get("annotations", {}))


@pytest.mark.parametrize(
    ("status", "is_so"),
    [
        ({}, False),
        ({"observedGeneration": 2}, False),
        ({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}, True),
        ({"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}, False),
        ({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberAvailable": 3}, False),
        ({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}, False),
        ({"observedGeneration": 2, "desiredNumberScheduled": 0, "updatedNumberScheduled": 0, "numberAvailable": 0}, False),
    ],
)
def test_a_roll_is_over_when_every_pod_is_new_and_available(*, status: dict[str, int], is_so: bool) -> None:
    assert is_rolled({"metadata": {"generation": 2}, "status": status}) == is_so


def test_a_node_is_ready_by_its_condition() -> None:
    assert is_ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert not is_ready({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    assert not is_ready({})


class EmptyEngine(Docker):
    """A docker engine without images."""

    def has_image(self, name: str) -> bool:  # noqa: ARG002 - it has none
        return False


def find_images(document: object) -> Iterator[str]:
    """Every value of a key `image`."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key == "image" and isinstance(value, str):
                yield value
            yield from find_images(value)
    elif isinstance(document, Sequence) and not isinstance(document, str):
        for value in document:
            yield from find_images(value)


def test_every_image_that_a_cluster_runs_is_looked_for_and_no_other() -> None:
    networks = [{"overlay": {"enabled": is_on, "createPodRoutes": True}} for is_on in (True, False)]
    rendered = [render(make_shoot(network=network), FeatureGates()) for network in networks]
    run = {*find_images(rendered), *find_images(render_probers(ProberSpec(image=PROBER_IMAGE))), ROUTER_IMAGE}
    states = list_images(EmptyEngine(Path("docker")), [find_node_image((1, 36))])
    assert {image.name for image in states} == {*run, "kindest/node:v1.36.4"}
    assert set(states.values()) == {None}


def test_the_remedy_for_a_missing_image_is_a_command_that_gets_it() -> None:
    digest = r"sha256:[0-9a-f]{64}"
    for (major, minor), image in NODE_IMAGES.items():
        name = rf"kindest/node:v{major}\.{minor}\.\d+"
        assert re.fullmatch(
            rf"({name}): docker pull \1@{digest}, or hitless kind images --load ARCHIVE", describe_remedy(image)
        ), image
    remedies = {image.name: describe_remedy(image) for image in (*CALICO_IMAGES, *LOCAL_IMAGES)}
    assert remedies == {
        "hitless/prober:1": "hitless/prober:1: docker build --file probes/image/Dockerfile --tag hitless/prober:1 .",
        "hitless/router:1": "hitless/router:1: hitless builds it when a cluster starts",
        **{
            name: f"{name}: docker pull {name}, or hitless kind images --load ARCHIVE"
            for name in (f"quay.io/calico/{part}:v3.31.6" for part in ("node", "cni", "typha", "kube-controllers"))
        },
    }


def test_the_examination_names_everything_and_a_remedy_for_all_that_is_missing() -> None:
    nowhere = KindOptions(kind_bin=Path("/nowhere/kind"))
    features = {feature.name: feature for feature in examine_for_kind(nowhere)}
    names = {"docker", "kind", "kubectl", "cgroup v2", "ipip for kind", "vxlan for kind"}
    assert names | {"fs.inotify.max_user_instances", "fs.inotify.max_user_watches"} <= set(features)
    assert not features["kind"].is_present
    assert all(feature.is_present != bool(feature.remedy) for feature in features.values())

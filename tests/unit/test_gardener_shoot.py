"""Shoots and feature gates from real Gardener YAML; whatever is wrong, one clear message."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.feature_gates import FeatureGates, load_feature_gates, read_feature_gates
from gardener.shoot import Shoot, load_shoot, parse_shoot
from hitless.documents import Document, parse_document
from hitless.errors import UsageError
from hitless.words import Mode, Overlay
from tests.unit.fakes_gardener import CONFIGURATIONS, SHOOTS, make_shoot, shipped_shoot

TEXT = (SHOOTS / "aws-1.36.yaml").read_text()
AT = "spec.networking.providerConfig"


def message_for(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_shoot(text, "shoot.yaml")
    return str(caught.value)


def message_for_network(**network: object) -> str:
    with pytest.raises(UsageError) as caught:
        make_shoot(network=network)
    return str(caught.value)


def test_every_shipped_shoot_is_read() -> None:
    read = {
        path.stem: (load_shoot(path).mode, load_shoot(path).overlay, load_shoot(path).kubernetes)
        for path in SHOOTS.glob("*.yaml")
    }
    assert read == {
        "aws-1.36": (Mode.OVERLAY, Overlay.IPIP, (1, 36)),
        "aws-1.36-native": (Mode.NATIVE, Overlay.IPIP, (1, 36)),
        "aws-1.36-vxlan": (Mode.OVERLAY, Overlay.VXLAN, (1, 36)),
        "aws-1.34-without-admission": (Mode.OVERLAY, Overlay.IPIP, (1, 34)),
        "aws-1.34-with-admission": (Mode.OVERLAY, Overlay.IPIP, (1, 34)),
        "aws-1.36-dual-stack": (Mode.OVERLAY, Overlay.IPIP, (1, 36)),
        "aws-1.36-dual-stack-migration": (Mode.OVERLAY, Overlay.IPIP, (1, 36)),
        "aws-1.36-pod-routes": (Mode.OVERLAY, Overlay.IPIP, (1, 36)),
        "aws-1.34-alpha-only": (Mode.OVERLAY, Overlay.IPIP, (1, 34)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1.36.1", "version: 1.36", "shoot.yaml: spec.kubernetes.version: found 1.36; expected a valid string"),
        ("version: 1.36.1", "version: latest", "spec.kubernetes.version: found latest; expected a Kubernetes version"),
        (
            "version: 1.36.1",
            "versions: 1.36.1",
            "spec.kubernetes.versions: hitless does not read this key; did you mean spec.kubernetes.version?",
        ),
        ("kind: Shoot", "kind: Seed", "kind: found Seed; expected 'Shoot'"),
        ("core.gardener.cloud/v1beta1", "core.gardener.cloud/v2", "apiVersion: found core.gardener.cloud/v2"),
        ("type: calico", "type: cilium", "spec.networking.type: found cilium; expected 'calico'"),
        ("pods: 100.96.0.0/11", "pods: 100.96.0.0", "spec.networking.pods: found 100.96.0.0; expected a CIDR such as"),
        ("pods: 100.96.0.0/11", "pods: 2001:db8::/56", 'spec.networking.pods: found "2001:db8::/56"; expected an IPv4 CIDR'),
        ("      - IPv4", "      - IPv5", "spec.networking.ipFamilies.0: found IPv5"),
        (
            "      - IPv4",
            "      - IPv4\n      - IPv4",
            "spec.networking.ipFamilies: found IPv4 twice; expected each family once",
        ),
        (
            "kind: Shoot\n",
            "kind: Shoot\nstatus: {lastOperation: {state: Failed}}\n",
            "status.lastOperation.state: found Failed; expected another state, because the extension",
        ),
        ("enabled: true", "enabled: 'yes'", f"{AT}.overlay.enabled: found yes; expected a valid boolean"),
        (
            "enabled: true",
            "enable: true",
            f"{AT}.overlay.enable: hitless does not read this key; did you mean {AT}.overlay.enabled?",
        ),
        (
            "overlay:",
            "overlays:",
            f"{AT}.overlays: hitless does not read this key; did you mean {AT}.overlay?",
        ),
        ("kind: NetworkConfig", "kind: Network", f"{AT}.kind: found Network"),
        ("enabled: true", "enabled: true\n        enabled: false", "line 61, column 9: found the key 'enabled' twice"),
        (
            "kind: Shoot",
            "kind: Shoot\n---\nkind: Shoot",
            "found Shoot at line 2 and Shoot overlay at line 5; expected one document with a Shoot",
        ),
        ("metadata:", "metadata: &x\nother: *x\nmore:", "found an alias"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, message: str) -> None:
    assert old in TEXT
    assert message in message_for(TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"backend": "ospf"}, f"{AT}.backend: found ospf; expected 'bird', 'none' or 'vxlan'"),
        ({"ipam": {"type": "dhcp"}}, f"{AT}.ipam.type: found dhcp"),
        ({"ipam": {"cidr": "here"}}, f"{AT}.ipam.cidr: found here; expected a CIDR such as"),
        ({"ipv4": {"pool": "gre"}}, f"{AT}.ipv4.pool: found gre"),
        ({"ipv4": {"mode": "Sometimes"}}, f"{AT}.ipv4.mode: found Sometimes"),
        ({"ipv4": {"pool": "vxlan", "mode": "CrossSubnet"}}, f'{AT}.ipv4.mode: found "CrossSubnet" with pool vxlan'),
        ({"ipv6": {}}, f"{AT}.ipv6: found a mapping; expected no such section, because ipFamilies does not contain ipv6"),
        ({"ipv4": {"autoDetectionMethod": "guess"}}, f"{AT}.ipv4.autoDetectionMethod: found guess; expected one of can-reach"),
        ({"ipv4": {"autoDetectionMethod": "first-found=1"}}, "expected first-found without a parameter"),
        ({"ipv4": {"autoDetectionMethod": "cidr="}}, "expected cidr=PARAMETER"),
        ({"ipv4": {"autoDetectionMethod": "cidr=10.0.0.0/8,11.0.0.0/8"}}, "expected a CIDR such as"),
        ({"ipv4": {"autoDetectionMethod": "can-reach=!"}}, "expected can-reach=ADDRESS or can-reach=NAME"),
        ({"ipv4": {"autoDetectionMethod": "interface=("}}, "expected a regular expression"),
        ({"vethMTU": 1440}, f"{AT}.vethMTU: found 1440; expected a valid string"),
        ({"vethMTU": "-1"}, f"{AT}.vethMTU: found -1; expected a number from 0 as text"),
        ({"vethMTU": ""}, f"{AT}.vethMTU: found ; expected a number from 0 as text"),
        ({"autoScaling": {"mode": "magic"}}, f"{AT}.autoScaling.mode: found magic"),
        ({"serviceLoopPrevention": "Maybe"}, f"{AT}.serviceLoopPrevention: found Maybe"),
        ({"ipip": "On"}, f"{AT}.ipip: found On"),
        ({"ipAutodetectionMethod": ""}, f"{AT}.ipAutodetectionMethod: found ; expected one of"),
    ],
)  # fmt: skip
def test_what_the_webhook_refuses_is_refused(network: dict[str, Any], message: str) -> None:
    assert message in message_for_network(**network)


def test_calico_ipam_with_ipv6_is_refused() -> None:
    with pytest.raises(UsageError, match="calico-ipam"):
        make_shoot(network={"ipam": {"type": "calico-ipam"}}, families=("IPv4", "IPv6"))


@pytest.mark.parametrize(
    ("network", "families"),
    [
        ({"overlay": {"enabled": True}}, ("IPv4", "IPv6")),
        ({"overlay": {"enabled": False}, "vxlan": {"enabled": True}}, ("IPv4",)),
        ({"overlay": {"enabled": False, "createPodRoutes": True}}, ("IPv4",)),
        ({"vxlan": {"enabled": True}}, ("IPv4", "IPv6")),
        ({"snatToUpstreamDNS": {"enabled": False}}, ("IPv4",)),
        ({"wireguardEncryption": True, "multus": {"enabled": True, "installCNIPlugins": True}}, ("IPv4",)),
        ({"birdExporter": {"enabled": True}, "typha": {"enabled": False}}, ("IPv4",)),
        ({"ipv4": {"autoDetectionMethod": "can-reach=example.com"}, "ipam": {"cidr": "usePodCIDR"}}, ("IPv4",)),
        ({"ipv4": {"autoDetectionMethod": "interface=eth.*"}, "vethMTU": "0"}, ("IPv4",)),
        ({"autoScaling": {"mode": "vpa", "resources": {"node": {"cpu": "1"}}}}, ("IPv4",)),
        ({"ipv6": {"sourceNATEnabled": True}}, ("IPv4", "IPv6")),
        ({"ebpfDataplane": {"enabled": True}, "ipAutodetectionMethod": "first-found"}, ("IPv4",)),
    ],
)  # fmt: skip
def test_what_the_webhook_lets_through_passes(network: dict[str, Any], families: tuple[str, ...]) -> None:
    assert make_shoot(network=network, families=families).network is not None


@pytest.mark.parametrize(
    ("network", "mode"),
    [
        (None, Mode.OVERLAY),
        ({}, Mode.OVERLAY),
        ({"overlay": {"enabled": True}}, Mode.OVERLAY),
        ({"overlay": {"enabled": False}}, Mode.NATIVE),
        ({"vxlan": {"enabled": True}}, Mode.OVERLAY),
    ],
)
def test_an_absent_overlay_section_means_on(network: dict[str, Any] | None, mode: Mode) -> None:
    assert make_shoot(network=network).mode is mode


def test_a_change_gives_another_shoot_and_leaves_the_rest() -> None:
    shoot = make_shoot(network={"overlay": {"enabled": True, "createPodRoutes": True}, "vethMTU": "1440"})
    native = shoot.with_overlay(enabled=False)
    assert (shoot.mode, native.mode) == (Mode.OVERLAY, Mode.NATIVE)
    assert native.network is not None
    assert native.network.overlay is not None
    assert (native.network.veth_mtu, native.network.overlay.create_pod_routes) == ("1440", True)
    assert native.with_overlay(enabled=True) == shoot


def test_a_shoot_without_provider_config_gets_one_when_it_is_switched() -> None:
    shoot = make_shoot(network=None)
    assert shoot.with_mode(Mode.OVERLAY) == shoot
    assert shoot.with_mode(Mode.NATIVE).mode is Mode.NATIVE


def test_encapsulation_is_chosen() -> None:
    shoot = shipped_shoot()
    assert shoot.with_vxlan(enabled=False) is shoot
    assert shoot.with_vxlan(enabled=True).overlay is Overlay.VXLAN
    assert shoot.with_vxlan(enabled=True).with_vxlan(enabled=False).overlay is Overlay.IPIP


def test_a_change_is_validated_too() -> None:
    with pytest.raises(UsageError, match="vethMTU: found -1"):
        shipped_shoot().with_network(veth_mtu="-1")


def test_a_shoot_without_pod_network_gets_gardeners() -> None:
    assert parse_shoot(TEXT.replace("pods: 100.96.0.0/11", ""), "x").pod_cidr == "100.96.0.0/11"


@given(st.data())
def test_a_damaged_shoot_gives_a_shoot_or_a_usage_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 30)))
    junk = data.draw(st.text("{}[]:-,&*!?|>'\"%@\n ab1<=.~#\x00", max_size=12))
    try:
        shoot = parse_shoot(TEXT[:start] + junk + TEXT[end:], "x")
    except UsageError:
        return
    assert isinstance(shoot, Shoot)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), values)
def test_any_value_anywhere_gives_a_shoot_or_a_usage_error(data: st.DataObject, value: object) -> None:
    document: Any = parse_document(TEXT, "x")
    at = document
    while True:
        key = data.draw(st.sampled_from(sorted(at)))
        if not isinstance(at[key], dict) or data.draw(st.booleans()):
            at[key] = value
            break
        at = at[key]
    with contextlib.suppress(UsageError):
        parse_shoot(document, "x")
    with contextlib.suppress(UsageError):
        read_feature_gates((Document(place="", content=document),), "x")


@given(st.sampled_from(["ipv4", "ipam", "vethMTU", "overlay", "vxlan", "autoScaling", "ipAutodetectionMethod"]), values)
def test_any_value_in_network_config_gives_a_shoot_or_a_usage_error(name: str, value: object) -> None:
    with contextlib.suppress(UsageError):
        assert make_shoot(network={name: value}).network is not None


@given(st.text("()[]{}|*+?\\.^$ab1-=,/:", max_size=12))
def test_any_detection_method_gives_a_shoot_or_a_usage_error(text: str) -> None:
    for option in ("interface", "cidr", "can-reach"):
        try:
            make_shoot(network={"ipv4": {"autoDetectionMethod": f"{option}={text}"}})
        except UsageError:
            continue


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: No such file"):
        load_shoot(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        load_feature_gates(tmp_path)


@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("defaults", FeatureGates()),
        ("gate-on", FeatureGates(seamless_overlay_switch=True)),
        ("gate-on-v1", FeatureGates(seamless_overlay_switch=True)),
        ("non-privileged", FeatureGates(non_privileged_calico_node=True)),
    ],
)
def test_every_shipped_configuration_is_read(name: str, gates: FeatureGates) -> None:
    assert gates == load_feature_gates(CONFIGURATIONS / f"{name}.yaml")

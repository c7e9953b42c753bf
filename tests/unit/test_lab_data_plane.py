"""What the lab reads from Calico's objects, and what it refuses with the Shoot's field that it comes from."""

from pathlib import Path
from typing import Any

import pytest

from clusters.lab.calico.datastore import DataPlane, Pools, read_data_plane, read_pools
from clusters.lab.cluster import make_spec
from clusters.lab.spec import LabSpec
from gardener.feature_gates import FeatureGates
from hitless.errors import UsageError
from hitless.words import JsonObject, Mode, Overlay
from scenarios.loading import CATALOGUE, catalogue, load_scenario
from scenarios.plan import Options, make_case
from switches.doubles import calico_objects
from tests.unit.fakes_gardener import make_shoot

PODS, NODES = "100.96.0.0/11", "10.250.0.0/16"
OVERLAY: JsonObject = {"overlay": {"enabled": True}}
NATIVE: JsonObject = {"overlay": {"enabled": False}}
VXLAN: JsonObject = {"vxlan": {"enabled": True}}


def plane_of(network: JsonObject | None, **changes: Any) -> DataPlane:  # noqa: ANN401 - arguments of make_shoot
    return read_data_plane(calico_objects(make_shoot(network=network, **changes), FeatureGates()))


def pools(overlay: Overlay | None, *spared: str) -> Pools:
    return Pools(overlay=overlay, masqueraded=frozenset({PODS}), spared=frozenset({PODS, *spared}))


@pytest.mark.parametrize(
    ("network", "plane"),
    [
        (OVERLAY, DataPlane(pools=pools(Overlay.IPIP), pods=PODS, has_bird=True, block_mask=None, veth_mtu=0)),
        ({**OVERLAY, **VXLAN}, DataPlane(pools=pools(Overlay.VXLAN), pods=PODS, has_bird=False, block_mask=26, veth_mtu=0)),
        (NATIVE, DataPlane(pools=pools(None, NODES), pods=PODS, has_bird=False, block_mask=None, veth_mtu=0)),
        (
            {"overlay": {"enabled": False, "createPodRoutes": True}, "vethMTU": "1400"},
            DataPlane(pools=pools(None, NODES), pods=PODS, has_bird=True, block_mask=None, veth_mtu=1400),
        ),
        (
            {**OVERLAY, "ipam": {"type": "calico-ipam"}},
            DataPlane(pools=pools(Overlay.IPIP), pods=PODS, has_bird=True, block_mask=26, veth_mtu=0),
        ),
        (
            {**NATIVE, **VXLAN},
            DataPlane(pools=pools(None, NODES), pods=PODS, has_bird=False, block_mask=26, veth_mtu=0),
        ),
        (None, DataPlane(pools=pools(Overlay.IPIP), pods=PODS, has_bird=True, block_mask=None, veth_mtu=0)),
        ({"backend": "none"}, DataPlane(pools=pools(None), pods=PODS, has_bird=False, block_mask=None, veth_mtu=0)),
    ],
)
def test_the_data_plane_follows_the_objects(network: JsonObject | None, plane: DataPlane) -> None:
    assert plane_of(network) == plane


@pytest.mark.parametrize(
    ("network", "place", "found"),
    [
        ({**OVERLAY, "wireguardEncryption": True}, "wireguardEncryption", "FELIX_WIREGUARDENABLED true"),
        ({"ipv4": {"mode": "CrossSubnet"}}, "ipv4.mode", "IPPool default-ipv4-ippool with ipipMode CrossSubnet"),
        ({"backend": "none", "ipv4": {"mode": "Always"}}, "backend", "calico_backend none with an IPPool of ipipMode Always"),
        ({"backend": "none", **VXLAN}, "backend", "calico_backend none with an IPPool of vxlanMode Always"),
        ({**OVERLAY, "ipam": {"cidr": "10.0.0.0/24"}}, "ipam.cidr", "ipam.subnet 10.0.0.0/24"),
    ],
)
def test_what_the_labs_nodes_do_not_have_is_refused(network: JsonObject, place: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        plane_of(network)
    assert (caught.value.place, caught.value.found) == (f"spec.networking.providerConfig.{place}", found)


def test_a_dual_stack_plane_has_ipv6_and_one_with_pod_routes_is_refused() -> None:
    both = ("IPv4", "IPv6")
    assert [plane_of(network, families=both).has_ipv6 for network in (OVERLAY, NATIVE)] == [True, True]
    with pytest.raises(UsageError, match=r"overlay\.createPodRoutes: found true with IPv6"):
        plane_of({"overlay": {"enabled": False, "createPodRoutes": True}}, families=both)


def test_disabled_pools_are_spared_and_encapsulate_nothing() -> None:
    off: JsonObject = {"metadata": {"name": "x"}, "spec": {"cidr": NODES, "disabled": True, "ipipMode": "Always"}}
    assert read_pools([off]) == Pools(spared=frozenset({NODES}))


def spec_of(folder: Path, *changes: tuple[str, str], scenario: str | None = None) -> LabSpec:
    """Return the lab for plain-switch with a changed Shoot."""
    text = (CATALOGUE.parent / "shoots" / "aws-1.36.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "shoot.yaml").write_text(text)
    scenario = scenario or (CATALOGUE / "plain-switch.yaml").read_text()
    (folder / "plain-switch.yaml").write_text(scenario.replace("../shoots/aws-1.36.yaml", "shoot.yaml"))
    return make_spec(make_case(load_scenario(folder / "plain-switch.yaml"), Options()))


def test_pods_outside_their_podcidrs_are_obeyed_while_an_overlay_carries_them(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, ("overlay:", "ipam: {type: calico-ipam}\n      overlay:"))
    assert (spec.overlay, spec.block_mask) == (Overlay.IPIP, 26)


def test_pods_that_nothing_reaches_from_the_start_are_refused(tmp_path: Path) -> None:
    changes = ("enabled: true", "enabled: false"), ("overlay:", "ipam: {type: calico-ipam}\n      overlay:")
    text = (CATALOGUE / "plain-switch.yaml").read_text()
    with pytest.raises(UsageError, match=r"shoot\.yaml: spec\.networking\.providerConfig\.ipam\.type: found calico-ipam"):
        spec_of(tmp_path, *changes, scenario=text.replace("request: {overlay: false}", "request: {overlay: true}"))


@pytest.mark.parametrize("path", catalogue(), ids=lambda path: path.stem)
def test_every_shipped_scenario_has_a_lab(path: Path) -> None:
    case = make_case(load_scenario(path), Options())
    spec = make_spec(case)
    has_blocks = case.overlay is Overlay.VXLAN and not case.has_arranged_blocks
    assert (spec.start_mode, spec.block_mask) == (case.scenario.start, 26 if has_blocks else None)


def test_the_labs_networks_are_the_shoots(tmp_path: Path) -> None:
    changes = (PODS, "10.4.0.0/14"), (NODES, "10.180.0.0/16"), ("100.64.0.0/13", "10.8.0.0/16"), ("vpc:", "vpcs:")
    spec = spec_of(tmp_path, *changes, ("kubeProxy:", "kubeControllerManager: {nodeCIDRMaskSize: 25}\n    kubeProxy:"))
    assert (spec.pods, spec.nodes, spec.services, spec.node_mask) == ("10.4.0.0/14", "10.180.0.0/16", "10.8.0.0/16", 25)


@pytest.mark.parametrize(("pods", "nodes"), [("100.96.0.0/11", "10.250.0.0/16"), ("10.192.0.0/10", "172.20.0.0/16")])
def test_where_the_shoot_names_no_nodes_they_get_a_free_network(pods: str, nodes: str, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, (f"    nodes: {NODES}\n", ""), (f"pods: {PODS}", f"pods: {pods}"))
    assert (spec.nodes, spec.start_mode) == (nodes, Mode.OVERLAY)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mode: IPTables", "mode: IPVS", "spec.kubernetes.kubeProxy.mode: found IPVS; expected IPTables or NFTables; "),
        (
            f"pods: {PODS}",
            "pods: 100.96.0.0/24",
            "spec.networking.pods: found 100.96.0.0/24; expected /22 or larger",
        ),
        (
            "overlay:",
            "vethMTU: '1481'\n      overlay:",
            "spec.networking.providerConfig.vethMTU: found 1481; expected at",
        ),
        (
            "overlay:",
            "wireguardEncryption: true\n      overlay:",
            "spec.networking.providerConfig.wireguardEncryption: found ",
        ),
    ],
)
def test_a_refusal_names_the_shoots_file_and_field(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        spec_of(tmp_path, (old, new))
    assert str(caught.value).startswith(f"{tmp_path}/shoot.yaml: {message}")

"""The values of the Calico chart for a Shoot: all decisions by which the manifests of the modes differ.

It follows gardener-extension-networking-calico, pkg/controller/actuator_reconcile.go:145-222 (what the actuator fills in) and
pkg/charts/utils.go:240-415 (what the chart gets), including its surprises: an enabled `vxlan` selects calico-ipam even while
the overlay is off, and IPv6 sets FELIX_IPINIPENABLED to false whether the overlay is on or off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gardener.feature_gates import FeatureGates
from gardener.network_config import NetworkConfig
from gardener.releases import ExtensionRelease
from gardener.shoot import Shoot
from hitless.errors import UsageError
from hitless.words import Mode

Backend = Literal["bird", "none", "vxlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartValues:
    """Values of the chart."""

    overlay_enabled: bool | None
    """global.overlayEnabled; None: the Shoot has no overlay section, and no IPPool is rendered."""
    vxlan_enabled: bool
    """global.vxlanEnabled: the overlay is explicitly on and uses VXLAN."""
    snat_to_upstream_dns: bool
    """global.snatToUpstreamDNSEnabled."""
    pod_cidr: str
    node_cidr: str | None
    """global.nodeCIDR; None: no pool no-snat-for-node-cidr."""
    backend: Backend
    felix_ipip: bool
    """FELIX_IPINIPENABLED, rendered unless vxlan_enabled."""
    has_ipv4: bool
    has_ipv6: bool
    ipv4_pool: Literal["ipip", "vxlan"]
    ipv4_mode: str
    ipv4_autodetection: str | None
    ipv6_mode: str
    ipv6_autodetection: str | None
    ipv6_nat_outgoing: bool
    ipam_type: str
    ipam_subnet: str | None
    """None for dual-stack, which uses ranges."""
    veth_mtu: str
    typha: bool
    non_privileged: bool
    calico_version: str
    """Tag of Calico's images."""
    nftables: bool
    service_loop_prevention: str | None
    wireguard: bool

    @property
    def mode(self) -> Mode:
        """The mode of a cluster with these values: that of its pool, which calico-node creates itself if none is rendered."""
        if self.overlay_enabled is not None:
            return Mode.OVERLAY if self.overlay_enabled else Mode.NATIVE
        return Mode.NATIVE if self.ipv4_mode in {"Never", "Off"} else Mode.OVERLAY


def compute_values(shoot: Shoot, feature_gates: FeatureGates) -> ChartValues:
    """Compute the chart's values.

    Raises:
        UsageError: eBPF is enabled, which replaces the data plane under test; or kube-proxy is off without eBPF, which the real
        extension also refuses, once its gate has opened.
    """
    config = shoot.network or NetworkConfig.model_validate({})
    if config.ebpf_dataplane is not None and config.ebpf_dataplane.enabled:
        raise UsageError(
            where=f"Shoot {shoot.metadata.name}",
            place="spec.networking.providerConfig.ebpfDataplane.enabled",
            found="true",
            expected="false, because hitless tests the standard data plane only",
        )
    proxy = shoot.spec.kubernetes.kube_proxy
    if proxy is not None and proxy.enabled is False:
        raise UsageError(
            where=f"Shoot {shoot.metadata.name}",
            place="spec.kubernetes.kubeProxy.enabled",
            found="false",
            expected="true, because the extension forbids false without the eBPF data plane",
        )
    overlay = None if config.overlay is None else config.overlay.enabled
    has_ipv4, has_ipv6 = "IPv4" in shoot.families, "IPv6" in shoot.families
    backend = _backend(config, has_ipv6=has_ipv6)
    snat = config.snat_to_upstream_dns
    ipv6 = config.ipv6
    return ChartValues(
        overlay_enabled=overlay,
        vxlan_enabled=bool(overlay and config.uses_vxlan),
        snat_to_upstream_dns=overlay is False and (snat is None or snat.enabled),
        pod_cidr=shoot.pod_cidr,
        node_cidr=shoot.spec.networking.nodes,
        backend=backend,
        felix_ipip=_has_ipip(backend, overlay, feature_gates.release) and not has_ipv6,
        has_ipv4=has_ipv4,
        has_ipv6=has_ipv6,
        ipv4_pool=_ipv4_pool(config),
        ipv4_mode=_ipv4_mode(config, backend, has_ipv6=has_ipv6),
        ipv4_autodetection=_ipv4_autodetection(config, shoot.spec.networking.nodes),
        ipv6_mode="Always" if overlay else "Never",
        ipv6_autodetection=ipv6.auto_detection_method if ipv6 else None,
        ipv6_nat_outgoing=bool(config.wireguard_encryption or (ipv6 and ipv6.source_nat_enabled)),
        ipam_type=_ipam_type(config, has_ipv4=has_ipv4),
        ipam_subnet=_ipam_subnet(config, has_ipv4=has_ipv4, has_ipv6=has_ipv6),
        veth_mtu=config.veth_mtu or "0",
        typha=config.typha is None or config.typha.enabled,
        non_privileged=feature_gates.non_privileged_calico_node,
        calico_version=feature_gates.release.calico_version,
        nftables=proxy is not None and proxy.mode == "NFTables",
        service_loop_prevention=config.service_loop_prevention,
        wireguard=config.wireguard_encryption,
    )


def _backend(config: NetworkConfig, *, has_ipv6: bool) -> Backend:
    """Choose the backend. Source: actuator_reconcile.go:204-222, :279-291."""
    match config.overlay:
        case None if has_ipv6:
            return "none"
        case None:
            return config.backend or "bird"
        case overlay if overlay.enabled:
            return "vxlan" if config.uses_vxlan else "bird"
        case overlay:
            return "bird" if overlay.create_pod_routes else "none"


def _has_ipip(backend: Backend, overlay: bool | None, release: ExtensionRelease) -> bool:  # noqa: FBT001 - as in the Shoot
    """Choose FELIX_IPINIPENABLED. Source: utils.go:345-365; before v1.59 only backend none turned it off."""
    return backend != "none" and (overlay is not False or release.keeps_ipip_with_pod_routes)


def _ipv4_pool(config: NetworkConfig) -> Literal["ipip", "vxlan"]:
    if config.ipv4 is not None and config.ipv4.pool is not None:
        return config.ipv4.pool
    return "vxlan" if config.uses_vxlan else "ipip"


def _ipv4_mode(config: NetworkConfig, backend: Backend, *, has_ipv6: bool) -> str:
    """Choose the pool's mode; the last rule that applies wins. Source: utils.go:345-395 after setPoolMode."""
    mode = "Never" if backend == "none" or (config.overlay is not None and not config.overlay.enabled) else "Always"
    if config.uses_vxlan:
        mode = "Always"
    if config.overlay is not None and not has_ipv6:
        return "Always" if config.overlay.enabled else "Never"
    return config.ipv4.mode if config.ipv4 is not None and config.ipv4.mode is not None else mode


def _ipv4_autodetection(config: NetworkConfig, nodes: str | None) -> str | None:
    """Choose the address detection: the actuator overwrites the user's setting with the node network. Source: :158-172."""
    if nodes is not None:
        return f"cidr={nodes}"
    return config.ipv4.auto_detection_method if config.ipv4 is not None else None


def _ipam_type(config: NetworkConfig, *, has_ipv4: bool) -> str:
    """Choose the IPAM; VXLAN overrides the user's setting, whether the overlay is on or off. Source: utils.go:369-387."""
    if has_ipv4 and config.uses_vxlan:
        return "calico-ipam"
    return config.ipam.type if config.ipam is not None and config.ipam.type else "host-local"


def _ipam_subnet(config: NetworkConfig, *, has_ipv4: bool, has_ipv6: bool) -> str | None:
    if has_ipv4 and has_ipv6:
        return None
    chosen = config.ipam.cidr if config.ipam is not None and config.ipam.type in {"", "host-local"} else None
    return chosen or ("usePodCidr" if has_ipv4 else "usePodCidrIPv6")

"""The Shoot, the operator's request, read from a real Gardener manifest.

Only the part that decides the switch is read: Kubernetes version, kube-apiserver feature gates and runtimeConfig, and the
network with its NetworkConfig. Other keys of a Shoot are ignored, but a key that resembles one of these is refused. A Shoot is
frozen; each further request of the operator is another Shoot (`with_overlay`, `with_network`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from gardener.network_config import API_VERSION, AddressFamily, Manifest, NetworkConfig, OverlayConfig, Switchable, check_cidr
from hitless.documents import Document, choose_document, look_up, parse_documents, read_documents, refuse_misplaced, validate
from hitless.errors import UsageError
from hitless.words import JsonObject, Mode, Overlay

DEFAULT_POD_CIDR: Final = "100.96.0.0/11"
"""Pod network of a Shoot that names none. Source: gardener example/50-seed.yaml, networks.shootDefaults.pods."""

DEFAULT_SERVICE_CIDR: Final = "100.64.0.0/13"
"""Service network of a Shoot that names none. Source: the same, networks.shootDefaults.services."""

DEFAULT_NODE_MASK: Final = 24
"""Prefix length of a node's podCIDR. Source: gardener pkg/apis/core/v1beta1/defaults_shoot.go, nodeCIDRMaskSize of 110 pods."""

NETWORK_CONFIG: Final = "spec.networking.providerConfig"
"""Where a Shoot keeps its NetworkConfig."""

DUAL_STACK_READY: Final = "DualStackNodesMigrationReady"
"""The constraint that keeps a Shoot that becomes dual-stack on its first address family. Source: gardener
pkg/apis/core/v1beta1/types_shoot.go ShootDualStackNodesMigrationReady."""

_VERSION: Final = re.compile(r"v?([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:\.[0-9]{1,6})?(?:[-+][-+.0-9A-Za-z]{1,64})?")


def _check_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise PydanticCustomError("version", "a Kubernetes version such as '1.36.1'")
    return text


class _Lenient(Manifest):
    """A part of a Shoot: fields that are read are validated, others are ignored."""

    model_config = ConfigDict(extra="ignore")


class Metadata(_Lenient):
    """metadata."""

    name: str = Field(min_length=1, max_length=63)
    namespace: str = "garden-dev"


class KubeApiServer(_Lenient):
    """spec.kubernetes.kubeAPIServer."""

    feature_gates: dict[str, bool] | None = None
    runtime_config: dict[str, bool] | None = None
    """API group and version, such as admissionregistration.k8s.io/v1beta1, to whether it is served."""


class KubeProxy(_Lenient):
    """spec.kubernetes.kubeProxy."""

    enabled: bool | None = None
    mode: Literal["IPTables", "IPVS", "NFTables"] | None = None


class KubeControllerManager(_Lenient):
    """spec.kubernetes.kubeControllerManager."""

    node_mask: Annotated[int, Field(ge=16, le=28)] | None = Field(None, alias="nodeCIDRMaskSize")


class Kubernetes(_Lenient):
    """spec.kubernetes."""

    version: Annotated[str, AfterValidator(_check_version)]
    kube_api_server: KubeApiServer | None = Field(None, alias="kubeAPIServer")
    kube_controller_manager: KubeControllerManager | None = None
    kube_proxy: KubeProxy | None = None


class Networking(_Lenient):
    """spec.networking."""

    type: Literal["calico"]
    pods: Annotated[str, AfterValidator(check_cidr)] | None = None
    nodes: Annotated[str, AfterValidator(check_cidr)] | None = None
    services: Annotated[str, AfterValidator(check_cidr)] | None = None
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = Field(
        ("IPv4",), alias="ipFamilies", min_length=1, max_length=2, strict=False
    )
    provider_config: NetworkConfig | None = None


class ShootSpec(_Lenient):
    """spec."""

    kubernetes: Kubernetes
    networking: Networking


class LastOperation(_Lenient):
    """status.lastOperation."""

    state: str = ""


class Constraint(_Lenient):
    """One of status.constraints."""

    type: str
    status: str


class Status(_Lenient):
    """status."""

    last_operation: LastOperation | None = None
    constraints: tuple[Constraint, ...] = Field(default=(), strict=False)


class Shoot(_Lenient):
    """One Shoot."""

    api_version: Literal["core.gardener.cloud/v1beta1"]
    kind: Literal["Shoot"]
    metadata: Metadata
    spec: ShootSpec
    status: Status = Status()

    @property
    def kubernetes(self) -> tuple[int, int]:
        """Major and minor Kubernetes version; pre-releases count as the release, as Gardener's version checks do."""
        match = _VERSION.fullmatch(self.spec.kubernetes.version)
        assert match is not None  # noqa: S101 - the validator has matched the same pattern
        return int(match[1]), int(match[2] or 0)

    @property
    def network(self) -> NetworkConfig | None:
        """The NetworkConfig, or None if the Shoot has no providerConfig."""
        return self.spec.networking.provider_config

    @property
    def overlay_enabled(self) -> bool:
        """The requested overlay: true if overlay or providerConfig is absent. Source: actuator_reconcile.go:395-406."""
        return self.network is None or self.network.overlay is None or self.network.overlay.enabled

    @property
    def mode(self) -> Mode:
        """The mode that the operator requests."""
        return Mode.OVERLAY if self.overlay_enabled else Mode.NATIVE

    @property
    def overlay(self) -> Overlay:
        """Which encapsulation the overlay uses while it is on."""
        return Overlay.VXLAN if self.network is not None and self.network.uses_vxlan else Overlay.IPIP

    @property
    def pod_cidr(self) -> str:
        """The pod network."""
        return self.spec.networking.pods or DEFAULT_POD_CIDR

    @property
    def service_cidr(self) -> str:
        """The network of ClusterIPs."""
        return self.spec.networking.services or DEFAULT_SERVICE_CIDR

    @property
    def node_mask(self) -> int:
        """Prefix length of a node's podCIDR."""
        manager = self.spec.kubernetes.kube_controller_manager
        return DEFAULT_NODE_MASK if manager is None or manager.node_mask is None else manager.node_mask

    @property
    def families(self) -> tuple[str, ...]:
        """The address families that the extension renders: only the first until the nodes are ready for the second.

        Source: actuator_reconcile.go:131-135; observed, v1.60-dev.
        """
        found = self.spec.networking.ip_families
        waits = any(entry.type == DUAL_STACK_READY and entry.status != "True" for entry in self.status.constraints)
        return found[:1] if waits else found

    def feature_gate(self, name: str) -> bool:
        """Return whether a feature gate of kube-apiserver is explicitly true."""
        server = self.spec.kubernetes.kube_api_server
        return server is not None and (server.feature_gates or {}).get(name, False)

    def serves(self, group_version: str) -> bool:
        """Return whether runtimeConfig explicitly serves an API group and version."""
        server = self.spec.kubernetes.kube_api_server
        return server is not None and (server.runtime_config or {}).get(group_version, False)

    def with_overlay(self, *, enabled: bool) -> Shoot:
        """Return the Shoot with overlay.enabled set; createPodRoutes stays."""
        old = self.network.overlay if self.network else None
        return self.with_network(
            overlay=OverlayConfig(enabled=enabled, create_pod_routes=old.create_pod_routes if old else None)
        )

    def with_mode(self, mode: Mode) -> Shoot:
        """Return the Shoot itself if it requests this mode already, else with the overlay switched."""
        return self if self.mode is mode else self.with_overlay(enabled=mode is Mode.OVERLAY)

    def with_vxlan(self, *, enabled: bool) -> Shoot:
        """Return the Shoot with the overlay's encapsulation chosen: VXLAN or IPIP."""
        return self if enabled == (self.overlay is Overlay.VXLAN) else self.with_network(vxlan=Switchable(enabled=enabled))

    def with_network(self, **changes: object) -> Shoot:
        """Return the Shoot with fields of its NetworkConfig changed, such as `veth_mtu="1430"`.

        Raises:
            UsageError: the change gives a NetworkConfig that is not allowed.
        """
        where = f"changed Shoot {self.metadata.name}"
        fields = {"api_version": API_VERSION, "kind": "NetworkConfig"} if self.network is None else dict(self.network)
        # Messages name fields as the manifest spells them.
        spelled = {NetworkConfig.model_fields[name].alias or name: value for name, value in {**fields, **changes}.items()}
        config = validate(NetworkConfig, spelled, where, NETWORK_CONFIG)
        networking = self.spec.networking.model_copy(update={"provider_config": config})
        shoot = self.model_copy(update={"spec": self.spec.model_copy(update={"networking": networking})})
        _check_combinations(shoot, where)
        return shoot


def load_shoot(path: Path) -> Shoot:
    """Read the one Shoot of a file. Raises UsageError."""
    return _choose_shoot(read_documents(path), str(path))


def parse_shoot(document: str | JsonObject, where: str) -> Shoot:
    """Read a Shoot from YAML text, which may hold other documents, or from a document that was read already.

    Raises:
        UsageError: file, path in the document, what was found, what is allowed.
    """
    if isinstance(document, str):
        return _choose_shoot(parse_documents(document, where), where)
    return _choose_shoot((Document(place="", content=document),), where)


def _choose_shoot(documents: Sequence[Document], where: str) -> Shoot:
    document = choose_document(documents, where, lambda content: content.get("kind") == "Shoot", "a Shoot")
    if document.content.get("kind") == "Shoot":
        _refuse_unread(Shoot, document.content, where, document.place, {})
        _check_version_given(document, where)
    shoot = validate(Shoot, document.content, where, document.place)
    _check_combinations(shoot, where)
    return shoot


def _refuse_unread(model: type[BaseModel], data: JsonObject, where: str, place: str, above: Mapping[str, str]) -> None:
    """Refuse keys that Gardener would not read either, if they resemble those that decide the switch.

    Args:
        model: what the mapping is read as.
        data: the mapping.
        where: how messages name the file.
        place: where it stands.
        above: keys that are read one level up, to their places.
    """
    at = f"{place}." if place else ""
    fields = {info.alias or name: _model_of(info.annotation) for name, info in model.model_fields.items()}
    below = {
        info.alias or name: f"{at}{key}.{info.alias or name}"
        for key, inner in fields.items()
        if inner is not None
        for name, info in inner.model_fields.items()
    }
    refuse_misplaced(data, where, place, fields.keys(), {**above, **below})
    for key, inner in fields.items():
        if inner is not None and isinstance(data.get(key), dict):
            _refuse_unread(inner, data[key], where, f"{at}{key}", {name: f"{at}{name}" for name in fields})


def _model_of(annotation: object) -> type[BaseModel] | None:
    """Return the model of a field that holds one, else None."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _check_version_given(document: Document, where: str) -> None:
    """Refuse a Shoot without a version: Gardener's default is not in the file.

    Source: gardener plugin/pkg/shoot/mutator/admission.go, defaultKubernetesVersion.
    """
    kubernetes = look_up(document.content, "spec", "kubernetes")
    if kubernetes is None or (isinstance(kubernetes, dict) and kubernetes.get("version") is None):
        raise UsageError(
            where=where,
            place=f"{document.place}.spec.kubernetes.version".lstrip("."),
            found="nothing",
            expected="a Kubernetes version, because the CloudProfile with the default is not in this file",
        )


def _check_combinations(shoot: Shoot, where: str) -> None:
    """Refuse fields that contradict each other. Raises UsageError."""
    for place, found, expected in _contradictions(shoot):
        raise UsageError(where=where, place=place, found=found, expected=expected)


def _contradictions(shoot: Shoot) -> Iterator[tuple[str, str, str]]:
    """Yield the fields that contradict another one: place, found value and expected value.

    Overlay with IPv6, VXLAN without overlay and every transition pass: nothing in the Calico extension refuses them.
    """
    config, families = shoot.network, shoot.spec.networking.ip_families
    operation = shoot.status.last_operation
    if operation is not None and operation.state == "Failed":
        allowed = "another state, because the extension does not reconcile the Network of a failed Shoot"
        yield "status.lastOperation.state", "Failed", allowed
    sections: dict[str, AddressFamily | None] = {"ipv4": config.ipv4, "ipv6": config.ipv6} if config else {}
    for name, section in sections.items():
        place = f"{NETWORK_CONFIG}.{name}"
        if section is not None and section.pool == "vxlan" and section.mode in {"CrossSubnet", "Off"}:
            yield f"{place}.mode", f'"{section.mode}" with pool vxlan', "Always, Never"
        if section is not None and f"IP{name[2:]}" not in families:
            yield place, "a mapping", f"no such section, because ipFamilies does not contain {name}"
    if config is not None and config.ipam is not None and config.ipam.type == "calico-ipam" and "IPv6" in families:
        yield f"{NETWORK_CONFIG}.ipam.type", '"calico-ipam" with IPv6', "host-local"
    if len(set(families)) != len(families):
        yield "spec.networking.ipFamilies", f"{families[0]} twice", "each family once"
    if "IPv4" in families:
        yield from _overlaps(shoot)


def _overlaps(shoot: Shoot) -> Iterator[tuple[str, str, str]]:
    """Yield networks of the wrong family or that overlap, as Gardener refuses. Source: pkg/utils/validation/cidr."""
    found = {"pods": shoot.pod_cidr, "nodes": shoot.spec.networking.nodes, "services": shoot.service_cidr}
    networks = {name: ipaddress.ip_network(text, strict=False) for name, text in found.items() if text is not None}
    for name, network in networks.items():
        if network.version != 4:  # noqa: PLR2004 - IPv4
            yield f"spec.networking.{name}", f'"{found[name]}"', "an IPv4 CIDR"
        if str(network) != found[name]:
            yield f"spec.networking.{name}", f'"{found[name]}"', f'"{network}"'
    for (one, first), (other, second) in combinations(networks.items(), 2):
        if first.overlaps(second):
            yield f"spec.networking.{one}", f'"{first}"', f"a network that does not overlap {other}, {second}"

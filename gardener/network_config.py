"""NetworkConfig: the part of a Shoot that configures the Calico extension.

The fields, their names and what is validated follow gardener-extension-networking-calico: unknown fields are refused
(its decoder is strict: pkg/controller/decode.go), and what it does not validate is not validated here either, because every
switch that the real admission accepts must be testable. Source: pkg/apis/calico/v1alpha1/types_network.go,
pkg/apis/calico/validation/networkconfig.go.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

API_VERSION: Final = "calico.networking.extensions.gardener.cloud/v1alpha1"
"""apiVersion of NetworkConfig. Source: pkg/apis/calico/v1alpha1/register.go."""

_METHODS: Final = ("can-reach", "cidr", "first-found", "interface", "kubernetes-internal-ip", "skip-interface")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _refusal(allowed: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed})


def check_cidr(text: str) -> str:
    """Return a CIDR unchanged. Raises PydanticCustomError if it is not one."""
    address, slash, length = text.partition("/")
    try:
        ipaddress.ip_network(f"{ipaddress.ip_address(address)}/{int(length)}", strict=False)
    except ValueError:
        slash = ""
    if not slash:
        raise _refusal("a CIDR such as 10.250.0.0/16")
    return text


def _check_mtu(text: str) -> str:
    if not re.fullmatch(r"\+?[0-9]{1,9}", text):
        raise _refusal("a number from 0 as text, such as '1440'")
    return text


def _check_method(text: str) -> str:
    """Check an autodetection method. Source: ValidateIPAutoDetectionMethod."""
    option, equals, parameter = text.partition("=")
    if option not in _METHODS:
        raise _refusal(f"one of {', '.join(_METHODS)}")
    if option in {"first-found", "kubernetes-internal-ip"}:
        if equals:
            raise _refusal(f"{option} without a parameter")
        return text
    if not parameter:
        raise _refusal(f"{option}=PARAMETER")
    if option == "cidr":
        check_cidr(parameter)
    elif option == "can-reach":
        _check_host(parameter)
    else:
        _check_pattern(parameter)
    return text


def _check_host(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if len(text) > 253 or not _DNS_NAME.fullmatch(text):  # noqa: PLR2004 - RFC 1123 as Kubernetes checks it
            raise _refusal("can-reach=ADDRESS or can-reach=NAME") from None


def _check_pattern(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns about patterns that Go's regexp accepts.
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise _refusal(f"a regular expression ({error})") from error


class Manifest(BaseModel):
    """A frozen part of a manifest, named as the API server names it; no conversion between types."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: object) -> object:
        """Treat a key without a value as missing, as the API server does."""
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class Strict(Manifest):
    """A part of NetworkConfig: it has no field that the real type lacks."""

    model_config = ConfigDict(extra="forbid")


class Switchable(Strict):
    """A feature with one switch."""

    enabled: bool = False
    """If it is missing or null it is false, as in Go: `overlay: {}` turns the overlay off. Source: observed, v1.60-dev."""


class OverlayConfig(Switchable):
    """`overlay`: whether pod packets are encapsulated."""

    create_pod_routes: bool | None = None
    """Keep BIRD programming routes without encapsulation; correct only if all nodes share one layer-2 network."""


class Ipam(Strict):
    """`ipam`: the source of the pods' addresses."""

    type: Literal["calico-ipam", "host-local", ""] = ""
    cidr: Annotated[str, AfterValidator(lambda text: text if text.lower() == "usepodcidr" else check_cidr(text))] | None = None
    """`usePodCidr` or a CIDR."""


class AddressFamily(Strict):
    """`ipv4`, `ipv6`: the pool and how a node finds its own address."""

    pool: Literal["ipip", "vxlan"] | None = None
    mode: Literal["Always", "Never", "CrossSubnet", "Off"] | None = None
    auto_detection_method: Annotated[str, AfterValidator(lambda text: text and _check_method(text))] | None = None


class AddressFamily6(AddressFamily):
    """`ipv6`."""

    source_nat_enabled: bool | None = Field(None, alias="sourceNATEnabled")


class Autoscaling(Strict):
    """`autoScaling`: how the resource requests of Calico's components are determined. Read, not rendered."""

    mode: Literal["cluster-proportional", "vpa", "static"]
    resources: dict[str, Any] | None = None


class Multus(Switchable):
    """`multus`. Read, not rendered."""

    install_cni_plugins: bool | None = Field(None, alias="installCNIPlugins")


class NetworkConfig(Strict):
    """The whole of spec.networking.providerConfig; the extension accepts it without apiVersion and kind. Source: observed."""

    api_version: Literal["calico.networking.extensions.gardener.cloud/v1alpha1"] = API_VERSION
    kind: Literal["NetworkConfig"] = "NetworkConfig"
    backend: Literal["bird", "none", "vxlan"] | None = None
    ipam: Ipam | None = None
    ipv4: AddressFamily | None = None
    ipv6: AddressFamily6 | None = None
    typha: Switchable | None = None
    veth_mtu: Annotated[str, AfterValidator(_check_mtu)] | None = Field(None, alias="vethMTU")
    """MTU of the pods' interface as text; "0" and None mean that Calico detects it."""
    ebpf_dataplane: Switchable | None = None
    overlay: OverlayConfig | None = None
    """None means the overlay is on."""
    snat_to_upstream_dns: Switchable | None = Field(None, alias="snatToUpstreamDNS")
    """None means on if and only if the overlay is explicitly off."""
    auto_scaling: Autoscaling | None = None
    vxlan: Switchable | None = None
    ipip: Literal["Always", "Never", "CrossSubnet", "Off"] | None = None
    """Deprecated; the webhook accepts it, and `ipv4` wins."""
    ip_autodetection_method: Annotated[str, AfterValidator(_check_method)] | None = None
    """Deprecated."""
    wireguard_encryption: bool = False
    bird_exporter: Switchable | None = None
    """Read, not rendered."""
    multus: Multus | None = None
    service_loop_prevention: Literal["Disabled", "Drop", "Reject"] | None = None

    @property
    def uses_vxlan(self) -> bool:
        """Whether `vxlan` is enabled, whatever the overlay says."""
        return self.vxlan is not None and self.vxlan.enabled

"""The feature gates of gardener-extension-networking-calico, read from where an operator sets them.

That is its ControllerConfiguration, or the ControllerDeployment that carries one as Helm values. Both feature gates are
alpha and off by default. Source: pkg/features/features.go:20,28.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hitless.documents import parse_document, read_document
from hitless.errors import UsageError

CONTROLLER_CONFIGURATION: Final = "calico.networking.extensions.config.gardener.cloud/v1alpha1"
"""apiVersion of ControllerConfiguration. Source: example/00-componentconfig.yaml."""

_VALUES_PLACES: Final[dict[str, tuple[str, ...]]] = {
    "core.gardener.cloud/v1beta1": ("providerConfig", "values"),
    "core.gardener.cloud/v1": ("helm", "values"),
}
"""apiVersion of a ControllerDeployment to where it keeps the Helm values. Source: networking-calico
docs/operations/operations.md (v1beta1), gardener's own patch of provider-local's ControllerDeployment (v1)."""

_NAMES: Final = ("SeamlessOverlaySwitch", "NonPrivilegedCalicoNode")
_GROUPS: Final = ("AllAlpha", "AllBeta")
"""Names that Kubernetes' featuregate package adds. Source: k8s.io/component-base/featuregate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGates:
    """The feature gates of the Calico extension."""

    seamless_overlay_switch: bool = False
    """Hold the switch from overlay to native until every node has its route."""
    non_privileged_calico_node: bool = False
    """Run the long-lived calico-node container without privilege."""


def load_feature_gates(path: Path) -> FeatureGates:
    """Read a ControllerConfiguration or ControllerDeployment. Raises UsageError."""
    return parse_feature_gates(read_document(path), str(path))


def parse_feature_gates(document: str | Mapping[str, Any], where: str) -> FeatureGates:
    """Read the feature gates from YAML text or from a document that was read already.

    Raises:
        UsageError: another kind, a feature gate that the extension does not know, a value that is not true or false.
    """
    data = parse_document(document, where) if isinstance(document, str) else document
    api_version, kind = data.get("apiVersion"), data.get("kind")
    if (api_version, kind) == (CONTROLLER_CONFIGURATION, "ControllerConfiguration"):
        return _read_gates(data, (), where)
    if kind == "ControllerDeployment" and isinstance(api_version, str) and api_version in _VALUES_PLACES:
        return _read_deployment(data, api_version, where)
    raise UsageError(
        where=where,
        place="kind",
        found=f"{kind!r} of {api_version!r}",
        allowed=f"ControllerConfiguration of {CONTROLLER_CONFIGURATION}, ControllerDeployment of {' or '.join(_VALUES_PLACES)}",
    )


def _read_deployment(data: Mapping[str, Any], api_version: str, where: str) -> FeatureGates:
    if api_version.endswith("/v1beta1") and data.get("type") != "helm":
        raise UsageError(where=where, place="type", found=repr(data.get("type")), allowed='"helm"')
    at: Mapping[str, Any] = data
    places = (*_VALUES_PLACES[api_version], "config")
    for depth, key in enumerate(places, start=1):
        step = at.get(key)
        if step is None:
            return FeatureGates()
        if not isinstance(step, Mapping):
            raise UsageError(where=where, place=".".join(places[:depth]), found=repr(step), allowed="a mapping")
        at = step
    return _read_gates(at, places, where)


def _read_gates(config: Mapping[str, Any], places: tuple[str, ...], where: str) -> FeatureGates:
    gates = config.get("featureGates")
    place = ".".join((*places, "featureGates"))
    if gates is None:
        return FeatureGates()
    if not isinstance(gates, Mapping):
        raise UsageError(where=where, place=place, found=repr(gates), allowed="a mapping")
    for name, value in gates.items():
        if name not in _NAMES + _GROUPS:
            raise UsageError(where=where, place=place, found=repr(name), allowed=", ".join(_NAMES + _GROUPS))
        if not isinstance(value, bool):
            raise UsageError(where=where, place=f"{place}.{name}", found=repr(value), allowed="true, false")
    default = gates.get("AllAlpha", False)
    return FeatureGates(
        seamless_overlay_switch=gates.get("SeamlessOverlaySwitch", default),
        non_privileged_calico_node=gates.get("NonPrivilegedCalicoNode", default),
    )

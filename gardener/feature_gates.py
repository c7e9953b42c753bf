"""The feature gates of gardener-extension-networking-calico, read from the operator's document.

That is its ControllerConfiguration, or the ControllerDeployment or operator Extension that carries one as Helm values. Both
feature gates are alpha and off by default. Source: pkg/features/features.go:20,28.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gardener.releases import LATEST, ExtensionRelease
from hitless.documents import Document, choose_document, look_up, misplaced, nearest, read_documents, refuse_misplaced
from hitless.errors import UsageError
from hitless.words import JsonObject

CONTROLLER_CONFIGURATION: Final = "calico.networking.extensions.config.gardener.cloud/v1alpha1"
"""apiVersion of ControllerConfiguration. Source: example/00-componentconfig.yaml."""

_CONFIG_PLACES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    (CONTROLLER_CONFIGURATION, "ControllerConfiguration"): (),
    ("core.gardener.cloud/v1beta1", "ControllerDeployment"): ("providerConfig", "values", "config"),
    ("core.gardener.cloud/v1", "ControllerDeployment"): ("helm", "values", "config"),
    ("operator.gardener.cloud/v1alpha1", "Extension"): ("spec", "deployment", "extension", "values", "config"),
}
"""apiVersion and kind of a document to where it keeps the ControllerConfiguration. Source: networking-calico
docs/operations/operations.md (v1beta1), gardener's own patch of provider-local's ControllerDeployment (v1), gardener
docs/concepts/operator.md (Extension)."""

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
    release: ExtensionRelease = LATEST
    """The release of the extension: not a feature gate, but also a property of the installed extension."""


def load_feature_gates(path: Path) -> FeatureGates:
    """Read the feature gates from a file: see `read_feature_gates`. Raises UsageError."""
    return read_feature_gates(read_documents(path), str(path))


def read_feature_gates(documents: Sequence[Document], where: str) -> FeatureGates:
    """Read the feature gates from the one of these documents that contains them.

    The others may be a ControllerRegistration, or another extension's deployment.

    Raises:
        UsageError: no document or two that could hold them, a feature gate that the extension does not know or that stands in
            another place, a value that is not true or false.
    """
    registered = {name for document in documents for name in _registered_deployments(document.content)}

    def is_wanted(content: JsonObject) -> bool:
        return _identify(content) in _CONFIG_PLACES and _is_calicos(content, registered)

    document = choose_document(documents, where, is_wanted, "the configuration of the Calico extension")
    data, at = document.content, f"{document.place}." if document.place else ""
    api_version, kind = _identify(data)
    places = _CONFIG_PLACES.get((api_version, kind))
    if places is None:
        allowed = ", ".join(f"{other} of {version}" for version, other in _CONFIG_PLACES)
        raise UsageError(where=where, place=f"{at}kind", found=f"{kind} of {api_version}", expected=allowed)
    if not _is_calicos(data, registered):
        found = f"{kind} {data['metadata']['name']}"
        allowed = "a name that contains calico, or a ControllerRegistration in the same file that refers to this deployment"
        raise UsageError(where=where, place=f"{at}metadata.name", found=found, expected=allowed)
    if (api_version, kind) == ("core.gardener.cloud/v1beta1", "ControllerDeployment") and data.get("type") != "helm":
        raise UsageError(where=where, place=f"{at}type", found=repr(data.get("type")), expected='"helm"')
    _refuse_elsewhere(data, where, at, (), (*places, "featureGates"))
    return _read_gates(_descend(data, where, at, places), places, where, at)


def _identify(content: JsonObject) -> tuple[str, str]:
    return str(content.get("apiVersion", "nothing")), str(content.get("kind", "nothing"))


def _registered_deployments(content: JsonObject) -> Iterator[str]:
    """Yield the names of the ControllerDeployments that a ControllerRegistration takes for Calico's."""
    references = look_up(content, "spec", "deployment", "deploymentRefs")
    if content.get("kind") == "ControllerRegistration" and _has_calico(content) and isinstance(references, list):
        names = (look_up(reference, "name") for reference in references)
        yield from (name for name in names if isinstance(name, str))


def _has_calico(content: JsonObject) -> bool:
    resources = look_up(content, "spec", "resources")
    wanted = ("Network", "calico")
    return isinstance(resources, list) and any(
        (look_up(entry, "kind"), look_up(entry, "type")) == wanted for entry in resources
    )


def _is_calicos(content: JsonObject, registered: Collection[str]) -> bool:
    """Return whether a document belongs to the Calico extension: by its resources, by its registration, or by its name."""
    if content.get("kind") == "ControllerConfiguration" or _has_calico(content):
        return True
    name = look_up(content, "metadata", "name")
    return name is None or name in registered or "calico" in str(name)


def _refuse_elsewhere(at: object, where: str, prefix: str, path: tuple[str, ...], right: tuple[str, ...]) -> None:
    """Refuse a feature gate in a place that the extension does not read, and keys that are nearly right."""
    if isinstance(at, list):
        for number, item in enumerate(at):
            _refuse_elsewhere(item, where, prefix, (*path, str(number)), right)
    if not isinstance(at, Mapping) or path == right:
        return
    if path == right[: len(path)]:
        refuse_misplaced(
            at, where, prefix + ".".join(path) if path else prefix.rstrip("."), right[len(path) : len(path) + 1], {}
        )
    for key, value in at.items():
        if key in _NAMES:
            raise misplaced(where, prefix + ".".join((*path, key)), ".".join((*right, key)))
        _refuse_elsewhere(value, where, prefix, (*path, key), right)


def _descend(data: JsonObject, where: str, prefix: str, places: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the mapping at a place; an empty one where it is left out."""
    at: Mapping[str, Any] = data
    for depth, key in enumerate(places, start=1):
        step = at.get(key)
        if step is None:
            return {}
        if not isinstance(step, Mapping):
            raise UsageError(where=where, place=prefix + ".".join(places[:depth]), found=repr(step), expected="a mapping")
        at = step
    return at


def _read_gates(config: Mapping[str, Any], places: tuple[str, ...], where: str, prefix: str) -> FeatureGates:
    gates = config.get("featureGates")
    place = prefix + ".".join((*places, "featureGates"))
    if gates is None:
        return FeatureGates()
    if not isinstance(gates, Mapping):
        raise UsageError(where=where, place=place, found=repr(gates), expected="a mapping")
    for name, value in gates.items():
        if name not in _NAMES + _GROUPS:
            meant = nearest(str(name), _NAMES + _GROUPS)
            allowed = ", ".join(_NAMES + _GROUPS) + (f"; probably {meant}" if meant else "")
            raise UsageError(where=where, place=place, found=repr(name), expected=allowed)
        if not isinstance(value, bool):
            raise UsageError(where=where, place=f"{place}.{name}", found=repr(value), expected="true, false")
    default = gates.get("AllAlpha", False)
    return FeatureGates(
        seamless_overlay_switch=gates.get("SeamlessOverlaySwitch", default),
        non_privileged_calico_node=gates.get("NonPrivilegedCalicoNode", default),
    )

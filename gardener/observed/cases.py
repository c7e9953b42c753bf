"""The observed decisions of the real extension, each with its input, and the double's decision on that input.

`decisions.tsv` has what two releases of the extension decided; its head states the date, the API server and the defaults of the
cases. `CASES` builds the same input for `gardener.gate.decide`, and names the cases in which the double differs on purpose.
Errors and requests that never settle count as one outcome here: hitless refuses such a Shoot and names the field.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gardener.conditions import route_condition
from gardener.feature_gates import FeatureGates
from gardener.gate import GateDecision, GateInput, Outcome, Reason, decide
from gardener.manifests.render import render
from gardener.releases import ExtensionRelease
from gardener.shoot import parse_shoot
from hitless.calico import is_calico_node
from hitless.documents import parse_documents
from hitless.errors import UsageError
from hitless.objects import containers_of
from hitless.words import JsonObject

_ON: Final[JsonObject] = {"overlay": {"enabled": True}}
_OFF: Final[JsonObject] = {"overlay": {"enabled": False}}
_GROUP: Final = "calico.networking.extensions.gardener.cloud"
_HEAD: Final = {"apiVersion": f"{_GROUP}/v1alpha1", "kind": "NetworkConfig"}

Manifest = list[JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The input of one row; the defaults are those of the table's head."""

    before: JsonObject | None = field(default_factory=lambda: dict(_ON))
    """NetworkConfig from which the last manifest was rendered, without apiVersion and kind."""
    after: JsonObject | None = field(default_factory=lambda: {**_HEAD, **_OFF})
    """spec.networking.providerConfig now."""
    held: JsonObject | None = None
    """spec.networking.providerConfig of an earlier request that is held; None: there is none."""
    operation: str = "reconcile"
    """Operation in the Network's annotation: reconcile, migrate or restore."""
    kubernetes: JsonObject = field(default_factory=dict)
    """Additional fields of spec.kubernetes, or a replacement of version 1.36.1."""
    networking: JsonObject | None = field(default_factory=dict)
    """Fields of spec.networking that replace the defaults; null removes a field; None: there is no such section."""
    shoot: JsonObject = field(default_factory=dict)
    """Fields of the Shoot beside spec.kubernetes and spec.networking."""
    edit: Callable[[Manifest], Manifest | None] = list
    """Turns the rendered manifest into the one that the extension finds; None: the extension finds none that it can read."""
    nodes: tuple[JsonObject, ...] | None = None
    """Conditions of the nodes, one each; None: one node with RouteCreated and one without a condition."""
    api_error: str = ""
    """Why the nodes cannot be listed; empty: they can."""
    double: str = ""
    """The double's decision, if it differs on purpose, in the table's words."""
    because: str = ""
    """Why it differs."""

    def make_shoot(self, config: JsonObject | None) -> JsonObject:
        """Return the Shoot as a document, with a NetworkConfig."""
        spec: dict[str, Any] = {"kubernetes": {"version": "1.36.1", **self.kubernetes}}
        if self.networking is not None:
            usual = {"type": "calico", "pods": "100.96.0.0/11", "nodes": "10.250.0.0/16", "providerConfig": config}
            spec["networking"] = {key: value for key, value in {**usual, **self.networking}.items() if value is not None}
        metadata = {"name": "observed", **self.shoot.get("metadata", {})}
        rest = {key: value for key, value in self.shoot.items() if key not in {"metadata", "spec"}}
        spec |= self.shoot.get("spec", {})
        return {"apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": metadata, "spec": spec, **rest}

    def make_nodes(self) -> tuple[JsonObject, ...] | None:
        """Return the Node objects, or None if the API does not give them."""
        if self.api_error:
            return None
        conditions = (route_condition(is_created=True), {}) if self.nodes is None else self.nodes
        return tuple(
            {"kind": "Node", "metadata": {"name": f"node-{number}"}, "status": {"conditions": [entry] if entry else []}}
            for number, entry in enumerate(conditions)
        )


def _server(*served: str, gate: object = True, **more: object) -> JsonObject:
    """Return spec.kubernetes of a Shoot of 1.35 that serves these API versions, by default with the feature gate on."""
    config: JsonObject = dict.fromkeys(served, True)
    return {
        "version": "1.35.0",
        "kubeAPIServer": {"featureGates": {"MutatingAdmissionPolicy": gate}, "runtimeConfig": config, **more},
    }


def _admission(version: str) -> str:
    return f"admissionregistration.k8s.io/{version}"


def _edit(change: Callable[[JsonObject], object]) -> Callable[[Manifest], Manifest]:
    """Return an edit of only the DaemonSet."""

    def edit(manifest: Manifest) -> Manifest:
        manifest = copy.deepcopy(manifest)
        change(next(document for document in manifest if is_calico_node(document)))
        return manifest

    return edit


def _variable(**entry: object) -> Callable[[Manifest], Manifest]:
    """Return an edit that writes FELIX_IPINIPENABLED otherwise."""

    def change(daemon_set: JsonObject) -> None:
        for container in containers_of(daemon_set):
            for found in container.get("env") or ():
                if found["name"] == "FELIX_IPINIPENABLED":
                    del found["value"]
                    found.update(entry)

    return _edit(change)


def _move_environment(daemon_set: JsonObject) -> None:
    containers = daemon_set["spec"]["template"]["spec"]["containers"]
    containers.append({"name": "other", "env": containers[0].pop("env")})


def _clear_environment(daemon_set: JsonObject) -> None:
    for container in containers_of(daemon_set):
        container["env"] = None


def _reread(line_end: str) -> Callable[[Manifest], Manifest]:
    """Return an edit that writes the manifest as JSON documents and reads it back."""

    def edit(manifest: Manifest) -> Manifest:
        text = "\n---\n".join(json.dumps(document, indent=1) for document in manifest).replace("\n", line_end)
        return [document.content for document in parse_documents(text, "manifest")]

    return edit


def _unreadable(_: Manifest) -> None:
    """Return an empty manifest."""


def _condition(**changes: str) -> tuple[JsonObject, ...]:
    return ({**route_condition(is_created=True), **changes},)


_V1ALPHA1, _V1BETA1 = _admission("v1alpha1"), _admission("v1beta1")
_REFUSED: Final = 'failed to get server groups: Get "https://SHOOT/api": dial tcp ADDRESS: ...'
_UNAUTHORISED: Final = "failed to get server groups: the server has asked for the client to provide credentials"

CASES: Final[Mapping[str, Case]] = {
    **{
        f"version '{version}'": Case(kubernetes={"version": version})
        for version in (
            "1.36.0-rc.1", "1.36.0-alpha.0", "v1.36.1", "1.36", "1.36.1-gke.100", "1.36.1+abc", "1.35.99", "1.100.0", "2.0.0",
            "1", "01.36.1", "1.36.1.2", "latest", "", "1.36.0-rc_1",
        )
    },
    "1.35 api/all true": Case(kubernetes=_server("api/all")),
    "1.35 api/beta true": Case(kubernetes=_server("api/beta")),
    "1.35 v1 only": Case(kubernetes=_server(_admission("v1"))),
    "1.35 both false": Case(kubernetes=_server(runtimeConfig={_V1ALPHA1: False, _V1BETA1: False})),
    "1.35 AllBeta": Case(kubernetes=_server(_V1BETA1, featureGates={"AllBeta": True})),
    "1.35 AllAlpha+AllBeta": Case(kubernetes=_server(_V1ALPHA1, _V1BETA1, featureGates={"AllAlpha": True, "AllBeta": True})),
    "1.35 kubeAPIServer {}": Case(kubernetes={"version": "1.35.0", "kubeAPIServer": {}}),
    "1.35 kubeAPIServer absent": Case(kubernetes={"version": "1.35.0"}),
    "1.35 featureGates {}": Case(kubernetes=_server(_V1BETA1, featureGates={})),
    "1.35 runtimeConfig null": Case(kubernetes=_server(runtimeConfig=None)),
    '1.35 string "true"': Case(kubernetes=_server(_V1BETA1, gate="true")),
    "1.36, feature gate false and runtimeConfig false": Case(
        kubernetes={**_server(gate=False, runtimeConfig={_V1BETA1: False}), "version": "1.36.1"}
    ),
    "after: overlay: {}": Case(after={**_HEAD, "overlay": {}}),
    "after: overlay: null": Case(after={**_HEAD, "overlay": None}),
    "after: overlay: {createPodRoutes: true}": Case(after={**_HEAD, "overlay": {"createPodRoutes": True}}),
    "after: other apiVersion v1beta1": Case(after={**_HEAD, **_OFF, "apiVersion": f"{_GROUP}/v1beta1"}),
    "after: internal apiVersion __internal": Case(after={**_HEAD, **_OFF, "apiVersion": f"{_GROUP}/__internal"}),
    "after: no apiVersion, no kind": Case(after=_OFF),
    "after: kind NetworkStatus": Case(after={**_HEAD, **_OFF, "kind": "NetworkStatus"}),
    "after: unknown field": Case(after={**_HEAD, **_OFF, "foo": "bar"}),
    "after: Overlay capital": Case(after={**_HEAD, "Overlay": {"enabled": False}}),
    'after: enabled: "false"': Case(after={**_HEAD, "overlay": {"enabled": "false"}}),
    "after: enabled: null": Case(after={**_HEAD, "overlay": {"enabled": None}}),
    "after: invalid elsewhere (vethMTU -1)": Case(after={**_HEAD, **_OFF, "vethMTU": "-1"}),
    "after: ipv4.mode Always with overlay off": Case(after={**_HEAD, **_OFF, "ipv4": {"mode": "Always"}}),
    "after: vxlan.enabled, overlay absent (after)": Case(after={**_HEAD, "vxlan": {"enabled": True}}),
    "before: backend none": Case(before={"backend": "none"}),
    "before: ipv4.mode Never": Case(before={"ipv4": {"mode": "Never"}}),
    "before: ipv4.mode Off": Case(before={"ipv4": {"mode": "Off"}}),
    "before: ipip Never (deprecated)": Case(before={"ipip": "Never"}),
    "before: ipv4.pool vxlan": Case(before={"ipv4": {"pool": "vxlan"}}),
    "before: ipv4.pool vxlan mode Never": Case(before={"ipv4": {"pool": "vxlan", "mode": "Never"}}),
    "before: vxlan.enabled, overlay absent": Case(before={"vxlan": {"enabled": True}}),
    "before: overlay on + backend none": Case(before={**_ON, "backend": "none"}),
    # The chart's eBPF section leaves the variables that the gate reads as they are.
    "before: ebpf + overlay on": Case(after={**_HEAD, **_OFF, "ebpfDataplane": {"enabled": True}}),
    "before: createPodRoutes": Case(before={"overlay": {"enabled": False, "createPodRoutes": True}}),
    "before: wireguard": Case(before={**_ON, "wireguardEncryption": True}),
    "before: overlay on, vxlan, ipam host-local": Case(
        before={**_ON, "vxlan": {"enabled": True}, "ipam": {"type": "host-local"}}
    ),
    "dual-stack, constraint DualStackNodesMigrationReady=False": Case(
        networking={"ipFamilies": ["IPv4", "IPv6"]},
        shoot={"status": {"constraints": [{"type": "DualStackNodesMigrationReady", "status": "False"}]}},
    ),
    "secret under another key": Case(),
    "secret gzip-compressed": Case(edit=_unreadable),
    "secret brotli data.yaml.br (as gardener core compresses)": Case(edit=_unreadable),
    "two secrets, DaemonSet in the second": Case(edit=lambda manifest: manifest[::-1]),
    "two secrets, the first does not exist": Case(edit=_unreadable),
    "secret deleted": Case(edit=_unreadable),
    "no secretRefs": Case(edit=_unreadable),
    "DaemonSet extensions/v1beta1": Case(edit=_edit(lambda daemon_set: daemon_set.update(apiVersion="extensions/v1beta1"))),
    **{
        f"FELIX_IPINIPENABLED value {value!r}": Case(edit=_variable(value=value))
        for value in ("True", "TRUE", "1", "yes", "enabled", True)
    },
    "FELIX_IPINIPENABLED from configMapKeyRef": Case(
        edit=_variable(valueFrom={"configMapKeyRef": {"name": "calico-config", "key": "ipip"}})
    ),
    "env only in another container": Case(edit=_edit(_move_environment)),
    "garbage document before it": Case(edit=lambda manifest: [{"garbage": "document"}, *manifest]),
    "JSON documents": Case(edit=_reread("\n")),
    "CRLF lines": Case(edit=_reread("\r\n")),
    "env: null": Case(edit=_edit(_clear_environment)),
    'node: status "false"': Case(nodes=_condition(status="false")),
    'node: reason "routecreated"': Case(nodes=_condition(reason="routecreated")),
    "node: status empty": Case(nodes=_condition(status="")),
    "node: reason empty": Case(nodes=_condition(reason="")),
    "node: message other": Case(nodes=_condition(message="other")),
    "networking.nodes absent": Case(networking={"nodes": None}),
    "hibernated: API away, nodes unknown": Case(shoot={"spec": {"hibernation": {"enabled": True}}}, api_error=_REFUSED),
    "hibernated, woken up: API there, no node yet": Case(nodes=()),
    "purpose infrastructure, provider workerless": Case(shoot={"spec": {"purpose": "infrastructure", "provider": {}}}),
    "kube-proxy disabled without eBPF": Case(kubernetes={"kubeProxy": {"enabled": False}}),
    "kube-proxy disabled without eBPF, nodes ready": Case(kubernetes={"kubeProxy": {"enabled": False}}, nodes=_condition()),
    # The panic comes after the gate: if a node lacks its route, the program holds first.
    "Shoot without networking section": Case(networking=None, nodes=_condition()),
    "Shoot status Failed": Case(shoot={"status": {"lastOperation": {"state": "Failed"}}}),
    "Shoot with deletionTimestamp": Case(shoot={"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    "operation restore, ManagedResource there": Case(
        operation="restore",
        double="hold",
        because="it never settles because the gate holds, 14 times a second: gardener.doubles.extension",
    ),
    "operation restore, new seed (no ManagedResource)": Case(
        operation="restore",
        edit=_unreadable,
        double="not-applicable(unreadable)",
        because="the double says why the gate does not apply",
    ),
    "operation migrate": Case(operation="migrate", edit=_unreadable),
    "no kubeconfig secret": Case(
        api_error='secrets "gardener" not found',
        because="the double has no kubeconfig: both errors of its API read as one that does not answer",
    ),
    "kubeconfig token refused (401)": Case(api_error=_UNAUTHORISED),
    "overlay off, then on again while held -> no switch": Case(
        held={**_HEAD, **_OFF},
        after={**_HEAD, **_ON},
        double="not-applicable",
        because="the table says that the request was carried out, not why",
    ),
}  # fmt: skip
"""Name of a row to its input."""


def render_before(case: Case, release: ExtensionRelease) -> tuple[JsonObject, ...]:
    """Return the manifest of the Shoot before the change. Raises UsageError."""
    status = {key: value for key, value in case.shoot.get("status", {}).items() if key != "lastOperation"}
    earlier = replace(case, networking=case.networking or {}, kubernetes={}, shoot={**case.shoot, "status": status})
    return render(parse_shoot(earlier.make_shoot(case.before), "before"), _gates(release))


def ask_double(case: Case, release: ExtensionRelease) -> GateDecision | None:
    """Return the double's decision, or None if it refuses the Shoot, before the gate or after it."""
    try:
        manifest = list(render_before(case, release))
        shoot = parse_shoot(case.make_shoot(case.after), "after")
        decision = decide(
            GateInput(
                feature_gates=_gates(release),
                shoot=shoot,
                last_manifest=case.edit(manifest),
                nodes=case.make_nodes(),
                api_error=case.api_error or None,
            )
        )
        if decision.outcome is not Outcome.HOLD:
            render(shoot, _gates(release))
    except UsageError:
        return None
    return decision


def say(decision: GateDecision | None) -> str:
    """Return a decision in the table's words; `refused` where the double refuses the Shoot."""
    match decision:
        case None:
            return "refused"
        case GateDecision(outcome=Outcome.HOLD, missing=()):
            return "hold(api)"
        case GateDecision(reason=Reason.MANIFEST_UNREADABLE):
            return "not-applicable(unreadable)"
        case _:
            return decision.outcome.value


def _gates(release: ExtensionRelease) -> FeatureGates:
    return FeatureGates(seamless_overlay_switch=True, release=release)

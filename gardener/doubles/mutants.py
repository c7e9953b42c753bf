"""Deliberately broken gates. The decision table and the scenarios must catch each of them.

Each is wrong in one way, which a row of the decision table describes (tests/decision_table.py). It changes the input of the
decision or the judgement of the nodes; `python -m tests.mutants` shows what catches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from gardener.conditions import network_unavailable
from gardener.gate import (
    WAITING,
    Gate,
    GateDecision,
    GateInput,
    Outcome,
    Reason,
    decide,
    decide_with,
    has_route_created,
    is_overlay_written,
    missing_nodes,
)
from hitless.objects import is_ready, name_of
from hitless.words import JsonObject

Entries = Sequence[JsonObject]
"""The NetworkUnavailable entries of a node."""


def _judging_nodes(passes: Callable[[JsonObject], bool]) -> Gate:
    """Judge each node in another way."""
    return partial(decide_with, missing=lambda nodes: tuple(name_of(node) for node in nodes if not passes(node)))


def _judging_entries(passes: Callable[[Entries], bool]) -> Gate:
    """Judge each node by its NetworkUnavailable entries in another way."""
    return _judging_nodes(lambda node: passes(network_unavailable(node)))


def _leaving_out(kept: Callable[[Sequence[JsonObject]], Sequence[JsonObject]]) -> Gate:
    """Check only some of the nodes."""
    return partial(decide_with, missing=lambda nodes: missing_nodes(kept(nodes)))


def _unless(reason: Reason) -> Gate:
    """Check the nodes although the gate does not apply for this reason."""

    def gate(knowledge: GateInput) -> GateDecision:
        decision = decide(knowledge)
        return _ask_nodes(knowledge) if decision.reason is reason else decision

    return gate


def _ask_nodes(knowledge: GateInput) -> GateDecision:
    missing = missing_nodes(knowledge.nodes or ())
    if missing or knowledge.nodes is None:
        return GateDecision(outcome=Outcome.HOLD, missing=missing, error=WAITING)
    return GateDecision(outcome=Outcome.PROCEED)


def _pair(entry: JsonObject) -> tuple[str, str]:
    return str(entry.get("status")), str(entry.get("reason"))


def _say(entries: Entries, status: str = "False") -> bool:
    return any(_pair(entry) == (status, "RouteCreated") for entry in entries)


def _opens_on_first_node(nodes: Sequence[JsonObject]) -> tuple[str, ...]:
    missing = missing_nodes(nodes)
    return missing if len(missing) == len(nodes) else ()


def _never_applies(_: GateInput) -> GateDecision:
    return GateDecision(outcome=Outcome.NOT_APPLICABLE, reason=Reason.FEATURE_GATE_OFF)


def _holds_without_nodes(knowledge: GateInput) -> GateDecision:
    decision = decide(knowledge)
    is_empty = decision.outcome is Outcome.PROCEED and not knowledge.nodes
    return GateDecision(outcome=Outcome.HOLD, error=WAITING) if is_empty else decision


def _holds_backwards_too(knowledge: GateInput) -> GateDecision:
    """Apply the gate to the way back from native to overlay as well."""
    is_back = is_overlay_written(knowledge.last_manifest) is False and knowledge.shoot.overlay_enabled
    is_on = decide(knowledge).reason is Reason.NO_SWITCH_FROM_OVERLAY
    return _ask_nodes(knowledge) if is_back and is_on else decide(knowledge)


def _opens_on_api_error(knowledge: GateInput) -> GateDecision:
    decision = decide(knowledge)
    is_blind = decision.outcome is Outcome.HOLD and knowledge.nodes is None
    return GateDecision(outcome=Outcome.PROCEED) if is_blind else decision


def _with_versions(*versions: str) -> Gate:
    """Decide as if the release knew these API versions."""

    def gate(knowledge: GateInput) -> GateDecision:
        gates = knowledge.feature_gates
        release = replace(gates.release, admission_versions=versions)
        return decide(replace(knowledge, feature_gates=replace(gates, release=release)))

    return gate


MUTANTS: Final[Mapping[str, Gate]] = MappingProxyType(
    {
        "opens-on-first-node": partial(decide_with, missing=_opens_on_first_node),
        "looks-at-first-node": _leaving_out(lambda nodes: nodes[:1]),
        "forgets-last-node": _leaving_out(lambda nodes: nodes[:-1]),
        "skips-deleting-nodes": _leaving_out(
            lambda nodes: [node for node in nodes if "deletionTimestamp" not in node["metadata"]]
        ),
        "waits-for-ready": _judging_nodes(lambda node: has_route_created(node) and is_ready(node)),
        "ignores-reason": _judging_entries(lambda entries: any(_pair(entry)[0] == "False" for entry in entries)),
        "ignores-status": _judging_entries(lambda entries: any(_pair(entry)[1] == "RouteCreated" for entry in entries)),
        "ignores-type": _judging_nodes(lambda node: _say((node.get("status") or {}).get("conditions") or ())),
        "takes-unknown-for-false": _judging_entries(lambda entries: _say(entries) or _say(entries, "Unknown")),
        "takes-absent-for-created": _judging_entries(lambda entries: not entries or _say(entries)),
        "believes-first-entry": _judging_entries(lambda entries: _say(entries[:1])),
        "believes-last-entry": _judging_entries(lambda entries: _say(entries[-1:])),
        "ignores-case": _judging_entries(
            lambda entries: any(tuple(map(str.lower, _pair(entry))) == ("false", "routecreated") for entry in entries)
        ),
        "holds-without-nodes": _holds_without_nodes,
        "opens-on-api-error": _opens_on_api_error,
        "never-applies": _never_applies,
        "ignores-feature-gate": _unless(Reason.FEATURE_GATE_OFF),
        "ignores-policy": _unless(Reason.ADMISSION_POLICY_UNAVAILABLE),
        "wants-no-v1alpha1": _with_versions("v1beta1"),
        "wants-no-v1beta1": _with_versions("v1alpha1"),
        "takes-v1-below-1-36": _with_versions("v1alpha1", "v1beta1", "v1"),
        "fails-closed": _unless(Reason.MANIFEST_UNREADABLE),
        "holds-without-switch": _unless(Reason.NO_SWITCH_FROM_OVERLAY),
        "holds-backwards-too": _holds_backwards_too,
    }
)
"""Name to broken gate, as a scenario names it."""

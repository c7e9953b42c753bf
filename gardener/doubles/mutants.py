"""Gates that are broken on purpose: the checks must catch them.

Each breaks one thing only, the judgement over the nodes; feature gate, versions and manifest are read as the real one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gardener.conditions import network_unavailable
from gardener.gate import Gate, GateDecision, GateInput, decide_with, missing_nodes
from hitless.words import JsonObject


def opens_on_first_node(knowledge: GateInput) -> GateDecision:
    """Proceed as soon as one node has its route."""
    return decide_with(knowledge, _missing_until_one_is_ready)


def ignores_reason(knowledge: GateInput) -> GateDecision:
    """Take NetworkUnavailable=False for a route, no matter who wrote it: calico-node's own CalicoIsUp opens this gate."""
    return decide_with(knowledge, _missing_where_not_false)


def _missing_until_one_is_ready(nodes: Sequence[JsonObject]) -> tuple[str, ...]:
    missing = missing_nodes(nodes)
    return missing if len(missing) == len(nodes) else ()


def _missing_where_not_false(nodes: Sequence[JsonObject]) -> tuple[str, ...]:
    return tuple(node["metadata"]["name"] for node in nodes if not _is_false_for_any_reason(node))


def _is_false_for_any_reason(node: JsonObject) -> bool:
    return any(entry.get("status") == "False" for entry in network_unavailable(node))


MUTANTS: Final[Mapping[str, Gate]] = MappingProxyType(
    {
        "opens-on-first-node": opens_on_first_node,
        "ignores-reason": ignores_reason,
    }
)
"""Name to broken gate, as a scenario names it."""

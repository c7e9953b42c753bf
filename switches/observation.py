"""Events from the objects of a cluster, now and before: the rules by which observed changes are recorded.

The events have the names and facts of `hitless.events`: reports and checks read them like those of the doubles. What the
cluster does not show is not recorded: the gate, the Shoot and the cloud's route tables. The operator's request is dated by its
first trace in the cluster, which comes later than the request.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gardener.conditions import NETWORK_UNAVAILABLE, network_unavailable
from hitless.calico import CALICO_NODE, is_calico_pod, pool_mode, template_mode
from hitless.objects import is_behind, is_ready, is_rolled, name_of
from hitless.words import JsonObject, Kind, Mode

UNKNOWN: Final = "unknown"
"""Actor of a condition whose managedFields do not say who wrote it."""

Sighting = tuple[str, dict[str, Any]]
"""Name of an event, and its facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The objects at one instant."""

    nodes: Mapping[str, JsonObject]
    """By name."""
    daemon_set: JsonObject | None
    """calico-node; None: there is none."""
    pools: Mapping[str, JsonObject]
    """IPPools by name."""
    pods: Mapping[str, JsonObject]
    """The pods of calico-node, by UID."""
    rolling: int | None
    """Generation of the DaemonSet that is being rolled out; None: none is."""

    @property
    def modes(self) -> frozenset[Mode]:
        """The modes that the DaemonSet and the pools ask for: one, except during a switch."""
        return frozenset(self._pool_modes | ({template_mode(self.daemon_set)} if self.daemon_set else set()))

    @property
    def mode(self) -> Mode:
        """The mode of the pools, which is the one that routes follow."""
        return Mode.OVERLAY if Mode.OVERLAY in self._pool_modes else Mode.NATIVE

    @property
    def _pool_modes(self) -> set[Mode]:
        return {mode for pool in self.pools.values() if (mode := pool_mode(pool)) is not None}


def observe(
    before: Observed | None,
    *,
    nodes: Sequence[JsonObject],
    daemon_sets: Sequence[JsonObject],
    pools: Sequence[JsonObject],
    pods: Sequence[JsonObject],
) -> Observed:
    """Return the present objects; `before` says whether a roll was in progress."""
    daemon_set = next((one for one in daemon_sets if name_of(one) == CALICO_NODE), None)
    rolling = None
    if daemon_set is not None and not is_rolled(daemon_set):
        generation = daemon_set["metadata"].get("generation", 0)
        if before is None or before.daemon_set is None:
            rolling = generation if daemon_set.get("status") and is_behind(daemon_set) else None
        else:
            rolling = generation if _has_new_template(before.daemon_set, daemon_set) else before.rolling
    return Observed(
        nodes={name_of(node): node for node in nodes},
        daemon_set=daemon_set,
        pools={name_of(pool): pool for pool in pools},
        pods={_uid(pod): pod for pod in pods if is_calico_pod(pod) and pod["spec"].get("nodeName")},
        rolling=rolling,
    )


def compare(before: Observed, after: Observed) -> tuple[Sighting, ...]:
    """Return the events between two observations, causes before effects."""
    return (
        *_compare_conditions(before.nodes, after.nodes),
        *_compare_daemon_sets(before.daemon_set, after.daemon_set),
        *_compare_pools(before.pools, after.pools),
        *_begin_roll(before, after),
        *_compare_pods(before.pods, after.pods),
        *_end_roll(before, after),
    )


def _compare_conditions(before: Mapping[str, JsonObject], after: Mapping[str, JsonObject]) -> Iterator[Sighting]:
    for name in sorted(before.keys() - after.keys()):
        yield "object.deleted", {"kind": Kind.NODE.value, "name": name}
    for name, node in sorted(after.items()):
        was = network_unavailable(before.get(name, {}))[:1]
        now = network_unavailable(node)[:1]
        said = [(entry.get("status"), entry.get("reason")) for entry in (*was, *now)]
        if now and (not was or said[0] != said[1]):
            status, reason = said[-1]
            actor = _find_writer(before.get(name), node)
            yield "condition.written", {"node": name, "status": status, "reason": reason, "actor": actor}
        elif was and not now:
            yield "condition.removed", {"node": name, "reason": said[0][1], "actor": UNKNOWN}


def _compare_daemon_sets(before: JsonObject | None, after: JsonObject | None) -> Iterator[Sighting]:
    if after is None:
        if before is not None:
            yield "object.deleted", {"kind": Kind.DAEMON_SET.value, "name": CALICO_NODE}
    elif before is None or before.get("spec") != after.get("spec"):
        yield "manifest.applied", {"kind": Kind.DAEMON_SET.value, "name": CALICO_NODE, "mode": template_mode(after).value}


def _compare_pools(before: Mapping[str, JsonObject], after: Mapping[str, JsonObject]) -> Iterator[Sighting]:
    for name in sorted(before.keys() - after.keys()):
        yield "object.deleted", {"kind": Kind.IP_POOL.value, "name": name}
    for name, pool in sorted(after.items()):
        if name not in before or before[name].get("spec") != pool.get("spec"):
            mode = pool_mode(pool)
            yield "manifest.applied", {"kind": Kind.IP_POOL.value, "name": name, "mode": None if mode is None else mode.value}


def _begin_roll(before: Observed, after: Observed) -> Iterator[Sighting]:
    if before.daemon_set is None or after.daemon_set is None:
        return
    if _has_new_template(before.daemon_set, after.daemon_set):
        yield "roll.started", {"generation": after.daemon_set["metadata"].get("generation", 0)}


def _end_roll(before: Observed, after: Observed) -> Iterator[Sighting]:
    if before.daemon_set is None or after.daemon_set is None or after.rolling is not None:
        return
    if _has_new_template(before.daemon_set, after.daemon_set):
        yield "roll.finished", {"generation": after.daemon_set["metadata"].get("generation", 0)}
    elif before.rolling is not None:
        yield "roll.finished", {"generation": before.rolling}


def _has_new_template(before: JsonObject, after: JsonObject) -> bool:
    return bool(before.get("spec", {}).get("template") != after.get("spec", {}).get("template"))


def _compare_pods(before: Mapping[str, JsonObject], after: Mapping[str, JsonObject]) -> Iterator[Sighting]:
    for uid in sorted(before.keys() - after.keys(), key=lambda uid: name_of(before[uid])):
        yield "pod.deleted", _pod_facts(before[uid])
    for uid, pod in sorted(after.items(), key=lambda item: name_of(item[1])):
        if uid not in before:
            yield "pod.created", _pod_facts(pod)
        if is_ready(pod) and not (uid in before and is_ready(before[uid])):
            yield "pod.ready", _pod_facts(pod)


def _pod_facts(pod: JsonObject) -> dict[str, Any]:
    return {"node": pod["spec"].get("nodeName"), "pod": name_of(pod)}


def _uid(document: JsonObject) -> str:
    uid: str = document["metadata"].get("uid") or name_of(document)
    return uid


def _find_writer(before: JsonObject | None, after: JsonObject) -> str:
    """Return which field manager wrote NetworkUnavailable; unknown unless exactly one manager's entry moved with the content.

    A write whose content an admission policy put back still makes its author the owner of the field, so being the owner
    proves nothing. Source: Kubernetes API concepts, server-side apply; seen on a real API server.
    """
    past = _find_writes(before or {"metadata": {}})
    writers = {manager for _, manager in _find_writes(after) - past}
    return writers.pop() if len(writers) == 1 else UNKNOWN


def _find_writes(node: JsonObject) -> set[tuple[str, str]]:
    """Return time and field manager of each entry that owns a part of NetworkUnavailable."""
    key = "k:" + json.dumps({"type": NETWORK_UNAVAILABLE}, separators=(",", ":"))
    return {
        (entry.get("time") or "", entry.get("manager") or UNKNOWN)
        for entry in node["metadata"].get("managedFields") or ()
        if key in (((entry.get("fieldsV1") or {}).get("f:status") or {}).get("f:conditions") or {})
    }

"""Observers: participants that record the acts of other parts as the same events.

Real Calico rolls, replaces pods and writes conditions of its own. The performer of the switch changes the manifests and the
conditions of routes. If doubles do that, they record it, and only Calico is observed.

The events follow from the objects of a cluster, now and before. They have the names and facts of `hitless.events`: reports and
checks read them like those of the doubles. What the cluster does not show is not recorded: the gate, the Shoot and the cloud's
route tables. The operator's request is dated by its first trace in the cluster, which comes later than the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from gardener.conditions import CALICO_REASONS, NETWORK_UNAVAILABLE, network_unavailable
from hitless.calico import CALICO_NODE, is_calico_pod, pool_mode, template_mode
from hitless.errors import ApiUnavailableError
from hitless.events import Recorder
from hitless.facts import GARDENER_PARTS, ClusterFacts, PartIdentity
from hitless.faults import FaultTable
from hitless.objects import is_behind, is_ready, is_rolled, name_of
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster, KubeApi, Participant
from hitless.words import SECOND, JsonObject, Kind, Mode, Nanoseconds

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
        """The modes of the DaemonSet and the pools: one, except during a switch."""
        return frozenset(self._pool_modes | ({template_mode(self.daemon_set)} if self.daemon_set else set()))

    @property
    def mode(self) -> Mode:
        """The mode of the pools, which the routes follow."""
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
    was, now = ({} if one.daemon_set is None else {CALICO_NODE: one.daemon_set} for one in (before, after))
    begun, ended = _compare_rolls(before, after)
    return (
        *_compare_conditions(before.nodes, after.nodes),
        *_compare_specs(Kind.DAEMON_SET, was, now, template_mode),
        *_compare_specs(Kind.IP_POOL, before.pools, after.pools, pool_mode),
        *begun,
        *_compare_pods(before.pods, after.pods),
        *ended,
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


def _compare_specs(
    kind: Kind, before: Mapping[str, JsonObject], after: Mapping[str, JsonObject], mode_of: Callable[[JsonObject], Mode | None]
) -> Iterator[Sighting]:
    for name in sorted(before.keys() - after.keys()):
        yield "object.deleted", {"kind": kind.value, "name": name}
    for name, document in sorted(after.items()):
        if name not in before or before[name].get("spec") != document.get("spec"):
            mode = mode_of(document)
            yield "manifest.applied", {"kind": kind.value, "name": name, "mode": None if mode is None else mode.value}


def _compare_rolls(before: Observed, after: Observed) -> tuple[list[Sighting], list[Sighting]]:
    """Return the beginning and the end of a roll, where there is one."""
    if before.daemon_set is None or after.daemon_set is None:
        return [], []
    begun, rolling = [], before.rolling
    if _has_new_template(before.daemon_set, after.daemon_set):
        rolling = after.daemon_set["metadata"].get("generation", 0)
        begun = [("roll.started", {"generation": rolling})]
    is_over = rolling is not None and after.rolling is None
    return begun, [("roll.finished", {"generation": rolling})] if is_over else []


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


KINDS: Final = (Kind.NODE, Kind.DAEMON_SET, Kind.IP_POOL, Kind.POD)
"""All that is read of a cluster."""
CHECKS: Final = frozenset({"continuity", "connections", "sources", "hygiene"})
"""The checks that an observed run can answer; those of validity always run."""
PARTS: Final = tuple(PartIdentity(name=name, is_double=False, version="") for name in GARDENER_PARTS)
"""Who switches an observed cluster: real programs whose versions cannot be seen from inside it."""
AGENT_MARGIN_NS: Final = Nanoseconds(120 * SECOND)
"""Agents that nothing stops end by themselves this long after the observation should have ended."""
_NO_PATIENCE_NS: Final = Nanoseconds(0)
_RETRY_NS: Final = Nanoseconds(1 * SECOND)
"""While the API is away."""


class CalicoObserver:
    """Records what real Calico does: the roll of its DaemonSet, its pods, its conditions.

    It is settled when the roll is over, so that a run never ends before.
    """

    name: Final = "observer"
    """Of a SwitchObserver as well: it takes this one's place in a run, see `hitless.ports.Participant`."""
    watches: Final = frozenset(KINDS)

    def __init__(self, kube: KubeApi, recorder: Recorder, patience_ns: Nanoseconds = _NO_PATIENCE_NS) -> None:
        self._kube, self._recorder, self._patience_ns = kube, recorder, patience_ns
        self._seen = look(kube)
        self._due_ns: Nanoseconds | None = None

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Look, and record what has changed since the last look; see Participant."""
        if self._due_ns is None:
            self._due_ns = Nanoseconds(now_ns + self._patience_ns)
        if now_ns < self._due_ns:
            return self._due_ns
        self._due_ns = None
        return None if self._look() else Nanoseconds(now_ns + _RETRY_NS)

    def is_settled(self) -> bool:
        """Return whether no roll is in progress: every pod of calico-node has the present template and is available."""
        # The watch may not have reported yet what a participant has just applied, so only a fresh look counts.
        return self._seen.rolling is None and self._look() and self._seen.rolling is None

    def _look(self) -> bool:
        """Return whether the API answered."""
        try:
            seen = look(self._kube, self._seen)
        except ApiUnavailableError:
            return False
        sightings, self._seen = compare(self._seen, seen), seen
        if sightings:
            self._take(sightings)
        return True

    def _take(self, sightings: Sequence[Sighting]) -> None:
        for name, facts in filter(_is_calicos, sightings):
            self._recorder.record(name, **facts)


class SwitchObserver(CalicoObserver):
    """Records a switch that someone else performs: request, manifests, every condition, and what Calico does.

    One look serves both. It is a Switch, too, which does nothing itself; see `hitless.plan.Switch`.
    """

    def __init__(self, *, kube: KubeApi, recorder: Recorder, clock: Clock, options: ObserverOptions) -> None:
        super().__init__(kube, recorder)
        self._clock, self._options = clock, options
        self._start_mode = self._seen.mode
        self._changed_ns = clock.now_ns()
        self._has_switched = False
        self.faults = FaultTable({})
        """None: nothing is broken in a cluster that is only watched."""

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who takes part in the loop."""
        return (self,)

    def request(self, number: int) -> None:
        """Request nothing: someone else does."""

    def is_settled(self) -> bool:
        """Return whether the watch is over: the operator ended it, or a switch is complete."""
        if self._options.is_asked_to_end():
            return True
        is_at_rest = self._has_switched and self._seen.rolling is None and len(self._seen.modes) == 1
        idle_s = self._options.idle_s
        return idle_s is not None and is_at_rest and self._clock.now_ns() - self._changed_ns >= idle_s * SECOND

    def _take(self, sightings: Sequence[Sighting]) -> None:
        self._changed_ns = self._clock.now_ns()
        for name, facts in sightings:
            mode = facts.get("mode")
            if not self._has_switched and mode is not None and mode != self._start_mode:
                # The first trace of the operator's request, which is not made in this cluster.
                self._has_switched = True
                self._recorder.record("switch.requested", mode=mode)
            self._recorder.record(name, **facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverOptions:
    """When an observed switch is over."""

    until_s: float = 3600.0
    """At the latest after this."""
    idle_s: float | None = 60.0
    """When a switch was seen and nothing has changed for this long; None: not on its own."""
    is_asked_to_end: Callable[[], bool] = lambda: False
    """Whether the operator wants the watch to end."""

    @property
    def until_ns(self) -> Nanoseconds:
        """The time at the latest."""
        return Nanoseconds(round(self.until_s * SECOND))


def observe_switch(
    clock: Clock, options: ObserverOptions, cluster: Cluster, _: ClusterFacts, recorder: Recorder
) -> SwitchObserver:
    """Begin to observe a cluster that is up. Raises ApiError."""
    return SwitchObserver(kube=cluster.kube, recorder=recorder, clock=clock, options=options)


def observe_plan(plan: RunPlan, clock: Clock, options: ObserverOptions) -> RunPlan:
    """Return a plan without everything that would change the cluster: someone else performs the switch."""
    duration_ns = options.until_ns if plan.requests_ns else plan.duration_ns_max
    checks = {name: budgets for name, budgets in plan.header.checks.items() if name in CHECKS}
    return replace(
        plan,
        header=replace(plan.header, checks={"continuity": {}, **checks}, parts=PARTS),
        probing=replace(plan.probing, duration_ns_max=Nanoseconds(duration_ns + plan.header.validation_ns + AGENT_MARGIN_NS)),
        make_switch=partial(observe_switch, clock, options),
        faults=(),
        calibration_ns=None,
        baseline_ns=Nanoseconds(0),
        duration_ns_max=duration_ns,
        requests_ns=(),
    )


def look(kube: KubeApi, before: Observed | None = None) -> Observed:
    """Read everything that an observer needs. Raises ApiError."""
    nodes, daemon_sets, pools, pods = map(kube.list, KINDS)
    return observe(before, nodes=nodes, daemon_sets=daemon_sets, pools=pools, pods=pods)


def other_mode(mode: Mode) -> Mode:
    """Return the mode that a switch leads to."""
    return Mode.NATIVE if mode is Mode.OVERLAY else Mode.OVERLAY


def _is_calicos(sighting: Sighting) -> bool:
    """Return whether calico-node or its DaemonSet controller did it; a condition of Calico's is removed by others."""
    name, facts = sighting
    return name.partition(".")[0] in {"roll", "pod"} or (name == "condition.written" and facts["reason"] in CALICO_REASONS)

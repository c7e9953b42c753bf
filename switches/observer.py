"""Observers: participants that only look, and record what other parts do to a cluster as the same events.

Real Calico rolls, replaces pods and writes conditions of its own. The performer of the switch changes the manifests and the
conditions of routes. Where the doubles do that, they record it, and Calico alone is observed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gardener.conditions import CALICO_REASONS
from hitless.errors import ApiUnavailableError
from hitless.events import Recorder
from hitless.facts import GARDENER_PARTS, ClusterFacts, PartIdentity
from hitless.fault_table import FaultTable
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster, KubeApi, Participant
from hitless.words import SECOND, Kind, Mode, Nanoseconds
from switches.observation import Observed, Sighting, compare, observe

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

    Args:
        kube: the API.
        recorder: records the events.
        clock: the run clock.
        options: when the switch is over.
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
                # The first trace of what the operator asked for; the request itself is not made in this cluster.
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
    """Return a plan without everything that would change the cluster: someone else performs the switch.

    Args:
        plan: as the doubles would carry it out.
        clock: the run clock.
        options: how long someone else may take to switch, and when it is over.
    """
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

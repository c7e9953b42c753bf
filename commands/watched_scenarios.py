"""`pytest suites/ --backend kubeconfig`: scenarios on a cluster that is not ours, while somebody else switches it.

What a scenario asks for is not done: no request is made, no fault injected, no double of Gardener takes part. Only the probers
are put into the cluster, as by `hitless watch`; a scenario says which flows are probed, from which mode to which, and with
which budgets. What can only be judged by parts of ours (ordering, convergence, books) is not judged. Whatever would need
hitless to act is refused, and the refusal says what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from clusters.kubernetes.api_calls import connect
from clusters.kubernetes.kube import KindKube
from clusters.kubernetes.pod_host import KubePodHost
from clusters.kubernetes.prober import KindProber
from clusters.kubernetes.prober_manifests import ProberSpec
from clusters.kubernetes.prober_pods import ProberPods
from clusters.kubernetes.watched import CAPABILITIES, WatchedCluster, read_overlay
from commands.watching import AGENT_MARGIN_NS, Watching, WatchOptions, check_records
from hitless.errors import WorldError
from hitless.events import Recorder
from hitless.facts import ClusterFacts
from hitless.history import History
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster, KubeApi
from hitless.words import SECOND, Arm, Capability, Kind, Nanoseconds, Verdict
from scenarios.flows import SERVICE_SETS, capabilities_of
from scenarios.model import Cloud
from scenarios.plan import Case, make_plan
from switches.observer import KINDS, look

CHECKS: Final = frozenset({"continuity", "connections", "sources", "hygiene"})
"""What can be judged by what is seen from outside; the checks of validity come by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedScenarios:
    """The cluster of a kubeconfig, as a place where scenarios can be watched."""

    kubeconfig: Path
    options: WatchOptions

    def make_cluster(self, _case: Case, _clock: Clock) -> Cluster:
        """Return the cluster, not connected yet. Raises UsageError: the kubeconfig cannot be used."""
        calls = connect(self.kubeconfig)
        spec = ProberSpec(image=self.options.image, namespace=self.options.namespace)
        pods = ProberPods(KubePodHost(calls, self.kubeconfig), spec)
        return ConnectedCluster(KindKube(calls), pods, self.options)

    def find_missing(self, case: Case) -> tuple[str, ...]:
        """Return what a scenario needs and the cluster, as it is now, is not. Raises ApiError, UsageError."""
        kube = KindKube(connect(self.kubeconfig))
        try:
            return find_mismatches(kube, case)
        finally:
            kube.stop()

    def make_plan(self, case: Case, arm: Arm, trial: int, clock: Clock) -> RunPlan:
        """Return the plan of a watch; see `plan_watch`."""
        return plan_watch(make_plan(case, arm, trial, clock), clock, self.options)


class ConnectedCluster(WatchedCluster):
    """A cluster that is watched from `up` to `down`.

    Args:
        connection: its API.
        pods: where the probers go.
        options: what bounds the records.
    """

    def __init__(self, connection: KindKube, pods: ProberPods, options: WatchOptions) -> None:
        super().__init__(kube=connection, pods=pods, prober=KindProber(pods))
        self._connection, self._options = connection, options

    def up(self) -> ClusterFacts:
        """Begin to watch, put the probers in. Raises WorldError, UsageError; `down` is to be called all the same."""
        self._connection.start(KINDS)
        check_records(self._options, len(self.kube.list(Kind.NODE)))
        return super().up()

    def down(self) -> None:
        """Take the probers away, end the watch. Safe to call twice."""
        try:
            super().down()
        finally:
            self._connection.stop()


def find_act(case: Case, arm: Arm) -> str | None:
    """Return what hitless itself would have to do for an arm to be what the scenario says; None: nothing."""
    scenario, plan = case.scenario, case.scenario.arm_plans[arm]
    acts = {
        f"inject faults ({', '.join(fault.name for fault in scenario.faults)})": bool(scenario.faults),
        f"break the gate ({plan.mutant})": plan.mutant is not None,
        "make the cloud behave as the scenario says": scenario.cloud != Cloud(),
        "configure the extension": scenario.controller_configuration is not None,
        f"switch without the gate, as {arm} does": arm is Arm.UNGATED and scenario.has_request,
        f"bring about what comes to {plan.expect}": plan.expect is not Verdict.PASS,
    }
    return next((act for act, is_needed in acts.items() if is_needed), None)


def find_mismatches(kube: KubeApi, case: Case) -> tuple[str, ...]:
    """Return why a cluster, as it is now, is not the one that a scenario starts from. Raises ApiError."""
    seen, scenario = look(kube), case.scenario
    needed = {*scenario.needs, *capabilities_of(case.flow_sets)} - CAPABILITIES
    # Its own controllers write its routes, and its own calico-node masquerades.
    needed -= {Capability.ROUTE_TABLES} | (set() if SERVICE_SETS & set(case.flow_sets) else {Capability.NFT})
    missing: list[str] = sorted(needed)
    if len(seen.nodes) < 2:  # noqa: PLR2004 - a mesh needs two ends
        missing.append(f"two nodes: the cluster has {len(seen.nodes)}")
    if seen.mode is not scenario.start:
        missing.append(f"a cluster in mode {scenario.start}: it is in {seen.mode}")
    overlay = read_overlay(seen)
    if overlay is not case.overlay:
        missing.append(f"the overlay {case.overlay}: it is {overlay}")
    return tuple(missing)


def plan_watch(plan: RunPlan, clock: Clock, options: WatchOptions) -> RunPlan:
    """Return a scenario's plan without everything that would change the cluster.

    Args:
        plan: as on a cluster of ours.
        clock: the run clock.
        options: how long somebody else may take to switch, and when it is over.
    """
    is_switch = plan.has_request
    duration_ns = Nanoseconds(round(options.until_s * SECOND)) if is_switch else plan.duration_ns_max
    checks = {name: budgets for name, budgets in plan.header.checks.items() if name in CHECKS}

    def make_switch(cluster: Cluster, _: ClusterFacts, recorder: Recorder) -> Watching:
        return Watching.of(cluster, recorder, clock, options)

    return replace(
        plan,
        header=replace(plan.header, checks={"continuity": {}, **checks}),
        probing=replace(plan.probing, duration_ns_max=Nanoseconds(duration_ns + plan.header.validation_ns + AGENT_MARGIN_NS)),
        make_switch=make_switch,
        faults=(),
        calibration_ns=None,
        baseline_ns=Nanoseconds(0),
        duration_ns_max=duration_ns,
        has_request=False,
    )


def confirm_switched(case: Case, history: History) -> None:
    """Raise WorldError where nobody switched the cluster: the run says nothing about the scenario."""
    if case.scenario.has_request and history.first_event("switch.requested") is None:
        waited_s = history.events[-1].t_ns / SECOND if history.events else 0.0
        raise WorldError(f"nobody switched the cluster to {case.scenario.wanted} within {waited_s:.0f} s")

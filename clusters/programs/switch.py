"""The switch with programs: receives the operator's request, and adapts a scenario's plan."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from clusters.programs.cluster import ProgramCluster, Programs
from clusters.programs.identity import identify
from gardener.releases import LATEST, ExtensionRelease, find_release
from hitless.errors import BugError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, Part
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster
from hitless.words import Arm
from scenarios.plan import Case, make_switch_spec
from switches.doubles import Switch, make_switch


def plan_programs(plan: RunPlan, programs: Programs, case: Case, arm: Arm, clock: Clock) -> RunPlan:
    """Return a plan whose switch has the programs in it; the cluster states their identities."""
    parts = tuple(part for part in plan.header.parts if part.name not in programs)
    return replace(plan, header=replace(plan.header, parts=parts), make_switch=partial(_make_switch, case, arm, clock))


def find_program_release(programs: Programs) -> ExtensionRelease:
    """Return the release of the extension, as the program states it; the latest where it is a double, or cannot be asked."""
    path = programs.get(Part.EXTENSION)
    return LATEST if path is None or not path.is_file() else find_release(identify(Part.EXTENSION, path).version)


def surround(cluster: Cluster, programs: Programs, case: Case, arm: Arm, directory: Path, clock: Clock) -> ProgramCluster:
    """Return a cluster with the programs around it, not up yet. Raises MissingCapabilityError."""
    gates = make_switch_spec(case, arm).feature_gates
    if Part.EXTENSION in programs:
        gates = replace(gates, release=find_program_release(programs))
    return ProgramCluster(cluster, programs, case, feature_gates=gates, directory=directory, clock=clock)


def _make_switch(case: Case, arm: Arm, clock: Clock, cluster: Cluster, facts: ClusterFacts, recorder: Recorder) -> Switch:
    if not isinstance(cluster, ProgramCluster):
        raise BugError("programs were planned for a cluster without programs")
    switch = make_switch(
        make_switch_spec(case, arm),
        kube=cluster.kube,
        routes=cluster.routes,
        recorder=recorder,
        clock=clock,
        extension=cluster.extension,
        route_controller=cluster.route_controller,
    )
    if cluster.extension is not None:
        if case.scenario.initial.manifest == "unreadable":
            cluster.extension.compress_manifest()
        cluster.extension.begin()
    case.scenario.initial.prepare(cluster.kube, switch.cloud.tables, facts, recorder)
    return switch

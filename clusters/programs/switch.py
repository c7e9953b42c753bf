"""The switch with programs in it: what the operator's request reaches, and what a scenario's plan becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from clusters.programs.api_server import find_assets
from clusters.programs.cluster import ProgramCluster, Programs, ProgramSpec
from clusters.programs.extension import ExtensionProgram
from clusters.programs.identity import identify
from clusters.programs.route_controller import RouteControllerProgram
from gardener.doubles.control_plane import ControlPlane
from gardener.doubles.extension import Extension
from gardener.doubles.propagation import Propagation
from gardener.doubles.route_controller import RouteController
from gardener.releases import LATEST, ExtensionRelease, find_release
from gardener.shoot import Shoot
from hitless.errors import BugError
from hitless.events import Recorder
from hitless.facts import ClusterFacts, Part
from hitless.fault_table import Fault, FaultTable
from hitless.plan import RunPlan
from hitless.ports import Clock, Cluster, Participant
from hitless.words import Arm
from scenarios.plan import Case, make_switch_spec
from switches.doubles import make_switch, migrate, take_away


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSwitch:
    """Gardener's parts in one run, some of them programs; see `hitless.plan.Switch`."""

    extension: Extension | ExtensionProgram
    control_plane: ControlPlane
    route_controller: RouteController | RouteControllerProgram
    propagation: Propagation | None
    """None: routes are effective at once."""
    recorder: Recorder
    wanted: tuple[Shoot, ...]
    """What the operator asks for, one request after the other."""
    clock: Clock

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who takes part in the loop; a route controller that is a program is the cluster's participant."""
        controller = self.route_controller
        double = () if isinstance(controller, RouteControllerProgram) else (controller,)
        later = () if self.propagation is None else (self.propagation,)
        return (self.extension, self.control_plane, *double, *later)

    @property
    def faults(self) -> FaultTable:
        """What can be broken in the parts themselves."""
        extension = self.extension
        return FaultTable(
            {
                "route-controller-away": take_away(self.route_controller, self.clock),
                "extension-away": take_away(extension, self.clock),
                "network-annotated": Fault(inject=lambda _: extension.annotate(self.clock.now_ns()), cure=lambda _: None),
                "control-plane-migrated": migrate(extension, self.control_plane, self.route_controller, self.clock),
            }
        )

    def request(self, number: int) -> None:
        """Change the Shoot as the scenario says."""
        wanted = self.wanted[number]
        event = self.recorder.record("switch.requested", mode=wanted.mode.value)
        self.extension.request(wanted, event.t_ns)
        self.control_plane.request(wanted, event.t_ns)


def plan_programs(plan: RunPlan, programs: Programs, case: Case, arm: Arm, clock: Clock) -> RunPlan:
    """Return a plan whose switch has the programs in it; the cluster states their identities."""
    parts = tuple(part for part in plan.header.parts if part.name not in programs.by_part())
    return replace(plan, header=replace(plan.header, parts=parts), make_switch=partial(_make_switch, case, arm, clock))


def find_program_release(programs: Programs) -> ExtensionRelease:
    """Return the release of the extension, as the program states it; the latest where it is a double, or cannot be asked."""
    path = programs.extension
    return LATEST if path is None or not path.is_file() else find_release(identify(Part.EXTENSION, path).version)


def surround(cluster: Cluster, programs: Programs, case: Case, arm: Arm, directory: Path, clock: Clock) -> ProgramCluster:
    """Return a cluster with the programs around it, not up yet. Raises MissingCapabilityError."""
    spec = make_switch_spec(case, arm)
    gates = spec.feature_gates
    if programs.extension is not None:
        gates = replace(gates, release=find_program_release(programs))
    return ProgramCluster(
        cluster,
        ProgramSpec(
            programs=programs,
            assets=find_assets(),
            shoot=case.shoot,
            feature_gates=gates,
            timings=case.timings,
            calico_version=case.feature_gates.release.calico_version,
            behaviour=case.behaviour,
            directory=directory,
        ),
        clock,
    )


def _make_switch(
    case: Case, arm: Arm, clock: Clock, cluster: Cluster, facts: ClusterFacts, recorder: Recorder
) -> ProgramSwitch:
    if not isinstance(cluster, ProgramCluster):
        raise BugError("programs were planned for a cluster that has none around it")
    spec = make_switch_spec(case, arm)
    doubles = make_switch(spec, kube=cluster.kube, routes=cluster.routes, recorder=recorder, clock=clock)
    controller = cluster.route_controller or doubles.route_controller
    control_plane = ControlPlane(
        kube=cluster.kube, recorder=recorder, timings=case.timings, shoot=case.shoot, controller=controller
    )
    if cluster.extension is not None:
        if case.scenario.initial.manifest == "unreadable":
            cluster.extension.compress_manifest()
        cluster.extension.begin(recorder)
    case.scenario.initial.prepare(cluster.kube, doubles.cloud.tables, facts, recorder)
    return ProgramSwitch(
        extension=cluster.extension or doubles.extension,
        control_plane=control_plane,
        route_controller=controller,
        propagation=doubles.propagation if doubles.cloud.behaviour.effective_ns else None,
        recorder=recorder,
        wanted=case.wanted,
        clock=clock,
    )

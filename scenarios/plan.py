"""From a scenario, an arm and the options to the frozen plan of one run."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import Final

from gardener.doubles.cloud import CloudBehaviour
from gardener.doubles.mutants import MUTANTS
from gardener.feature_gates import FeatureGates, load_feature_gates
from gardener.gate import Gate, decide
from gardener.releases import RELEASES
from gardener.shoot import Shoot, load_shoot
from gardener.timings import TIMINGS, Timings
from hitless.documents import MisfitError
from hitless.errors import UsageError
from hitless.events import Recorder
from hitless.facts import GARDENER_PARTS, ClusterFacts, PartIdentity, ProbeSpec
from hitless.history import RunHeader
from hitless.plan import PlannedFault, RunPlan
from hitless.plural import plural
from hitless.ports import Clock, Cluster
from hitless.words import MILLISECOND, SECOND, Arm, Capability, FlowSet, IpipCarrier, Nanoseconds, Overlay, Profile
from probes.stamp import SSID_MAX
from scenarios.flows import capabilities_of, count_flows, make_flows
from scenarios.mesh import FULL_MESH, Mesh
from scenarios.model import RATE_HZ_MAX, RATE_HZ_MIN, Scenario
from scenarios.parts import NODES_MAX, Topology, make_load
from switches.doubles import Switch, SwitchSpec, make_switch

FORWARDING_DELAY_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)
"""An answer that takes longer counts as lost. Source: RFC 6412 3.7.6 leaves the value to the tester; docs/measuring.md."""

VALIDATION_NS: Final = {Profile.FAST: Nanoseconds(1 * SECOND), Profile.GARDENER: Nanoseconds(5 * SECOND)}
"""Sustained Convergence Validation Time. Source: RFC 6412 3.7.5 says 5 s; the fast profile uses less and its reports say so."""

CALIBRATION_INTERVALS: Final = (20.0, 30.0)
"""A calibration pulse lasts a random real number of probe intervals within these bounds: its phase is never the probes'."""
CALIBRATION_NS_MIN: Final = Nanoseconds(50 * MILLISECOND)
"""Shortest pulse: at high rates the calls that begin and end it would otherwise take a large part of it."""

_AGENT_MARGIN_NS: Final = Nanoseconds(60 * SECOND)
"""If the harness cannot stop them, agents end by themselves at most this long after the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Changes to a scenario from the command line; None: no change."""

    profile: Profile = Profile.FAST
    overlay: Overlay | None = None
    zones: int | None = None
    nodes_per_zone: int | None = None
    rate_hz: float | None = None
    carrier: IpipCarrier | None = None
    """Of a lab's overlay ipip; None: the kernel's own, or what stands in for it."""
    calico_version: str | None = None
    """Calico that the extension renders; None: what its release renders."""
    mesh: Mesh = FULL_MESH
    """Which pairs of nodes are probed."""

    def size(self, scenario: Scenario) -> tuple[int, int]:
        """Return how many zones there are, and nodes in each."""
        topology = scenario.topology
        zones = topology.zones if self.zones is None else self.zones
        return zones, topology.nodes_per_zone if self.nodes_per_zone is None else self.nodes_per_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scenario with the options applied: what a cluster needs to know before it comes up."""

    scenario: Scenario
    profile: Profile
    overlay: Overlay
    timings: Timings
    shoot: Shoot
    """The Shoot before the operator's request."""
    wanted: tuple[Shoot, ...]
    """The Shoot after each of the operator's requests."""
    feature_gates: FeatureGates
    """Of the extension; the arm sets SeamlessOverlaySwitch."""
    behaviour: CloudBehaviour
    carrier: IpipCarrier | None = None
    """See `Options.carrier`."""
    mesh: Mesh = FULL_MESH
    """Which pairs of nodes are probed."""

    @property
    def flow_sets(self) -> tuple[FlowSet, ...]:
        """The sets of flows that are probed."""
        return self.scenario.flows.of(self.profile)

    @property
    def needs(self) -> frozenset[Capability]:
        """The capabilities that a cluster must have to run it: the scenario's own, its flows', and the overlay."""
        overlay = Capability.OVERLAY_VXLAN if self.overlay is Overlay.VXLAN else Capability.OVERLAY_IPIP
        return self.scenario.needs | capabilities_of(self.flow_sets) | {overlay}

    @property
    def has_arranged_blocks(self) -> bool:
        """Whether a cluster has to put calico-ipam's blocks into the nodes' podCIDRs."""
        return self.scenario.pod_addresses == "pod-cidr" and self.overlay is Overlay.VXLAN


def make_case(scenario: Scenario, options: Options) -> Case:
    """Apply the options to a scenario.

    Raises UsageError: an option is out of range, the scenario does not fit it, or the Shoot or the controller configuration
    cannot be read.
    """
    scenario = _apply(scenario, options)
    shoot = load_shoot(scenario.shoot)
    zones = scenario.topology.node_zones
    flows = count_flows(zones, scenario.flows.of(options.profile), options.mesh, len(shoot.families))
    if flows > SSID_MAX:
        allowed = (
            f"at most {SSID_MAX:,}, what one prober can distinguish; use --mesh covering, or fewer --zones or --nodes-per-zone"
        )
        raise UsageError(
            where=str(scenario.file), place="flows", found=f"{plural(flows, 'flow')} in this topology", expected=allowed
        )
    if options.overlay is not None:
        shoot = shoot.with_vxlan(enabled=options.overlay is Overlay.VXLAN)
    if options.carrier is not None and shoot.overlay is not Overlay.IPIP:
        found = f"{options.carrier} for the overlay {shoot.overlay}"
        raise UsageError(where="--carrier", found=found, expected=f"the overlay {Overlay.IPIP}")
    configuration, release = scenario.controller_configuration, RELEASES[scenario.extension]
    profile = options.profile
    timings = TIMINGS[profile]
    cloud = scenario.cloud
    if cloud.control_plane_ms is not None:
        timings = replace(timings, control_plane_reconcile_ns=cloud.control_plane_ms.ns(profile, MILLISECOND))
    if cloud.create_ms is not None:
        timings = replace(timings, route_create_ns=cloud.create_ms.ns(profile, MILLISECOND))
    return Case(
        scenario=scenario,
        profile=profile,
        overlay=shoot.overlay,
        timings=timings,
        shoot=shoot,
        wanted=scenario.change_shoot(shoot),
        feature_gates=replace(
            FeatureGates() if configuration is None else load_feature_gates(configuration),
            release=release if options.calico_version is None else replace(release, calico_version=options.calico_version),
        ),
        carrier=options.carrier,
        mesh=options.mesh,
        behaviour=CloudBehaviour(
            create_ns=timings.route_create_ns,
            quota=dict(cloud.quota),
            calls_per_second=None if cloud.calls_per_s is None else cloud.calls_per_s.of(profile),
            effective_ns=cloud.effective_ms.ns(profile, MILLISECOND),
        ),
    )


def _apply(scenario: Scenario, options: Options) -> Scenario:
    """Return the scenario with topology and rate as the options say. Raises UsageError."""
    zones, nodes_per_zone = options.size(scenario)
    for option, number, most in (("--zones", zones, 26), ("--nodes-per-zone", nodes_per_zone, 200)):
        if not 1 <= number <= most:
            raise UsageError(where=option, found=str(number), expected=f"1 to {most}")
    if not 2 <= zones * nodes_per_zone <= NODES_MAX:  # noqa: PLR2004 - a mesh needs two ends
        raise UsageError(
            where="--zones and --nodes-per-zone",
            found=f"{zones} * {nodes_per_zone} nodes",
            expected=f"2 to {NODES_MAX} nodes in total",
        )
    rate_hz = scenario.rate_hz if options.rate_hz is None else options.rate_hz
    if not RATE_HZ_MIN <= rate_hz <= RATE_HZ_MAX:
        allowed = f"{RATE_HZ_MIN:g} to {RATE_HZ_MAX:g} probes per second per flow"
        raise UsageError(where="--rate", found=f"{rate_hz:g}", expected=allowed)
    topology = Topology(zones=zones, nodes_per_zone=nodes_per_zone)
    applied = scenario.model_copy(update={"topology": topology, "rate_hz": rate_hz})
    try:
        applied.check_places()
    except MisfitError as error:
        where = f"{scenario.file} with {plural(zones, 'zone')} of {plural(nodes_per_zone, 'node')}"
        raise UsageError(where=where, place=error.place, found=str(error.found), expected=error.expected) from error
    return applied


def expectation_gap(scenario: Scenario, options: Options) -> str | None:
    """Return why what the scenario expects says nothing about a run with these options; None: it does.

    A comparison is still possible; a test that compares with the expectation must be skipped.
    """
    if options.overlay is not None and options.overlay not in scenario.overlays:
        return f"{scenario.name} has expectations for {', '.join(scenario.overlays)} only, not for {options.overlay}"
    overlay = options.overlay or load_shoot(scenario.shoot).overlay
    if options.carrier is not None and overlay is not Overlay.IPIP:
        return f"{scenario.name} has the overlay {overlay}; {options.carrier} carries only {Overlay.IPIP}"
    zones, nodes_per_zone = options.size(scenario)
    nodes = zones * nodes_per_zone
    for zone, quota in scenario.cloud.quota.items():
        if zones < scenario.topology.zones:
            return f"{scenario.name} has a quota for zone {zone} of {scenario.topology.zones} zones; there are {zones}"
        if quota >= nodes:
            room = f"a quota of {plural(quota, 'route')} for zone {zone}"
            return f"{scenario.name} has {room}, more than {plural(nodes, 'node')} can use"
    return None


def make_plan(case: Case, arm: Arm, trial: int, clock: Clock) -> RunPlan:
    """Return the plan of one run. Raises UsageError: the scenario does not have the arm."""
    scenario, profile = case.scenario, case.profile
    plans = scenario.arm_plans
    if arm not in plans:
        raise UsageError(where=scenario.name, place="arms", found=f"no arm {arm}", expected=", ".join(plans))
    plan = plans[arm]
    interval_ns = Nanoseconds(round(SECOND / scenario.rate_hz))
    duration_ns = scenario.duration_s.ns(profile, SECOND)
    baseline_ns = scenario.baseline_ms.ns(profile, MILLISECOND)
    validation_ns = VALIDATION_NS[profile]
    load, version = scenario.load, metadata.version("hitless")
    agents_ns = Nanoseconds(baseline_ns + duration_ns + validation_ns + _AGENT_MARGIN_NS)
    return RunPlan(
        header=RunHeader(
            scenario=scenario.name,
            arm=arm,
            trial=trial,
            profile=profile,
            overlay=case.overlay,
            start_mode=scenario.start,
            wanted_mode=scenario.wanted,
            end_mode=plan.end,
            interval_ns=interval_ns,
            forwarding_delay_threshold_ns=FORWARDING_DELAY_THRESHOLD_NS,
            validation_ns=validation_ns,
            checks=plan.checks,
            mutant=plan.mutant,
            parts=tuple(PartIdentity(name=name, is_double=True, version=version) for name in GARDENER_PARTS),
        ),
        probing=ProbeSpec(
            interval_ns=interval_ns,
            drain_ns=FORWARDING_DELAY_THRESHOLD_NS,
            duration_ns_max=agents_ns,
        ),
        make_flows=lambda facts: make_flows(_staying(facts, scenario), case.flow_sets, interval_ns, case.mesh),
        make_switch=partial(_make_switch, case, arm, clock),
        make_load=None if load is None else lambda facts: make_load(load, _staying(facts, scenario), duration_ns_max=agents_ns),
        faults=tuple(
            PlannedFault(
                name=fault.name,
                options=fault.options,
                at_ns=fault.at_ms.ns(profile, MILLISECOND),
                for_ns=None if fault.for_ms is None else fault.for_ms.ns(profile, MILLISECOND),
            )
            for fault in scenario.faults
        ),
        calibration_ns=make_calibration_ns(interval_ns),
        baseline_ns=baseline_ns,
        duration_ns_max=duration_ns,
        is_until_settled=scenario.until == "settled",
        requests_ns=tuple(at_ms.ns(profile, MILLISECOND) for at_ms in scenario.requests_at_ms),
    )


def _staying(facts: ClusterFacts, scenario: Scenario) -> ClusterFacts:
    """Return the facts without the pods of nodes that leave permanently: their losses are not caused by the switch."""
    leaving = {facts.node_names[label] for label in scenario.leaving_nodes}
    return replace(facts, endpoints=tuple(end for end in facts.endpoints if end.node not in leaving)) if leaving else facts


def make_calibration_ns(interval_ns: Nanoseconds) -> Nanoseconds:
    """Draw the length of a calibration pulse."""
    return Nanoseconds(max(CALIBRATION_NS_MIN, round(interval_ns * random.SystemRandom().uniform(*CALIBRATION_INTERVALS))))


def blinded(gate: Gate) -> Gate:
    """Return a gate that cannot read the last manifest."""
    return lambda knowledge: gate(replace(knowledge, last_manifest=None))


def make_switch_spec(case: Case, arm: Arm) -> SwitchSpec:
    """Return the settings of Gardener's parts in one arm."""
    plan = case.scenario.arm_plans[arm]
    gate = decide if plan.mutant is None else MUTANTS[plan.mutant]
    return SwitchSpec(
        shoot=case.shoot,
        wanted=case.wanted,
        feature_gates=replace(case.feature_gates, seamless_overlay_switch=arm is Arm.GATED),
        timings=case.timings,
        gate=blinded(gate) if case.scenario.initial.manifest == "unreadable" else gate,
        route_controller=case.scenario.cloud.route_controller,
        behaviour=case.behaviour,
    )


def _make_switch(case: Case, arm: Arm, clock: Clock, cluster: Cluster, facts: ClusterFacts, recorder: Recorder) -> Switch:
    spec = make_switch_spec(case, arm)
    switch = make_switch(spec, kube=cluster.kube, routes=cluster.routes, recorder=recorder, clock=clock)
    case.scenario.initial.prepare(cluster.kube, switch.cloud.tables, facts, recorder)
    return switch

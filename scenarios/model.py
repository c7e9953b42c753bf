"""The model of a scenario: data, validated, one YAML file each.

A scenario says what happens; it never sets the gate, the arm does. `scenarios.loading` reads one from its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from gardener.shoot import Shoot
from hitless.documents import MisfitError
from hitless.errors import UsageError
from hitless.faults import KUBE_API_DOWN, MOMENTARY, NODE_LEAVES, THROUGH_API
from hitless.plural import plural
from hitless.words import Arm, Capability, FlowSet, Mode, Overlay, Profile, Verdict
from scenarios.flows import CONNECTION_SETS, SERVICE_SETS
from scenarios.initial import Initial
from scenarios.parts import (
    ArmPlan,
    Cloud,
    FaultStep,
    FlowsPerProfile,
    LaterRequest,
    Links,
    LoadPlan,
    PerProfile,
    Request,
    Strict,
    Topology,
)

SCENARIO_NAME: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"

RATE_HZ_MIN: Final = 1.0
"""With slower probes a run would not become live in time (hitless.run.LIVE_TIMEOUT_S)."""
RATE_HZ_MAX: Final = 10_000.0
"""Chosen here: an interval of 0.1 ms is about a round trip through a lab."""

DURATION_S_MIN: Final = 0.1
"""A shorter run ends before the first manifest is applied."""


class Scenario(Strict):
    """One scenario."""

    name: Annotated[str, Field(pattern=SCENARIO_NAME, max_length=60)]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    description: str
    shoot: Path
    """The Shoot before the request, relative to the scenario's file; real Gardener YAML."""
    controller_configuration: Path | None = None
    """Feature gates of the extension besides SeamlessOverlaySwitch, which the arm sets."""
    extension: Literal["v1.57", "v1.58", "v1.59", "v1.60"] = "v1.60"
    """The release of the extension that its double follows: see `gardener.releases`."""
    start: Mode
    """The mode before the request; the Shoot's, which the file may say but not contradict."""
    overlays: Annotated[tuple[Overlay, ...], Field(min_length=1)]
    """The encapsulations for which the expectations hold, the Shoot's among them; default: the Shoot's alone."""
    initial: Initial = Initial()
    """What the cluster has before the request beyond what its Shoot makes."""
    request: Request = Request()
    then: tuple[LaterRequest, ...] = ()
    """Further requests of the operator, in order of time."""
    topology: Topology = Topology()
    pod_addresses: Literal["ipam", "pod-cidr"] = "ipam"
    """Where calico-ipam's blocks lie: where it puts them, or in the nodes' podCIDRs, as those of host-local always do."""
    rp_filter: Literal[0, 1, 2] = 2
    cloud: Cloud = Cloud()
    links: Links | None = None
    """Impairments of the links; default: none."""
    faults: tuple[FaultStep, ...] = ()
    needs: frozenset[Capability] = frozenset()
    rate_hz: Annotated[float, Field(ge=RATE_HZ_MIN, le=RATE_HZ_MAX)] = 200
    """Probes per second per flow of the mesh; for the other sets see scenarios.flows."""
    flows: FlowsPerProfile = FlowsPerProfile(fast=(FlowSet.UDP,), gardener=(FlowSet.UDP,))
    """The sets of flows to probe; a list serves both profiles. The small UDP mesh is always among them."""
    load: LoadPlan | None = None
    """HTTP users between pods, beside the probes; default: none."""
    baseline_ms: PerProfile = PerProfile(fast=300, gardener=5000)
    duration_s: PerProfile
    """Time after the request in which everything must settle."""
    until: Literal["settled", "end"] = "settled"
    """Whether the run ends as soon as everything has settled, or always takes its whole duration."""
    arms: dict[Arm, ArmPlan] = Field(min_length=1)

    _file: Path = PrivateAttr(default=Path("scenario"))

    @property
    def file(self) -> Path:
        """The file that it was read from, for messages."""
        return self._file

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request of the operator, in order of time."""
        return (self.request, *self.then) if self.request != Request() else self.then

    @property
    def has_request(self) -> bool:
        """Whether the operator makes a request."""
        return bool(self.requests)

    @property
    def wanted(self) -> Mode:
        """The mode of the operator's last request."""
        return self._asked[-1]

    @property
    def _asked(self) -> tuple[Mode, ...]:
        """The start mode, and the mode after each request that names one."""
        asked = (request.overlay for request in self.requests if request.overlay is not None)
        return (self.start, *(Mode.OVERLAY if is_overlay else Mode.NATIVE for is_overlay in asked))

    @property
    def requests_at_ms(self) -> tuple[PerProfile, ...]:
        """When the operator makes each request, after the first one."""
        later = tuple(request.at_ms for request in self.then)
        return (PerProfile(fast=0, gardener=0), *later) if self.has_request else ()

    @property
    def fault_names(self) -> frozenset[str]:
        """Names of its faults."""
        return frozenset(fault.name for fault in self.faults)

    @property
    def leaving_nodes(self) -> frozenset[str]:
        """Names of the nodes that leave permanently; their pods are not probed."""
        return frozenset(fault.options["node"] for fault in self.faults if fault.name == NODE_LEAVES)

    @property
    def arm_plans(self) -> dict[Arm, ArmPlan]:
        """The arms that the scenario has, UNGATED first."""
        return {arm: self.arms[arm] for arm in Arm if arm in self.arms}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check_places()
        for profile in Profile:
            self._check_times(profile)
        self._check_leaving()
        if self.then and self.request == Request():
            raise MisfitError("then", f"{len(self.then)}", "no further requests without a first one")
        for part, needed in (("load", Capability.LOCUST), ("links", Capability.NETEM)):
            if getattr(self, part) is not None and needed not in self.needs:
                found = ", ".join(sorted(self.needs)) or "nothing"
                raise MisfitError("needs", found, f"{needed} as well, because the scenario has {part}")
        for arm, plan in self.arms.items():
            self._check_arm(f"arms.{arm}", plan)
        for profile in Profile:
            self._check_flows(f"flows.{profile}", self.flows.of(profile))
        return self

    def check_places(self) -> None:
        """Refuse nodes and zones that the topology does not have, and routes beyond a quota. Raises MisfitError."""
        zones = self.topology.zone_names
        for zone in sorted(set(self.cloud.quota) - zones):
            raise MisfitError("cloud.quota", f"zone {zone}", f"the topology's zones {', '.join(sorted(zones))}")
        self.initial.check(zones, self.topology.node_names, self.cloud.quota)
        for number, fault in enumerate(self.faults):
            for key, allowed in (("zone", zones), ("node", self.topology.node_names)):
                found = fault.options.get(key)
                if isinstance(found, str) and found not in allowed:
                    place = f"faults.{number}.options.{key}"
                    raise MisfitError(place, found, f"one of the topology: {', '.join(sorted(allowed))}")

    def _check_leaving(self) -> None:
        """Refuse a node that leaves and comes back, and a cluster of which too little stays."""
        for number, fault in enumerate(self.faults):
            if fault.name == NODE_LEAVES and fault.for_ms is not None:
                allowed = f"no time, because {NODE_LEAVES} is permanent; use node-unregistered for a node that comes back"
                raise MisfitError(f"faults.{number}.for_ms", f"{fault.for_ms.fast:g}", allowed)
        staying = self.topology.nodes - len(self.leaving_nodes)
        if self.leaving_nodes and staying < 2:  # noqa: PLR2004 - a mesh needs two ends
            raise MisfitError("faults", f"{plural(staying, 'node')} that stays", "at least 2 nodes that stay")

    def _check_times(self, profile: Profile) -> None:
        """Refuse a run that ends before anything can happen, and faults and requests that come after its end or in disorder."""
        end_ms = self.duration_s.of(profile) * 1000
        if end_ms < DURATION_S_MIN * 1000:
            raise MisfitError(f"duration_s.{profile}", f"{end_ms / 1000:g}", f"at least {DURATION_S_MIN:g}")
        for number, fault in enumerate(self.faults):
            at_ms, place = fault.at_ms.of(profile), f"faults.{number}.at_ms.{profile}"
            if at_ms > end_ms:
                raise MisfitError(place, f"{at_ms:g}", f"at most {end_ms:g} ms, the end of the run")
            self._check_overlap(number, fault, profile)
        before_ms = 0.0
        for number, request in enumerate(self.then):
            at_ms = request.at_ms.of(profile)
            if not before_ms < at_ms <= end_ms:
                allowed = f"after {before_ms:g} ms, the request before, and at most {end_ms:g} ms, the end of the run"
                raise MisfitError(f"then.{number}.at_ms.{profile}", f"{at_ms:g}", allowed)
            before_ms = at_ms

    def _check_overlap(self, number: int, fault: FaultStep, profile: Profile) -> None:
        """Refuse a fault that is already in force, or that needs an API which another fault stops."""
        begin_ms, end_ms = fault.lasts(profile)
        place = f"faults.{number}.at_ms.{profile}"
        for other_number, other in enumerate(self.faults):
            other_begin_ms, other_end_ms = other.lasts(profile)
            is_gone = other.name == NODE_LEAVES and other.options["node"] == fault.options.get("node")
            if is_gone and other_number != number and begin_ms >= other_begin_ms:
                allowed = f"before {other_begin_ms:g} ms, when {other.options['node']} leaves"
                raise MisfitError(place, f"{begin_ms:g}", allowed)
            is_same = (other.name, other.options) == (fault.name, fault.options)
            if other_number < number and is_same and other_begin_ms < end_ms and begin_ms < other_end_ms:
                if fault.name in MOMENTARY and begin_ms != other_begin_ms:
                    continue
                raise MisfitError(place, f"{begin_ms:g}", f"a time at which the same fault {fault.name} is not active")
            calls_ms = [at_ms for at_ms in (begin_ms, end_ms) if other_begin_ms <= at_ms < other_end_ms]
            if other.name == KUBE_API_DOWN and fault.name in THROUGH_API and calls_ms:
                allowed = f"a time at which the API is available: {fault.name} needs it, and kube-api-down stops it"
                raise MisfitError(place, f"{calls_ms[0]:g} ms", allowed)

    def _check_flows(self, place: str, flow_sets: tuple[FlowSet, ...]) -> None:
        """Refuse flows that no check of an arm judges, that nothing compares with, or that no pod can send."""
        for check, judged in (("services", SERVICE_SETS), ("connections", CONNECTION_SETS)):
            for arm, plan in self.arms.items():
                unjudged = [flow_set for flow_set in flow_sets if flow_set in judged and check not in plan.checks]
                if unjudged:
                    allowed = f"flows that a check judges: add {check} to the checks of {arm}, or leave these flows out"
                    raise MisfitError(place, ", ".join(unjudged), allowed)
        if FlowSet.UDP not in flow_sets:
            raise MisfitError(place, ", ".join(flow_sets), "udp as well, because the other flow sets are compared with it")
        if FlowSet.UDP_NATIVE_MTU in flow_sets and self.start is Mode.OVERLAY:
            allowed = "no such flows with start OVERLAY, because pods keep the overlay's smaller MTU until they are recreated"
            raise MisfitError(place, FlowSet.UDP_NATIVE_MTU, allowed)

    def _check_arm(self, place: str, plan: ArmPlan) -> None:
        ends = tuple(dict.fromkeys(self._asked))
        if plan.end not in ends:
            raise MisfitError(f"{place}.end", plan.end, f"the start mode or the requested mode: {', '.join(ends)}")
        for name in plan.because:
            if name not in {*plan.checks, "coverage", "instrument"}:
                allowed = f"coverage, instrument, or a check of the arm: {', '.join(plan.checks)}"
                raise MisfitError(f"{place}.because", name, allowed)
        if plan.because and plan.expect is Verdict.PASS:
            raise MisfitError(
                f"{place}.because", ", ".join(plan.because), "no entry, because every check passes in an arm with expect PASS"
            )

    def located(self, file: Path) -> Self:
        """Return it as read from that file, the paths in it absolute."""
        folder = file.resolve().parent
        other = self.controller_configuration
        update = {"shoot": folder / self.shoot, "controller_configuration": None if other is None else folder / other}
        located = self.model_copy(update=update)
        located._file = file  # noqa: SLF001 - of the same class
        return located

    def change_shoot(self, shoot: Shoot) -> tuple[Shoot, ...]:
        """Return the Shoot after each of the operator's requests; none: there is no request. Raises UsageError."""
        shoots: list[Shoot] = []
        for number, request in enumerate(self.requests):
            shoot = self._change(shoot, request, f"then.{number - 1}" if number else "request")
            shoots.append(shoot)
        return tuple(shoots)

    def _change(self, shoot: Shoot, request: Request, place: str) -> Shoot:
        changed = shoot if request.overlay is None else shoot.with_overlay(enabled=request.overlay)
        if request.veth_mtu is not None:
            try:
                changed = changed.with_network(veth_mtu=request.veth_mtu)
            except UsageError as error:
                where, found = str(self.file), repr(request.veth_mtu)
                raise UsageError(where=where, place=f"{place}.veth_mtu", found=found, expected=error.expected) from error
        if changed == shoot:
            allowed = f"a change of what {self.shoot} and the requests before say, whose mode is {shoot.mode}, or no request"
            found = "the values that the Shoot already has"
            raise UsageError(where=str(self.file), place=place, found=found, expected=allowed)
        return changed

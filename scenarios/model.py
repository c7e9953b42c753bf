"""The model of a scenario: data, validated, one YAML file each.

A scenario says what happens; it never sets the gate, the arm does. Fields with two profiles are written
`{fast: 40, gardener: 250}`; a plain number serves both.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from checks.catalogue import read_checks
from gardener.doubles.mutants import MUTANTS
from gardener.doubles.route_plan import RouteControllerMode
from gardener.feature_gates import FeatureGates, load_feature_gates
from gardener.manifests.chart_values import compute_values
from gardener.shoot import Shoot, load_shoot
from hitless.documents import MisfitError, read_document, validate
from hitless.errors import UsageError
from hitless.words import Arm, Capability, FlowSet, JsonObject, Mode, Nanoseconds, Overlay, Profile, Verdict
from scenarios.flows import CONNECTION_SETS, SERVICE_SETS
from scenarios.load_plan import LoadPlan

CATALOGUE: Final = Path(__file__).parent / "catalogue"
"""The folder of the scenarios that are shipped."""

SCENARIO_NAME: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"

NODES_MAX: Final = 255
"""Nodes of a cluster: their mesh and control flows, n * n of them, share the 65,535 numbers of FlowId."""

RATE_HZ_MIN: Final = 1.0
"""Slower probes are not answered often enough while a run waits to become live (hitless.run.LIVE_TIMEOUT_S)."""
RATE_HZ_MAX: Final = 10_000.0
"""Chosen here: an interval of 0.1 ms is about what a round trip through a lab takes."""

DURATION_S_MIN: Final = 0.1
"""A shorter run ends before the first manifest is applied."""

_NUMBER_MAX: Final = 10_000_000
"""No time in a scenario is longer: in ms nearly three hours, in s a season. A limit on everything."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PerProfile(_Strict):
    """A number for each profile."""

    fast: Annotated[float, Field(ge=0, le=_NUMBER_MAX)]
    gardener: Annotated[float, Field(ge=0, le=_NUMBER_MAX)]

    def of(self, profile: Profile) -> float:
        """Return the number for a profile."""
        match profile:
            case Profile.FAST:
                return self.fast
            case Profile.GARDENER:
                return self.gardener

    def ns(self, profile: Profile, unit_ns: int) -> Nanoseconds:
        """Return the number for a profile as nanoseconds, given its unit."""
        return Nanoseconds(round(self.of(profile) * unit_ns))


def _both(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"fast": value, "gardener": value}
    return value


ProfileNumber = Annotated[PerProfile, BeforeValidator(_both)]


FlowSets = Annotated[tuple[FlowSet, ...], Field(min_length=1)]


class FlowsPerProfile(_Strict):
    """The sets of flows for each profile."""

    fast: FlowSets
    gardener: FlowSets

    def of(self, profile: Profile) -> tuple[FlowSet, ...]:
        """Return the sets for a profile."""
        match profile:
            case Profile.FAST:
                return self.fast
            case Profile.GARDENER:
                return self.gardener


def _both_lists(value: object) -> object:
    return {"fast": value, "gardener": value} if isinstance(value, list) else value


ProfileFlows = Annotated[FlowsPerProfile, BeforeValidator(_both_lists)]


class Topology(_Strict):
    """How large the cluster is."""

    zones: Annotated[int, Field(ge=1, le=26)] = 2
    nodes_per_zone: Annotated[int, Field(ge=1, le=200)] = 2

    @property
    def nodes(self) -> int:
        """Nodes in all."""
        return self.zones * self.nodes_per_zone

    @property
    def zone_names(self) -> frozenset[str]:
        """Names of the zones: a, b, ..."""
        return frozenset(ascii_lowercase[: self.zones])

    @model_validator(mode="after")
    def _has_mesh(self) -> Self:
        if not 2 <= self.nodes <= NODES_MAX:  # noqa: PLR2004 - a mesh needs two ends
            allowed = f"2 to {NODES_MAX} nodes in all"
            raise MisfitError("nodes_per_zone", f"{self.zones} * {self.nodes_per_zone} nodes", allowed)
        return self


class Request(_Strict):
    """What the operator changes in the Shoot; nothing at all where every field is left out."""

    overlay: bool | None = None
    """networking.providerConfig.overlay.enabled."""
    veth_mtu: str | None = None
    """networking.providerConfig.vethMTU: a change of other configuration."""


class Cloud(_Strict):
    """How the cloud behaves."""

    route_controller: RouteControllerMode = RouteControllerMode.FAITHFUL
    create_ms: ProfileNumber | None = None
    """One CreateRoute call; default: the profile's."""
    quota: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Zone to the number of pod routes its table can hold; no entry: no limit."""
    control_plane_ms: ProfileNumber | None = None
    """From the request to provider-aws's ControlPlane reconcile; default: the profile's."""
    calls_per_s: Annotated[float, Field(ge=0.001, le=_NUMBER_MAX)] | None = None
    """Rate at which the route API throttles; default: never."""


class Links(_Strict):
    """What the nodes' links do to the packets that nodes send, all the time."""

    delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    jitter_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """Each packet is delayed by up to this much more or less."""
    loss_percent: Annotated[float, Field(ge=0, le=100)] = 0
    duplicate_percent: Annotated[float, Field(ge=0, le=100)] = 0
    reorder_percent: Annotated[float, Field(ge=0, le=100)] = 0
    """These are sent at once, the others after the delay."""
    nodes: tuple[str, ...] = ()
    """Whose; none named: every node's."""

    @model_validator(mode="after")
    def _has_delay(self) -> Self:
        if self.jitter_ms > self.delay_ms:
            raise MisfitError("jitter_ms", f"{self.jitter_ms:g}", f"at most delay_ms, {self.delay_ms:g}")
        if self.reorder_percent and not self.delay_ms:
            raise MisfitError("reorder_percent", f"{self.reorder_percent:g}", "0 without a delay_ms: nothing is overtaken then")
        return self


class FaultStep(_Strict):
    """One fault and when it is cured."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What breaks; a cluster says which names it knows."""
    options: JsonObject = Field(default_factory=dict)
    at_ms: ProfileNumber
    """After the operator's request."""
    for_ms: ProfileNumber | None = None
    """Default: until the scenario's end."""


class ArmPlan(_Strict):
    """What one arm should come to."""

    end: Mode
    """The mode that the arm should end in."""
    checks: dict[str, JsonObject] = Field(min_length=1)
    """Check name to its budgets; what is probed must be judged (see `_check_judged`)."""
    expect: Verdict
    """The verdict that makes a test pass."""
    because: tuple[str, ...] = ()
    """Checks that must be among those that do not pass; a FAIL for another reason is not the expected one."""
    mutant: str | None = None
    """Name of a deliberately broken gate (gardener.doubles.mutants) that stands in for the real one."""
    why: str = ""
    """Said in the report: why the arm is expected to come to this."""


def _is_named(name: str) -> str:
    if name not in {member.value for member in Arm}:
        message = f"an arm: one of {', '.join(Arm)}"
        raise ValueError(message)
    return name


class Scenario(_Strict):
    """One scenario."""

    name: Annotated[str, Field(pattern=SCENARIO_NAME, max_length=60)]
    title: Annotated[str, Field(min_length=1, max_length=120)]
    description: str
    shoot: Path
    """The Shoot before the request, relative to the scenario's file; real Gardener YAML."""
    controller_configuration: Path | None = None
    """Feature gates of the extension besides SeamlessOverlaySwitch, which the arm sets."""
    start: Mode
    """The mode before the request; the Shoot's, which the file may say but not contradict."""
    overlays: Annotated[tuple[Overlay, ...], Field(min_length=1)]
    """The encapsulations for which the expectations hold, the Shoot's among them; default: the Shoot's alone."""
    request: Request = Request()
    topology: Topology = Topology()
    rp_filter: Literal[0, 1, 2] = 2
    cloud: Cloud = Cloud()
    links: Links | None = None
    """What the links do to packets; default: nothing."""
    faults: tuple[FaultStep, ...] = ()
    needs: frozenset[Capability] = frozenset()
    rate_hz: Annotated[float, Field(ge=RATE_HZ_MIN, le=RATE_HZ_MAX)] = 200
    """Probes a second and flow of the mesh; scenarios.flows says how often the other sets are probed."""
    flows: ProfileFlows = FlowsPerProfile(fast=(FlowSet.UDP,), gardener=(FlowSet.UDP,))
    """Which sets of flows are probed; a list serves both profiles. The small UDP mesh is always among them."""
    load: LoadPlan | None = None
    """HTTP users between pods, beside the probes; default: none."""
    baseline_ms: ProfileNumber = PerProfile(fast=300, gardener=5000)
    duration_s: ProfileNumber
    """How long after the request everything may take to settle."""
    until: Literal["settled", "end"] = "settled"
    """Whether the run ends as soon as everything has settled, or always takes its whole duration."""
    arms: dict[Annotated[str, AfterValidator(_is_named)], ArmPlan] = Field(min_length=1)

    _file: Path = PrivateAttr(default=Path("scenario"))

    @property
    def file(self) -> Path:
        """The file that it was read from, for messages."""
        return self._file

    @property
    def has_request(self) -> bool:
        """Whether the operator asks for anything."""
        return self.request != Request()

    @property
    def wanted(self) -> Mode:
        """The mode that the operator asks for."""
        if self.request.overlay is None:
            return self.start
        return Mode.OVERLAY if self.request.overlay else Mode.NATIVE

    @property
    def arm_plans(self) -> dict[Arm, ArmPlan]:
        """The arms that the scenario has, UNGATED first."""
        return {arm: self.arms[arm] for arm in Arm if arm in self.arms}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        zones = self.topology.zone_names
        for zone in sorted(set(self.cloud.quota) - zones):
            raise MisfitError("cloud.quota", f"zone {zone}", f"the topology's zones {', '.join(sorted(zones))}")
        self._check_times()
        if self.load is not None and Capability.LOCUST not in self.needs:
            raise MisfitError(
                "needs",
                ", ".join(sorted(self.needs)) or "nothing",
                f"{Capability.LOCUST} as well, because the scenario has a load",
            )
        if self.links is not None and Capability.NETEM not in self.needs:
            raise MisfitError(
                "needs", ", ".join(sorted(self.needs)) or "nothing", f"{Capability.NETEM} among them, for the links"
            )
        for arm, plan in self.arms.items():
            self._check_arm(f"arms.{arm}", plan)
        for profile in Profile:
            flow_sets = self.flows.of(profile)
            self._check_judged(profile, flow_sets)
            if FlowSet.UDP not in flow_sets:
                raise MisfitError(
                    f"flows.{profile}", ", ".join(flow_sets), "udp as well: the other flow sets are compared with it"
                )
            if FlowSet.UDP_NATIVE_MTU in flow_sets and self.start is Mode.OVERLAY:
                allowed = "no such flows with start OVERLAY: pods keep the overlay's smaller MTU until they are recreated"
                raise MisfitError(f"flows.{profile}", FlowSet.UDP_NATIVE_MTU, allowed)
        return self

    def _check_times(self) -> None:
        """Refuse a run that ends before anything can happen, and faults after its end."""
        for profile in Profile:
            if self.duration_s.of(profile) < DURATION_S_MIN:
                found = f"{self.duration_s.of(profile):g}"
                raise MisfitError(f"duration_s.{profile}", found, f"at least {DURATION_S_MIN:g}")
        for number, fault in enumerate(self.faults):
            for profile in Profile:
                at_ms, end_ms = fault.at_ms.of(profile), self.duration_s.of(profile) * 1000
                if at_ms > end_ms:
                    raise MisfitError(
                        f"faults.{number}.at_ms.{profile}", f"{at_ms:g}", f"at most {end_ms:g} ms, the end of the run"
                    )

    def _check_judged(self, profile: Profile, flow_sets: tuple[FlowSet, ...]) -> None:
        """Refuse flows that no check of an arm asks about."""
        for check, judged in (("services", SERVICE_SETS), ("connections", CONNECTION_SETS)):
            for arm, plan in self.arms.items():
                unjudged = [flow_set for flow_set in flow_sets if flow_set in judged and check not in plan.checks]
                if unjudged:
                    allowed = f"flows that a check judges: add {check} to the checks of {arm}, or leave these flows out"
                    raise MisfitError(f"flows.{profile}", ", ".join(unjudged), allowed)

    def _check_arm(self, place: str, plan: ArmPlan) -> None:
        ends = (self.start, *({self.wanted} - {self.start}))
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

    def change_shoot(self, shoot: Shoot) -> Shoot:
        """Return the Shoot after the operator's request. Raises UsageError."""
        request = self.request
        if request.overlay is not None:
            shoot = shoot.with_overlay(request.overlay)
        if request.veth_mtu is None:
            return shoot
        try:
            return shoot.with_network(veth_mtu=request.veth_mtu)
        except UsageError as error:
            raise UsageError(
                where=str(self.file), place="request.veth_mtu", found=repr(request.veth_mtu), expected=error.expected
            ) from error


def load_scenario(path: Path) -> Scenario:
    """Read and validate one scenario file; paths in it become absolute.

    Raises:
        UsageError: names the file, the place, what was found and what is allowed.
    """
    document: dict[str, Any] = read_document(path)
    shoot: Shoot | None = None
    if isinstance(document.get("shoot"), str):
        shoot_path = path.resolve().parent / document["shoot"]
        shoot = load_shoot(shoot_path)
        document = {"start": start_mode(shoot, str(shoot_path)), "overlays": [shoot.overlay], **document}
    scenario = validate(Scenario, document, str(path))
    if scenario.name != path.stem:
        raise UsageError(where=str(path), place="name", found=scenario.name, expected=f"{path.stem}, the name of the file")
    scenario = scenario.located(path)
    assert shoot is not None  # noqa: S101 - a scenario is not valid without the name of one
    _check_references(scenario)
    _check_shoot(scenario, shoot)
    return scenario


def start_mode(shoot: Shoot, where: str) -> Mode:
    """Return the mode of a cluster that was made from a Shoot.

    Raises:
        UsageError: the Shoot asks for a data plane that is not probed.
    """
    families = shoot.spec.networking.ip_families
    if families[0] != "IPv4":
        allowed = "IPv4, or IPv4 and IPv6, because hitless probes IPv4 only"
        raise UsageError(where=where, place="spec.networking.ipFamilies", found=", ".join(families), expected=allowed)
    try:
        return compute_values(shoot, FeatureGates()).mode
    except UsageError as error:
        raise error.at(where, error.place) from error


def _check_shoot(scenario: Scenario, shoot: Shoot) -> None:
    """Refuse a scenario that contradicts its Shoot, or asks it for what it has. Raises UsageError, which names both."""
    where, says = str(scenario.file), f"as {scenario.shoot} says"
    start = start_mode(shoot, str(scenario.shoot))
    if scenario.start is not start:
        raise UsageError(where=where, place="start", found=scenario.start, expected=f"{start}, {says}")
    if shoot.overlay not in scenario.overlays:
        found = ", ".join(scenario.overlays)
        raise UsageError(where=where, place="overlays", found=found, expected=f"{shoot.overlay} among them, {says}")
    if scenario.has_request and scenario.change_shoot(shoot) == shoot:
        found = "the values that the Shoot already has"
        allowed = f"a change of {scenario.shoot}, whose mode is {start}, or no request"
        raise UsageError(where=where, place="request", found=found, expected=allowed)


def _check_references(scenario: Scenario) -> None:
    """Refuse a scenario that names what does not exist: a check, a budget, a mutant. Raises UsageError."""
    where = str(scenario.file)
    for arm, plan in scenario.arms.items():
        read_checks(plan.checks, where, f"arms.{arm}.checks")
        if plan.mutant is not None and plan.mutant not in MUTANTS:
            raise UsageError(where=where, place=f"arms.{arm}.mutant", found=plan.mutant, expected=", ".join(MUTANTS))
    if scenario.controller_configuration is not None:
        load_feature_gates(scenario.controller_configuration)


def catalogue() -> tuple[Path, ...]:
    """Return the files of the shipped scenarios, in order of their names."""
    return tuple(sorted(CATALOGUE.glob("*.yaml")))


def find_scenario(name: str) -> Path:
    """Return the file of a shipped scenario, or `name` itself where it is a path to a file.

    Raises:
        UsageError: neither; names what there is.
    """
    shipped = {path.stem: path for path in catalogue()}
    if name in shipped:
        return shipped[name]
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    raise UsageError(where="scenario", found=name, expected=f"a YAML file, or one of {', '.join(shipped)}")

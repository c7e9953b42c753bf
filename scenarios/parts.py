"""The parts of a scenario, each validated on its own: size, requests, cloud, links, faults, load, arms.

Fields that differ between the profiles are written `{fast: 40, gardener: 250}`; a plain value serves both. What must fit
between the parts is for `scenarios.model` to check.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, zip_longest
from string import ascii_lowercase
from typing import Annotated, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gardener.doubles.route_controller import RouteControllerMode
from hitless.documents import MisfitError
from hitless.facts import ClusterFacts, Endpoint
from hitless.load import BODY_OCTETS_MAX, CLIENTS_MAX, REQUESTS_HZ_MAX, SERVERS_MAX, USERS_MAX, LoadSpec
from hitless.words import MILLISECOND, SECOND, FlowSet, JsonObject, Mode, Nanoseconds, Profile, Verdict

NUMBER_MAX: Final = 10_000_000
"""Largest number in a scenario: nearly three hours in ms, about four months in s. Chosen here."""


class Strict(BaseModel):
    """Data of a scenario: frozen, without keys that have no meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Value = TypeVar("Value")


class _OfProfile(Strict, Generic[Value]):
    """A value for each profile; a plain one serves both."""

    fast: Value
    gardener: Value

    @model_validator(mode="before")
    @classmethod
    def _serve_both(cls, value: object) -> object:
        is_plain = isinstance(value, int | float | list) and not isinstance(value, bool)
        return {"fast": value, "gardener": value} if is_plain else value

    def of(self, profile: Profile) -> Value:
        """Return the value for a profile."""
        return self.fast if profile is Profile.FAST else self.gardener


class PerProfile(_OfProfile[Annotated[float, Field(ge=0, le=NUMBER_MAX)]]):
    """A number for each profile."""

    def ns(self, profile: Profile, unit_ns: int) -> Nanoseconds:
        """Return the number for a profile as nanoseconds, given its unit."""
        return Nanoseconds(round(self.of(profile) * unit_ns))


class FlowsPerProfile(_OfProfile[Annotated[tuple[FlowSet, ...], Field(min_length=1)]]):
    """The sets of flows for each profile."""


class LoadPlan(Strict):
    """HTTP users between pods, beside the probes; needs the capability `locust`."""

    users: Annotated[int, Field(ge=2, le=USERS_MAX)] = 12
    """In all. Every second one opens a new connection for each request, the others keep theirs."""
    rate_hz: Annotated[float, Field(ge=0.1, le=50)] = 10
    """Requests per second of each user, while it is answered in time."""
    body_octets: Annotated[int, Field(ge=0, le=BODY_OCTETS_MAX)] = 1_000
    """Of each answer."""
    timeout_ms: Annotated[float, Field(ge=100, le=60_000)] = 2_000
    """A user gives up a request after this."""
    clients: Annotated[int, Field(ge=1, le=CLIENTS_MAX)] = 2
    """Pods with users, spread over the zones. Each is a process of its own."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.users % self.clients:
            raise MisfitError(
                "users",
                self.users,
                f"a multiple of clients ({self.clients}), because every client pod has the same number of users",
            )
        if self.users * self.rate_hz > REQUESTS_HZ_MAX:
            found = f"{self.users} users * {self.rate_hz:g} requests per second"
            raise MisfitError("rate_hz", found, f"at most {REQUESTS_HZ_MAX:g} requests per second in total")
        return self


def make_load(plan: LoadPlan, facts: ClusterFacts, duration_ns_max: Nanoseconds) -> LoadSpec:
    """Return the load of a run: users in the first pods of some nodes send requests to the first pods of all others.

    If the cluster has fewer nodes than `clients`, each has users.
    """
    pods = [pod.name for pod in _first_pods(facts)]
    clients = pods[: plan.clients]
    return LoadSpec(
        clients=tuple(clients),
        servers=tuple(pods[:SERVERS_MAX]),
        users=plan.users - plan.users % len(clients),
        interval_ns=Nanoseconds(round(SECOND / plan.rate_hz)),
        body_octets=plan.body_octets,
        timeout_ns=Nanoseconds(round(plan.timeout_ms * MILLISECOND)),
        duration_ns_max=duration_ns_max,
    )


def _first_pods(facts: ClusterFacts) -> Iterator[Endpoint]:
    """Yield the first pod of every node, in turns from each zone."""
    by_node: dict[str, Endpoint] = {}
    for endpoint in facts.endpoints:
        if endpoint.is_pod:
            by_node.setdefault(endpoint.node, endpoint)
    zones: dict[str, list[Endpoint]] = {}
    for pod in by_node.values():
        zones.setdefault(pod.zone, []).append(pod)
    return (pod for pod in chain.from_iterable(zip_longest(*zones.values())) if pod is not None)


NODES_MAX: Final = 255
"""Nodes of a cluster that a run makes itself: a full mesh of more has more flows than one prober tells apart (SSID_MAX)."""


class Topology(Strict):
    """The size of the cluster."""

    zones: Annotated[int, Field(ge=1, le=26)] = 2
    nodes_per_zone: Annotated[int, Field(ge=1, le=200)] = 2

    @property
    def nodes(self) -> int:
        """Nodes in all."""
        return self.zones * self.nodes_per_zone

    @property
    def node_zones(self) -> tuple[str, ...]:
        """The zone of each node."""
        return tuple(zone for zone in sorted(self.zone_names) for _ in range(self.nodes_per_zone))

    @property
    def zone_names(self) -> frozenset[str]:
        """Names of the zones: a, b, ..."""
        return frozenset(ascii_lowercase[: self.zones])

    @property
    def node_names(self) -> frozenset[str]:
        """Names of the nodes: node-a1, node-a2, ..."""
        return frozenset(f"node-{zone}{number}" for zone in self.zone_names for number in range(1, self.nodes_per_zone + 1))

    @model_validator(mode="after")
    def _has_mesh(self) -> Self:
        if not 2 <= self.nodes <= NODES_MAX:  # noqa: PLR2004 - a mesh needs two ends
            allowed = f"2 to {NODES_MAX} nodes in total"
            raise MisfitError("nodes_per_zone", f"{self.zones} * {self.nodes_per_zone} nodes", allowed)
        return self


class Request(Strict):
    """The operator's change of the Shoot; without any field, no change."""

    overlay: bool | None = None
    """networking.providerConfig.overlay.enabled."""
    veth_mtu: str | None = None
    """networking.providerConfig.vethMTU: a change of other configuration."""


class LaterRequest(Request):
    """A request that follows the first one; it may come while that is still being carried out."""

    at_ms: PerProfile
    """After the first request."""


class Cloud(Strict):
    """The behaviour of the cloud."""

    route_controller: RouteControllerMode = RouteControllerMode.FAITHFUL
    create_ms: PerProfile | None = None
    """One CreateRoute call; default: the profile's."""
    quota: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Zone to the number of pod routes its table can hold; no entry: no limit."""
    control_plane_ms: PerProfile | None = None
    """From the request to provider-aws's ControlPlane reconcile; default: the profile's."""
    calls_per_s: PerProfile | None = None
    """Rate at which the route API throttles; default: never. The first 5 calls of each action are granted at once."""
    effective_ms: PerProfile = PerProfile(fast=0, gardener=0)
    """From the API's answer to CreateRoute until packets follow the route."""


class Links(Strict):
    """Constant impairments of the packets that nodes send."""

    delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    jitter_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """Each packet's delay varies by up to this much."""
    loss_percent: Annotated[float, Field(ge=0, le=100)] = 0
    duplicate_percent: Annotated[float, Field(ge=0, le=100)] = 0
    reorder_percent: Annotated[float, Field(ge=0, le=100)] = 0
    """These packets are sent at once, the others after the delay."""
    nodes: tuple[str, ...] = ()
    """The nodes concerned; none named: every node."""

    @model_validator(mode="after")
    def _has_delay(self) -> Self:
        if self.jitter_ms > self.delay_ms:
            raise MisfitError("jitter_ms", f"{self.jitter_ms:g}", f"at most delay_ms, {self.delay_ms:g}")
        if self.reorder_percent and not self.delay_ms:
            raise MisfitError(
                "reorder_percent",
                f"{self.reorder_percent:g}",
                "0 if delay_ms is 0, because reordering needs a delay",
            )
        return self


class FaultStep(Strict):
    """One fault and when it is cured."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """The fault; each cluster lists the names that it knows."""
    options: JsonObject = Field(default_factory=dict)
    at_ms: PerProfile
    """After the operator's first request."""
    for_ms: PerProfile | None = None
    """Default: until the scenario's end."""

    def lasts(self, profile: Profile) -> tuple[float, float]:
        """Return when it begins and ends, ms after the first request."""
        at_ms = self.at_ms.of(profile)
        return at_ms, math.inf if self.for_ms is None else at_ms + self.for_ms.of(profile)


class ArmPlan(Strict):
    """The expectations of one arm."""

    end: Mode
    """The mode that the arm should end in."""
    checks: dict[str, JsonObject] = Field(min_length=1)
    """Check name to its budgets; every probed flow must be judged (see `Scenario._check_flows`)."""
    expect: Verdict
    """The verdict that makes a test pass."""
    because: tuple[str, ...] = ()
    """Checks that must not pass. A FAIL for other reasons is not the expected one."""
    mutant: str | None = None
    """Name of a deliberately broken gate (gardener.doubles.mutants) that replaces the real one."""
    why: str = ""
    """Printed in the report: why this is the expected verdict."""

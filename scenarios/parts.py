"""The parts of a scenario, each validated by itself: size, requests, cloud, links, faults, arms.

What must fit between them is for `scenarios.model` to check.
"""

from __future__ import annotations

import math
from string import ascii_lowercase
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from gardener.doubles.route_plan import RouteControllerMode
from hitless.documents import MisfitError
from hitless.words import JsonObject, Mode, Profile, Verdict
from scenarios.per_profile import PerProfile, ProfileNumber, Strict

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

    at_ms: ProfileNumber
    """After the first request."""


class Cloud(Strict):
    """The behaviour of the cloud."""

    route_controller: RouteControllerMode = RouteControllerMode.FAITHFUL
    create_ms: ProfileNumber | None = None
    """One CreateRoute call; default: the profile's."""
    quota: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Zone to the number of pod routes its table can hold; no entry: no limit."""
    control_plane_ms: ProfileNumber | None = None
    """From the request to provider-aws's ControlPlane reconcile; default: the profile's."""
    calls_per_s: ProfileNumber | None = None
    """Rate at which the route API throttles; default: never. The first 5 calls of each action are granted at once."""
    effective_ms: ProfileNumber = PerProfile(fast=0, gardener=0)
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
            raise MisfitError("reorder_percent", f"{self.reorder_percent:g}", "0 without a delay_ms: nothing is overtaken then")
        return self


class FaultStep(Strict):
    """One fault and when it is cured."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """The fault; each cluster lists the names that it knows."""
    options: JsonObject = Field(default_factory=dict)
    at_ms: ProfileNumber
    """After the operator's first request."""
    for_ms: ProfileNumber | None = None
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
    """Check name to its budgets; every probed flow must be judged (see `_check_judged`)."""
    expect: Verdict
    """The verdict that makes a test pass."""
    because: tuple[str, ...] = ()
    """Checks that must not pass. A FAIL for other reasons is not the expected one."""
    mutant: str | None = None
    """Name of a deliberately broken gate (gardener.doubles.mutants) that replaces the real one."""
    why: str = ""
    """Printed in the report: why this is the expected verdict."""

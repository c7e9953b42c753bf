"""The plan of one run: everything that `hitless.run.run` has to do, as frozen data and three factories.

Scenarios build it; the core knows no scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hitless.events import Recorder
from hitless.facts import ClusterFacts, Flow, ProbeSpec
from hitless.faults import FaultTable
from hitless.history import RunHeader
from hitless.load import LoadSpec
from hitless.ports import Cluster, Participant
from hitless.words import JsonObject, Nanoseconds


class Switch(Protocol):
    """The parts that perform the switch in one run."""

    @property
    def participants(self) -> Sequence[Participant]:
        """The participants of Gardener's parts."""

    @property
    def faults(self) -> FaultTable:
        """Faults of these parts."""

    def request(self, number: int) -> None:
        """Do what the operator does: change the Shoot for the `number`th time, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One fault and its cure."""

    name: str
    options: JsonObject
    at_ns: Nanoseconds
    """When, after the operator's first request (or after the run became live where there is no request)."""
    for_ns: Nanoseconds | None
    """How long; None: until the scenario's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything that one run has to do."""

    header: RunHeader
    probing: ProbeSpec
    make_flows: Callable[[ClusterFacts], tuple[Flow, ...]]
    """Which pairs of endpoints are probed."""
    make_switch: Callable[[Cluster, ClusterFacts, Recorder], Switch]
    """Builds the parts that perform the switch."""
    faults: tuple[PlannedFault, ...]
    make_load: Callable[[ClusterFacts], LoadSpec] | None = None
    """Says which pods make and answer HTTP requests meanwhile; None: there is no application load."""
    calibration_ns: Nanoseconds | None = None
    """How long the calibration flow is dropped before the switch; None: not at all."""
    baseline_ns: Nanoseconds
    """How long the run watches before the operator's first request."""
    duration_ns_max: Nanoseconds
    """How long after that request it waits for everything to settle."""
    is_until_settled: bool
    """Whether it ends as soon as everything has settled; else it always takes `duration_ns_max`."""
    requests_ns: tuple[Nanoseconds, ...]
    """When the operator makes requests, after the first of them; empty: never."""

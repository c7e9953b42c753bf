"""The history of a run: all that checks may read.

It is stored before anything reads it, and a stored history gives the same verdict as a fresh one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hitless.events import Event
from hitless.facts import CloudRoute, ClusterFacts, Flow, NodeState, Part, PartIdentity
from hitless.load import LoadRecords
from hitless.records import ProbeRecords
from hitless.words import Arm, FlowRole, JsonObject, Kind, Mode, Nanoseconds, Overlay, Profile

MACHINE: Final = "machine"
"""The entry of the counters that is no namespace, such as `Neigh.table_fulls`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """The request of a run."""

    scenario: str
    arm: Arm
    trial: int
    """1, 2, ..."""
    profile: Profile
    overlay: Overlay
    start_mode: Mode
    wanted_mode: Mode
    """The mode that the operator asks for in the Shoot."""
    end_mode: Mode
    """The mode that the arm should end in: OVERLAY if the gate should hold until the end."""
    interval_ns: Nanoseconds
    """Time between two probes of one flow: the accuracy interval is + and - this."""
    forwarding_delay_threshold_ns: Nanoseconds
    """Later answers count as lost. Source: RFC 6412 3.7.6."""
    validation_ns: Nanoseconds
    """Sustained Convergence Validation Time. Source: RFC 6412 3.7.5."""
    checks: Mapping[str, JsonObject]
    """Check name to its budgets, such as {"continuity": {"downtime_ms": 0}}."""
    mutant: str | None
    """Name of the deliberately broken gate, or None."""
    parts: tuple[PartIdentity, ...] = ()
    """The parts of Gardener under test. Empty: a run of record version 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that was recorded of one run."""

    header: RunHeader
    facts: ClusterFacts
    flows: tuple[Flow, ...]
    events: tuple[Event, ...]
    """In order of time."""
    records: ProbeRecords
    counters_before: Mapping[str, Mapping[str, int]]
    """Namespace to counter to value, read before the probing started; empty if the cluster has none."""
    counters_after: Mapping[str, Mapping[str, int]]
    """The same after the probing was drained."""
    final_nodes: tuple[NodeState, ...]
    """The state of every node at the end."""
    final_objects: tuple[JsonObject, ...]
    """The Node, IPPool and DaemonSet objects at the end."""
    errors: tuple[str, ...]
    """Steps that the harness failed to do; any makes the run INCONCLUSIVE."""
    final_cloud_routes: tuple[CloudRoute, ...] | None = None
    """The routes of every zone's table at the end; None: not read, as where the tables are out of reach."""
    load: LoadRecords | None = None
    """The records of the application load; None: the run had none."""

    @property
    def remaining_nodes(self) -> tuple[NodeState, ...]:
        """The final state of the nodes that are still registered; of all where no Node object was read."""
        registered = {document["metadata"]["name"] for document in self.final_objects_of(Kind.NODE)}
        return tuple(state for state in self.final_nodes if not registered or state.node in registered)

    @property
    def parts(self) -> tuple[PartIdentity, ...]:
        """Every part of the system under test, in the order of Part; empty for a run of record version 1."""
        order = list(Part)
        return tuple(sorted((*self.header.parts, *self.facts.parts), key=lambda one: order.index(one.name)))

    def interval_of(self, flow: Flow) -> Nanoseconds:
        """Return the time between two probes of a flow."""
        return self.header.interval_ns if flow.interval_ns is None else flow.interval_ns

    def flows_of(self, *roles: FlowRole) -> tuple[Flow, ...]:
        """Return the flows of these roles, in order of their ids."""
        return tuple(flow for flow in self.flows if flow.role in roles)

    def events_named(self, *names: str) -> Iterator[Event]:
        """Yield the events of these names, in order of time."""
        return (event for event in self.events if event.name in names)

    def final_objects_of(self, kind: Kind) -> Iterator[JsonObject]:
        """Yield the final objects of one kind."""
        return (document for document in self.final_objects if document.get("kind") == kind.value)

    def moved(self, counter: str, places: Iterable[str]) -> int | None:
        """Return by how much a kernel counter moved in some namespaces together; None: it was not read in one of them."""
        found = [(self.counters_before.get(place), self.counters_after.get(place, {}).get(counter)) for place in places]
        if not found or any(before is None or after is None for before, after in found):
            return None
        return sum(after - before.get(counter, 0) for before, after in found if before is not None and after is not None)

    @property
    def requests(self) -> tuple[Event, ...]:
        """Every request of the operator, in order of time."""
        return tuple(self.events_named("switch.requested"))

    @property
    def request(self) -> Event | None:
        """The request that starts the measured change: the last one for the end mode, else the first. None: there was none."""
        requests = self.requests
        wanted = [one for one in requests if one.facts.get("mode") == self.header.end_mode]
        return next(iter([*wanted[-1:], *requests]), None)

    @property
    def origin_ns(self) -> Nanoseconds:
        """Where every report counts its times from: `request` (the Convergence Event Instant), or else the run's start."""
        return Nanoseconds(0) if self.request is None else self.request.t_ns

    def first_event(self, name: str) -> Event | None:
        """Return the first event of a name, or None."""
        return next(self.events_named(name), None)

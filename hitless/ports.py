"""The ports: the interfaces at which clusters differ.

Each port is a class with a prose contract. A conformance suite in tests/lab/conformance tests every implementation, so a
scenario runs unchanged on network namespaces and on machines. Ports raise only errors of `hitless.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hitless.events import Recorder
from hitless.facts import CloudRoute, ClusterFacts, Flow, NodeState, ProbeSpec
from hitless.faults import FaultTable
from hitless.load import Load
from hitless.records import ProbeRecords
from hitless.words import Capability, JsonObject, Kind, Nanoseconds


class Clock(Protocol):
    """The run clock; it never runs backwards. All code of a run reads the time and waits through it."""

    @property
    def epoch_ns(self) -> int:
        """The CLOCK_MONOTONIC reading that is 0 on this clock; the agents get it, so that all share one run clock."""

    def now_ns(self) -> Nanoseconds:
        """Return the time since the run's start on CLOCK_MONOTONIC, ns."""

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Return at `due_ns` or a little later; at once if it has passed."""


class KubeApi(Protocol):
    """The slice of the Kubernetes API that the switch uses.

    Objects are plain dicts as the API serves them: apiVersion, kind, metadata {name, namespace, labels, annotations,
    resourceVersion, generation, deletionTimestamp}, spec, status. Returned objects are copies. While the API is unavailable,
    every method except `take_changes` raises ApiUnavailableError.
    """

    def get(self, kind: Kind, name: str) -> JsonObject:
        """Return one object. Raises NotFoundError."""

    def list(self, kind: Kind) -> tuple[JsonObject, ...]:
        """Return all objects of a kind, in order of their names."""

    def apply(self, document: JsonObject, *, actor: str) -> JsonObject:
        """Create the object or replace its spec, data, labels and annotations (server-side apply with force).

        The status stays. metadata.generation rises only when the spec changed; an apply that changes nothing makes no change
        event.
        """

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; a missing one is no error (a controller deletes at least once)."""

    def replace_status(self, document: JsonObject, *, actor: str) -> JsonObject:
        """PUT the status. Raises ConflictError when metadata.resourceVersion is given and not current, NotFoundError."""

    def merge_condition(self, node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        """Strategic merge patch of one condition (merge key: type) into nodes/status; admission policies apply.

        Returns the node after the write, so the caller sees whether the write was kept. `actor` is the user name, such as
        `system:serviceaccount:kube-system:calico-node`. Raises NotFoundError.
        """

    def take_changes(self) -> frozenset[Kind]:
        """Return the kinds in which something was created, changed or deleted since the last call, and forget them."""


class RouteTables(Protocol):
    """The cloud's route tables, one per zone. Calls take effect at once; a wrapper adds latency, quota and throttling."""

    def zones(self) -> tuple[str, ...]:
        """Return the zone names, in the order in which the cloud API lists its tables."""

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return the pod routes of a zone's table, in order of their destinations."""

    def create(self, route: CloudRoute) -> None:
        """Create a route; effective on return. Raises RouteTableError if it exists."""

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route; effective on return. Raises RouteTableError if it does not exist."""


class Prober(Protocol):
    """Runs probe agents at the endpoints, in separate processes, and collects their records."""

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Start reflectors, then senders. `epoch_ns` is the CLOCK_MONOTONIC reading that is 0 on the run clock.

        Agents write their own record files below `directory`.
        """

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row since its start.

        Raises WorldError: an agent died.
        """

    def stop(self) -> None:
        """Stop sending, listen for `drain_ns` or until every probe is answered, end the agents. Safe to call twice."""

    def collect(self) -> ProbeRecords:
        """Return the records of all agents. Raises RecordDamagedError."""


class Calibrator(Protocol):
    """Blackholes the flow of FlowRole.CALIBRATION, and nothing else, at exactly known times."""

    def drop(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Drop the flow's probes from now on; return the run clock just before and just after the change. Raises WorldError."""

    def restore(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Forward them again; return the same two times. Not dropping is no error. Raises WorldError."""


class Participant(Protocol):
    """A stand-in for a part of the real system, driven by one loop.

    It never sleeps, waits or starts a thread. A latency is a second wake-up.
    """

    @property
    def name(self) -> str:
        """Unique in the run, where one of the switch takes the place of the cluster's; also the actor of its events."""

    @property
    def watches(self) -> frozenset[Kind]:
        """A change in one of these kinds wakes the double at once."""

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Do what is due, and return when to be called next (run clock, never the past), or None: only when something changes.

        A later wake-up that is already planned is replaced, except that a change in a watched kind wakes at once.
        """

    def is_settled(self) -> bool:
        """Return whether this double has nothing left to do in the present state."""


class Cluster(Protocol):
    """A cluster running Calico, with a cloud around it."""

    @property
    def kube(self) -> KubeApi:
        """The API of the cluster."""

    @property
    def routes(self) -> RouteTables:
        """The cloud's route tables."""

    @property
    def prober(self) -> Prober:
        """Its prober."""

    @property
    def faults(self) -> FaultTable:
        """Its faults."""

    @property
    def calibrator(self) -> Calibrator | None:
        """Drops the calibration flow; None: this cluster cannot."""

    @property
    def load(self) -> Load | None:
        """Makes application load; None: this cluster cannot."""

    def capabilities(self) -> frozenset[Capability]:
        """Return the cluster's capabilities; may be called before `up`."""

    def up(self) -> ClusterFacts:
        """Bring the cluster up in its start mode, with every pod reachable. Raises WorldError; nothing is left behind then."""

    def down(self) -> None:
        """Remove everything. Safe to call twice, and after a failed `up`."""

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return the participants for Calico: the doubles of calico-node and its roll, or an observer of the real ones."""

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return namespace name to counter name (`Ip.InReceives`, `TcpExt.IPReversePathFilter`, ...) to value.

        Besides the kernel's own names: `Neigh.table_fulls` in the namespace `machine`.
        """

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node, in the order of the facts."""

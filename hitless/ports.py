"""The ports: the few places where one cluster differs from another.

Each port is a class with a prose contract. A conformance suite in tests/lab/conformance holds every implementation to it,
so a scenario cannot tell a network namespace from a machine. Ports raise only errors of `hitless.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hitless.events import Recorder
from hitless.load import Load
from hitless.records import ProbeRecords
from hitless.words import (
    Capability,
    FlowClass,
    FlowId,
    FlowRole,
    FlowSet,
    JsonObject,
    Kind,
    Nanoseconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node."""

    name: str
    """Name of the Node object, such as `node-a1`."""
    zone: str
    """Zone name, such as `a`."""
    address: str
    """IPv4 address of the node in its zone's subnet."""
    pod_cidr: str
    """The node's spec.podCIDR: where cloud routes point."""
    gateway: str
    """The node's default gateway: the router's address in the zone."""
    tunnel_address: str = ""
    """IPv4 address of its tunnel device while the overlay is on; empty: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place that probes: a pod, a node's own network, or a client outside."""

    name: str
    """Unique in the run, such as `node-a1-mesh`, `node-a1-control` or `node-a1-host`."""
    node: str
    """Name of the node that runs it."""
    zone: str
    """Zone of that node."""
    address: str
    """IPv4 address of the pod; of the node in its zone where `is_host`; of the client where it is neither."""
    is_host: bool = False
    """Whether it stands in a node's own network."""
    is_outside: bool = False
    """Whether it stands outside the cluster: a client of NodePorts. `node` names its namespace or machine then."""

    @property
    def is_pod(self) -> bool:
        """Whether it is a pod in the pod network."""
        return not self.is_host and not self.is_outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """An ordered pair of endpoints that is probed."""

    id: FlowId
    """1 to 65,535, unique in the run: the SSID on the wire."""
    source: str
    """Name of the endpoint that sends."""
    destination: str
    """Name of the endpoint that reflects."""
    role: FlowRole
    flow_class: FlowClass = FlowClass.UDP
    flow_set: FlowSet = FlowSet.UDP
    """The family that it belongs to."""
    octets: int = 44
    """Payload of a probe: of UDP, of ICMP's data, of a TCP message; 44 is the least STAMP allows. Source: RFC 8762 4.2.1."""
    interval_ns: Nanoseconds | None = None
    """Time between two of its probes; None: the run's (`RunHeader.interval_ns`)."""
    via: str | None = None
    """ADDRESS:PORT of the Service that it is sent to; None: straight to the destination."""

    @property
    def family(self) -> str:
        """What it has in common with others: its set, and its class where the set has several."""
        if self.flow_class.is_tcp and self.flow_class.value != self.flow_set.value:
            return f"{self.flow_set.value} {self.flow_class.value}"
        return self.flow_set.value

    @property
    def label(self) -> str:
        """How reports name the flow; unique in the run."""
        between = f"{self.source} > {self.destination}"
        if self.flow_set is FlowSet.NODE_PORT:
            between += f" by {(self.via or '').partition(':')[0]}"
        return between if self.flow_set is FlowSet.UDP else f"{between} {self.family}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """One Service with one endpoint, so that a flow through it has one destination."""

    name: str
    cluster_ip: str
    port: int
    """TCP port at the ClusterIP."""
    node_port: int
    """TCP port at every node's own address; externalTrafficPolicy Cluster."""
    destination: str
    """Name of the endpoint behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What a cluster says of itself once it is up."""

    backend: str
    """`lab`, `kind`, or `kubeconfig`: somebody else's cluster, only watched."""
    carrier: str
    """What carries the overlay on the wire: `ipip`, `vxlan-gpe` (stands in where the kernel has no ipip) or `vxlan`."""
    nodes: tuple[NodeFacts, ...]
    endpoints: tuple[Endpoint, ...]
    zone_gateways: Mapping[str, str]
    """Zone name to the router's address in it."""
    underlay_mtu: int
    """MTU of the nodes' underlay interface, octets."""
    pod_mtu: int
    """MTU of the pods' interface, octets."""
    overlay_pod_mtu: int = 0
    """MTU that a pod gets while the overlay is on, octets; 0: not known."""
    native_pod_mtu: int = 0
    """MTU that a pod gets in native mode, octets; 0: not known."""
    services: tuple[ServiceFacts, ...] = ()
    permanent_neighbours: bool
    """Whether neighbour entries were written by hand (above 20 nodes)."""
    rp_filter: int
    versions: Mapping[str, str]
    """Versions and provenance: kernel, python, hitless, libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """How to probe."""

    interval_ns: Nanoseconds
    """Time between two probes of one flow, where the flow does not say otherwise."""
    live_answers: int = 5
    """How many answers in a row every flow needs before anything may happen."""
    drain_ns: Nanoseconds
    """How long to listen for answers after the last probe: the Forwarding Delay Threshold."""
    duration_ns_max: Nanoseconds
    """After this the agents stop by themselves: a load is always bounded."""
    is_authenticated: bool = False
    """Whether UDP probes are signed, with a key made for this start alone; they have 112 octets at least then. RFC 8762 4.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRoute:
    """One route of a zone's route table."""

    zone: str
    cidr: str
    """Destination, a node's podCIDR."""
    node: str
    """Name of the node that it points to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What a node looks like when it is asked."""

    node: str
    routes: tuple[JsonObject, ...]
    """Main table, IPv4: {dst, type, protocol (number), dev, via, encap_dst}; absent keys mean none."""
    devices: tuple[str, ...]
    """Names of the links that are up."""


class Clock(Protocol):
    """The run clock. Nothing else may read the time or wait."""

    def now_ns(self) -> Nanoseconds:
        """Return the time since the run's start on CLOCK_MONOTONIC, ns."""
        ...

    def wait_until(self, due_ns: Nanoseconds) -> None:
        """Return at `due_ns` or a little later; at once where it has passed."""
        ...


class KubeApi(Protocol):
    """The slice of the Kubernetes API that the switch uses.

    Objects are plain dicts as the API serves them: apiVersion, kind, metadata {name, namespace, labels, annotations,
    resourceVersion, generation, deletionTimestamp}, spec, status. What is returned is a copy: changing it changes nothing.
    While the API is away every method but `take_changes` raises ApiUnavailableError.
    """

    def get(self, kind: Kind, name: str) -> JsonObject:
        """Return one object. Raises NotFoundError."""
        ...

    def list(self, kind: Kind) -> tuple[JsonObject, ...]:
        """Return all objects of a kind, in order of their names."""
        ...

    def apply(self, document: JsonObject, *, actor: str) -> JsonObject:
        """Create the object or replace its spec, data, labels and annotations (server-side apply with force).

        The status stays. metadata.generation rises only when the spec changed; an apply that changes nothing makes no change
        event.
        """
        ...

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; deleting what is not there is no error (a controller deletes at least once)."""
        ...

    def replace_status(self, document: JsonObject, *, actor: str) -> JsonObject:
        """PUT the status. Raises ConflictError when metadata.resourceVersion is given and not current, NotFoundError."""
        ...

    def merge_condition(self, node: str, condition: JsonObject, *, actor: str) -> JsonObject:
        """Strategic merge patch of one condition (merge key: type) into nodes/status; admission policies apply.

        Returns the node as it is afterwards, which tells whether the write was kept. `actor` is the user name, such as
        `system:serviceaccount:kube-system:calico-node`. Raises NotFoundError.
        """
        ...

    def take_changes(self) -> frozenset[Kind]:
        """Return the kinds in which something was created, changed or deleted since the last call, and forget them."""
        ...


class RouteTables(Protocol):
    """The cloud's route tables, one a zone. Calls act at once; latency, quota and throttling are wrapped around it."""

    def zones(self) -> tuple[str, ...]:
        """Return the zone names, in the order in which the cloud API lists its tables."""
        ...

    def list(self, zone: str) -> tuple[CloudRoute, ...]:
        """Return the pod routes of a zone's table, in order of their destinations."""
        ...

    def create(self, route: CloudRoute) -> None:
        """Create a route; effective on return. Creating what is there already raises RouteTableError."""
        ...

    def delete(self, zone: str, cidr: str) -> None:
        """Delete a route; effective on return. Deleting what is not there raises RouteTableError."""
        ...


class Prober(Protocol):
    """Places probe agents at the endpoints, in processes of their own, and brings their records home."""

    def start(self, flows: Sequence[Flow], spec: ProbeSpec, directory: Path, epoch_ns: int) -> None:
        """Start reflectors, then senders. `epoch_ns` is the CLOCK_MONOTONIC reading that is 0 on the run clock.

        Agents write their own record files below `directory`.
        """
        ...

    def is_live(self) -> bool:
        """Return whether every flow has been answered `live_answers` times in a row since it began.

        Raises:
            WorldError: an agent died.
        """
        ...

    def stop(self) -> None:
        """Stop sending, listen for `drain_ns` or until every probe is answered, end the agents. Safe to call twice."""
        ...

    def collect(self) -> ProbeRecords:
        """Return the records of all agents. Raises RecordDamagedError."""
        ...


class Faults(Protocol):
    """Breaks things, and heals them. Never one without the other."""

    def known(self) -> frozenset[str]:
        """Return the names of the faults that this cluster can inject."""
        ...

    def inject(self, name: str, options: JsonObject) -> None:
        """Break it; effective on return."""
        ...

    def cure(self, name: str) -> None:
        """Heal it; effective on return; healing what is whole is no error."""
        ...


class Calibrator(Protocol):
    """Blackholes one flow of FlowRole.CALIBRATION, and nothing else, for a time that it knows exactly."""

    def drop(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Drop the flow's probes from now on; return the run clock just before and just after the change. Raises WorldError."""
        ...

    def restore(self, flow: Flow) -> tuple[Nanoseconds, Nanoseconds]:
        """Let them pass again; return the same two times. Not dropping is no error. Raises WorldError."""
        ...


class Participant(Protocol):
    """A stand-in for a part of the real system, driven by one loop.

    It never sleeps, waits or starts a thread. A latency is a second wake-up.
    """

    @property
    def name(self) -> str:
        """Unique in the run; also the actor of its events."""
        ...

    @property
    def watches(self) -> frozenset[Kind]:
        """A change in one of these kinds wakes the double at once."""
        ...

    def reconcile(self, now_ns: Nanoseconds) -> Nanoseconds | None:
        """Do what is due, and return when to be called next (run clock), or None: only when something changes.

        A later wake-up that is already planned is replaced, except that a change in a watched kind wakes at once.
        """
        ...

    def is_settled(self) -> bool:
        """Return whether there is nothing left to do for this double as the world stands now."""
        ...


class Cluster(Protocol):
    """A cluster running Calico, with a cloud around it."""

    @property
    def kube(self) -> KubeApi:
        """The API of the cluster."""
        ...

    @property
    def routes(self) -> RouteTables:
        """The cloud's route tables."""
        ...

    @property
    def prober(self) -> Prober:
        """Its prober."""
        ...

    @property
    def faults(self) -> Faults:
        """What can be broken in it."""
        ...

    @property
    def calibrator(self) -> Calibrator | None:
        """What drops the calibration flow; None: this cluster cannot."""
        ...

    @property
    def load(self) -> Load | None:
        """What makes application load; None: this cluster cannot."""
        ...

    def capabilities(self) -> frozenset[Capability]:
        """Return what the cluster offers; may be asked before `up`."""
        ...

    def up(self) -> ClusterFacts:
        """Bring the cluster up in its start mode, with every pod reachable. Raises WorldError; nothing is left behind then."""
        ...

    def down(self) -> None:
        """Take everything down. Safe to call twice, and after a failed `up`."""
        ...

    def participants(self, recorder: Recorder) -> Sequence[Participant]:
        """Return the doubles of the parts that are not real here (calico-node, the DaemonSet roll); empty on a real cluster."""
        ...

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return namespace name to counter name (`Ip.InReceives`, `TcpExt.IPReversePathFilter`, ...) to value.

        Besides the kernel's own names: `Neigh.table_fulls` in the namespace `machine`.
        """
        ...

    def inspect(self) -> tuple[NodeState, ...]:
        """Return the state of every node, in the order of the facts."""
        ...

"""Facts about a cluster, its nodes, its routes and its flows, as plain data.

The ports take and return them, and a stored run contains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from hitless.words import FlowClass, FlowId, FlowRole, FlowSet, IpFamily, JsonObject, Nanoseconds


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
    address6: str = ""
    """IPv6 address of the node in its zone's subnet; empty: none, or not known."""
    pod_cidr6: str = ""
    """IPv6 prefix of its pods; empty: none, or not known."""

    def address_of(self, family: IpFamily) -> str:
        """Return its address in a family."""
        return self.address6 if family is IpFamily.IPV6 else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One end of flows: a pod, a node's own network, or a client outside."""

    name: str
    """Unique in the run, such as `node-a1-mesh`, `node-a1-control` or `node-a1-host`."""
    node: str
    """Name of the node that runs it."""
    zone: str
    """Zone of that node."""
    address: str
    """IPv4 address of the pod, of the node in its zone (`is_host`), or of the client (`is_outside`)."""
    is_host: bool = False
    """Whether it is in a node's own network."""
    is_outside: bool = False
    """Whether it is outside the cluster, a client of NodePorts. `node` is then its namespace or machine."""
    address6: str = ""
    """Its IPv6 address; empty: none."""

    @property
    def is_pod(self) -> bool:
        """Whether it is a pod in the pod network."""
        return not self.is_host and not self.is_outside

    def address_of(self, family: IpFamily) -> str:
        """Return its address in a family; empty: it has none."""
        return self.address6 if family is IpFamily.IPV6 else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """An ordered pair of endpoints that is probed."""

    id: FlowId
    """From 1, unique in the run."""
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
    """ADDRESS:PORT of the Service that its packets are sent to, an IPv6 address in brackets; None: they are sent to the
    destination itself."""
    ip_family: IpFamily = IpFamily.IPV4

    @property
    def family(self) -> str:
        """Name of the flow's family: its set, its class if the set has several, and IPv6."""
        words = [self.flow_set.value]
        if self.flow_class.is_tcp and self.flow_class.value != self.flow_set.value:
            words.append(self.flow_class.value)
        if self.ip_family is IpFamily.IPV6:
            words.append(self.ip_family.value)
        return " ".join(words)

    @property
    def target(self) -> str:
        """Address of `via`; empty: there is none."""
        return (self.via or "").rpartition(":")[0].strip("[]")

    @property
    def label(self) -> str:
        """How reports name the flow; unique in the run."""
        between = f"{self.source} > {self.destination}"
        if self.flow_set is FlowSet.NODE_PORT:
            between += f" by {self.target}"
        what = self.family.removeprefix(FlowSet.UDP) if self.flow_set is FlowSet.UDP else f" {self.family}"
        return between + what


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
    cluster_ip6: str = ""
    """Its IPv6 ClusterIP; empty: none."""


@unique
class Part(StrEnum):
    """A part of the system under test."""

    EXTENSION = "extension"
    RESOURCE_MANAGER = "resource manager"
    ROUTE_CONTROLLER = "route controller"
    CALICO = "calico"
    TUNNEL = "tunnel"
    KUBERNETES = "kubernetes"
    KERNEL = "kernel"


GARDENER_PARTS: Final = (Part.EXTENSION, Part.RESOURCE_MANAGER, Part.ROUTE_CONTROLLER)
"""The parts that switch; a cluster brings the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartIdentity:
    """The program that was a part of the system under test in one run."""

    name: Part
    is_double: bool
    """Whether it was a double, written in this repository, and not the released program."""
    version: str
    """Version of the program; of a double: of hitless; of the tunnel: what carries it, and the kernel. Several where the nodes
    differ. Empty: not known."""
    digest: str | None = None
    """SHA-256 of its image or file, as `sha256:...`; None: not known, as for a part that only its version is read of, and for
    an image that its DaemonSet names by a tag alone."""
    path: str | None = None
    """Where its file came from; None: not known, or it is no file, as every part that runs inside the cluster."""
    commit: str | None = None
    """Commit that it was built from, as its build information says; None: it says none, or the part is a double."""
    calico_version: str | None = None
    """Of the extension: Calico that it renders; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The facts about a cluster that is up."""

    backend: str
    """`lab`, `kind`, or `kubeconfig`: a cluster that is only watched."""
    carrier: str
    """The encapsulation of the overlay: `ipip`, `vxlan-gpe` (on kernels without ipip) or `vxlan`."""
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
    families: tuple[str, ...] = ("IPv4",)
    """Address families of the pod network, as the Shoot names them."""
    families_probed: tuple[str, ...] = ("IPv4",)
    """Those of them that flows are probed in."""
    families_unprobed: Mapping[str, str] = field(default_factory=dict)
    """Why others of them are not probed: family to the reason, as it stands in a sentence."""
    permanent_neighbours: bool
    """Whether neighbour entries were permanent (above 20 nodes)."""
    rp_filter: int
    versions: Mapping[str, str]
    """Versions and provenance: kernel, python, hitless, libraries."""
    parts: tuple[PartIdentity, ...] = ()
    """The parts under test that the cluster brings: all but those of Gardener. Empty: a run of record version 1."""

    @property
    def node_names(self) -> Mapping[str, str]:
        """Names of nodes in scenarios to their names here: `node-a2` is the second node of zone a."""
        names: dict[str, str] = {}
        for zone in dict.fromkeys(node.zone for node in self.nodes):
            within = [node.name for node in self.nodes if node.zone == zone]
            names |= {f"node-{zone}{number}": name for number, name in enumerate(within, 1)}
        return names


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """How to probe."""

    interval_ns: Nanoseconds
    """Time between two probes of one flow, unless the flow has its own."""
    live_answers: int = 5
    """Consecutive answers that every flow needs before anything may happen."""
    drain_ns: Nanoseconds
    """Time to listen for answers after the last probe: the Forwarding Delay Threshold."""
    duration_ns_max: Nanoseconds
    """After this the agents stop by themselves: a load is always bounded."""


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
    """The state of a node when it is read."""

    node: str
    routes: tuple[JsonObject, ...]
    """Main table, IPv4: {dst, type, protocol (number), dev, via, encap_dst}; absent keys mean none."""
    devices: tuple[str, ...]
    """Names of the links that are up."""

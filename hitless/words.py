"""The vocabulary of the project, as types.

One meaning a word: an arm, a mode or a verdict is spelled once, here, and every other module imports it. Nothing in this
module computes anything.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Any, Final, NewType, NoReturn

Nanoseconds = NewType("Nanoseconds", int)
"""A point on the run clock (CLOCK_MONOTONIC since the run's start) or a length of time, in nanoseconds."""

FlowId = NewType("FlowId", int)
"""The number of a flow, from 1, unique in the run; on the wire the SSID of its agent's settings stands for it."""
FLOW_ID_MAX: Final = 2**32 - 1
"""It has 32 bits in a record."""

JsonObject = dict[str, Any]
"""A Kubernetes-shaped object, or any other JSON object."""

SECOND = Nanoseconds(1_000_000_000)
MILLISECOND = Nanoseconds(1_000_000)
MICROSECOND = Nanoseconds(1_000)


@unique
class Arm(StrEnum):
    """One side of a comparison."""

    UNGATED = "UNGATED"
    """The baseline: the switch happens at once. It is the negative control of the comparison."""
    GATED = "GATED"
    """The feature gate SeamlessOverlaySwitch is on."""


@unique
class Mode(StrEnum):
    """How Calico carries pod packets between nodes."""

    OVERLAY = "OVERLAY"
    NATIVE = "NATIVE"


@unique
class Overlay(StrEnum):
    """Which encapsulation the overlay uses."""

    IPIP = "ipip"
    VXLAN = "vxlan"


@unique
class IpipCarrier(StrEnum):
    """Tunnel device for the overlay `ipip` of a lab."""

    IPIP = "ipip"
    """The kernel's own."""
    VXLAN_GPE = "vxlan-gpe"
    """Stands in where the kernel has no ipip."""


@unique
class IpFamily(StrEnum):
    """Address family of packets, as a Shoot names it."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


@unique
class Profile(StrEnum):
    """Which column of the timing table is in force."""

    FAST = "fast"
    """Every constant shortened, so that a whole comparison takes seconds."""
    GARDENER = "gardener"
    """The real constants."""


@unique
class Verdict(StrEnum):
    """The outcome of a check, a run or a comparison. It has no truth value: compare it by name."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"

    def __bool__(self) -> NoReturn:
        """Refuse: `if verdict:` would be true for FAIL as well."""
        raise TypeError("a verdict has no truth value; compare it with a member of Verdict")


@unique
class FlowRole(StrEnum):
    """Why a flow is probed."""

    MESH = "mesh"
    """Small UDP between pods of different nodes: the reference, of which every headline speaks."""
    POD = "pod"
    """Between pods of different nodes too, by another class or size."""
    HOST = "host"
    """Between a node's own network and a pod of another node."""
    SERVICE = "service"
    """To a pod of another node through a Service: what a masquerade does to it is judged apart from pod-to-pod traffic."""
    CONTROL = "control"
    """Within one node or one pod: no switch can affect it, so a loss here is the instrument's."""
    CALIBRATION = "calibration"
    """Blackholed for a known time before the switch, to see whether the instrument measures that time."""


@unique
class FlowClass(StrEnum):
    """Type of a flow's packets."""

    UDP = "udp"
    """STAMP test packets, never fragmented (DF)."""
    ICMP = "icmp"
    """Echo requests, answered by the kernel: there is no log of the far end."""
    TCP_ESTABLISHED = "tcp-established"
    """Sequence-numbered messages on one connection, each answered; opened again where it broke."""
    TCP_CONNECT = "tcp-connect"
    """A new connection per probe, with one message and its answer."""

    @property
    def is_tcp(self) -> bool:
        """Whether its probes travel on connections."""
        return self in {FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT}


@unique
class FlowSet(StrEnum):
    """A family of flows that a scenario asks for: between whom, by what, how large."""

    UDP = "udp"
    """The mesh of pods of different nodes, small probes: the reference, always there."""
    UDP_OVERLAY_MTU = "udp-overlay-mtu"
    """The same, as large as a pod's MTU allows while the overlay is on."""
    UDP_NATIVE_MTU = "udp-native-mtu"
    """The same, as large as a pod's MTU allows in native mode; pods that started under the overlay cannot send them."""
    ICMP = "icmp"
    TCP_ESTABLISHED = "tcp-established"
    TCP_CONNECT = "tcp-connect"
    HOST_TO_POD = "host-to-pod"
    """From a node's own network to a pod of another node."""
    POD_TO_HOST = "pod-to-host"
    """From a pod to another node's own address: natOutgoing rewrites the source, or does not."""
    CLUSTER_IP = "cluster-ip"
    """From a pod to a pod of another node by a Service's ClusterIP: DNAT alone."""
    HOST_CLUSTER_IP = "host-cluster-ip"
    """From a node's own network, likewise: masqueraded by the overlay's rule for its device."""
    NODE_PORT = "node-port"
    """From outside to a node's port of a Service with externalTrafficPolicy Cluster, on to a pod of another node:
    DNAT and masquerade."""

    @property
    def is_masqueraded(self) -> bool:
        """Whether the source is rewritten by the node that its packets pass first."""
        return self in {FlowSet.NODE_PORT, FlowSet.HOST_CLUSTER_IP}


@unique
class Capability(StrEnum):
    """Something that a scenario needs and a cluster offers."""

    OVERLAY_IPIP = "overlay-ipip"
    OVERLAY_VXLAN = "overlay-vxlan"
    ROUTE_TABLES = "route-tables"
    """Route tables that the run may write to and break."""
    KERNEL_COUNTERS = "kernel-counters"
    """Counters of every namespace between two pods, so that the books can be balanced."""
    NFT = "nft"
    """Rules of nftables in every node, with conntrack: Services and natOutgoing."""
    FLOW_CLASSES = "flow-classes"
    """Flows other than small UDP: full-size, ICMP, TCP."""
    HOST_ENDPOINTS = "host-endpoints"
    """Probers in the nodes' own networks."""
    IPV6 = "ipv6"
    """Nodes, pods and Services with IPv6 addresses, too."""
    NETEM = "netem"
    """Links that delay, lose, copy and reorder packets as asked."""
    LOCUST = "locust"
    """The library, for application load."""
    REAL_CALICO = "real-calico"
    """Calico's own programs: how long a dying Felix lives decides the outcome."""


@unique
class Kind(StrEnum):
    """The kinds of Kubernetes objects that the switch reads or writes."""

    NODE = "Node"
    POD = "Pod"
    CONFIG_MAP = "ConfigMap"
    DAEMON_SET = "DaemonSet"
    DEPLOYMENT = "Deployment"
    IP_POOL = "IPPool"
    ADMISSION_POLICY = "MutatingAdmissionPolicy"
    ADMISSION_POLICY_BINDING = "MutatingAdmissionPolicyBinding"

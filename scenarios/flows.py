"""The flows of a run: the sets of a scenario, between the endpoints of a cluster. Pure.

The small UDP mesh is always probed: it is the reference for every report's headline. Control flows, within a node and within a
pod, are always probed, too. The other sets probe more slowly: they show whether something breaks and how, the mesh shows for
how long. A second address family is probed by flows of its own. The mesh of the headline and the calibration flow are IPv4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hitless.errors import WorldError
from hitless.facts import ClusterFacts, Endpoint, Flow
from hitless.words import SECOND, Capability, FlowClass, FlowId, FlowRole, FlowSet, IpFamily, Nanoseconds
from scenarios.mesh import FULL_MESH, Mesh

DATAGRAM_RATE_HZ: Final = 50.0
"""Probes per second per flow of the sets beside the mesh. Chosen here: 20 ms detect what the mesh's 5 ms measure."""
TCP_RATE_HZ: Final = 20.0
"""Messages or connections per second per flow. Chosen here: each costs system calls of its own, not a share of a batch."""
IP_AND_UDP_OCTETS: Final = {IpFamily.IPV4: 28, IpFamily.IPV6: 48}
"""Source: RFC 791 3.1 (20), RFC 8200 3 (40), RFC 768 (8)."""

SERVICE_SETS: Final = frozenset({FlowSet.CLUSTER_IP, FlowSet.HOST_CLUSTER_IP, FlowSet.NODE_PORT})
CONNECTION_SETS: Final = frozenset({FlowSet.TCP_ESTABLISHED, FlowSet.TCP_CONNECT, FlowSet.POD_TO_HOST})
"""Sets with TCP flows between pods, or from pods to nodes."""
_TCP_CLASSES: Final = (FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT)


def rate_hz(flow_class: FlowClass, mesh_rate_hz: float) -> float:
    """Return how often a flow beside the mesh is probed, given how often the mesh is."""
    return min(mesh_rate_hz, TCP_RATE_HZ if flow_class.is_tcp else DATAGRAM_RATE_HZ)


def capabilities_of(flow_sets: Iterable[FlowSet]) -> frozenset[Capability]:
    """Return the capabilities that these sets need."""
    needed: set[Capability] = set()
    for flow_set in flow_sets:
        if flow_set not in {FlowSet.UDP, FlowSet.HOST_TO_POD}:
            needed.add(Capability.FLOW_CLASSES)
        if flow_set in {FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST, FlowSet.HOST_CLUSTER_IP}:
            needed.add(Capability.HOST_ENDPOINTS)
        if flow_set in SERVICE_SETS or flow_set is FlowSet.POD_TO_HOST:
            needed.add(Capability.NFT)
    return frozenset(needed)


def count_flows(zones: Sequence[str], flow_sets: Iterable[FlowSet], mesh: Mesh, families: int = 1) -> int:
    """Return the largest number of flows that these sets make in a cluster whose nodes are in these zones."""
    nodes, pairs = len(zones), mesh.count(zones)
    per_set = {FlowSet.POD_TO_HOST: 2 * pairs} | dict.fromkeys(SERVICE_SETS, 4 * nodes)
    return families * (2 * nodes + 1 + sum(per_set.get(flow_set, pairs) for flow_set in {FlowSet.UDP, *flow_sets}))


def make_flows(
    facts: ClusterFacts,
    flow_sets: Iterable[FlowSet] = (FlowSet.UDP,),
    mesh_interval_ns: Nanoseconds | None = None,
    mesh: Mesh = FULL_MESH,
) -> tuple[Flow, ...]:
    """Return the flows of a run, numbered from 1: the mesh, the control flows, then the other sets in the given order.

    The first pod of a node belongs to the mesh; the second answers the control flow. IPv6 follows IPv4 where both are probed.
    Without an interval of the mesh, other sets probe at their own rate.

    Raises WorldError: the cluster has no endpoints for a set of the scenario.
    """
    flows: list[Flow] = []
    for family in map(IpFamily, facts.families_probed):
        places = _Places(facts, family, mesh)
        for flow_set in dict.fromkeys((FlowSet.UDP, *flow_sets)):
            found = list(_flows_of(flow_set, places))
            if not found and len(facts.nodes) > 1:
                text = f"the cluster has no {family} endpoints for the flow set {flow_set}, so it cannot be probed"
                raise WorldError(text)
            flows += [*found, *_control_flows(places)] if flow_set is FlowSet.UDP else found
    mesh_rate_hz = SECOND / mesh_interval_ns if mesh_interval_ns else float("inf")

    def interval_ns(flow: Flow) -> Nanoseconds | None:
        return None if flow.flow_set is FlowSet.UDP else Nanoseconds(round(SECOND / rate_hz(flow.flow_class, mesh_rate_hz)))

    return tuple(replace(flow, id=FlowId(number), interval_ns=interval_ns(flow)) for number, flow in enumerate(flows, 1))


class _Places:
    """The endpoints of a cluster that have an address of a family, by their role, each list in the order of the facts."""

    def __init__(self, facts: ClusterFacts, family: IpFamily, mesh: Mesh) -> None:
        self.facts, self.family = facts, family
        endpoints = [endpoint for endpoint in facts.endpoints if endpoint.address_of(family)]
        by_node: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            if endpoint.is_pod:
                by_node.setdefault(endpoint.node, []).append(endpoint)
        self.mesh = tuple(pods[0] for pods in by_node.values())
        self.control = {node: pods[1] for node, pods in by_node.items() if len(pods) > 1}
        """Node to its control pod."""
        self.hosts = {endpoint.node: endpoint for endpoint in endpoints if endpoint.is_host}
        """Node to its own network's endpoint."""
        self.outside = next((endpoint for endpoint in endpoints if endpoint.is_outside), None)
        places = mesh.pairs([pod.zone for pod in self.mesh])
        self.pairs = tuple((self.mesh[source], self.mesh[other]) for source, other in places)
        """Pods of different nodes that are probed, source and destination."""

    def partners(self) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Yield every mesh pod with the next one of its zone and of another zone: linear in the number of nodes."""
        for place, pod in enumerate(self.mesh):
            others = (*self.mesh[place + 1 :], *self.mesh[:place])
            for is_same_zone in (True, False):
                partner = next((other for other in others if (other.zone == pod.zone) is is_same_zone), None)
                if partner is not None:
                    yield pod, partner

    def flow(self, source: Endpoint, destination: Endpoint, role: FlowRole, **facts: Any) -> Flow:  # noqa: ANN401
        """Return a flow of this family, before it has a number and an interval; `facts` are further fields of Flow."""
        return Flow(id=FlowId(0), source=source.name, destination=destination.name, role=role, ip_family=self.family, **facts)


def _control_flows(places: _Places) -> Iterator[Flow]:
    """Yield a flow within each node and one within its first pod, which no switch can affect, and the calibration flow."""
    for pod in places.mesh:
        if pod.node in places.control:
            yield places.flow(pod, places.control[pod.node], FlowRole.CONTROL)
    for pod in places.mesh:
        yield places.flow(pod, pod, FlowRole.CONTROL)
    spare = tuple(places.control.values())
    if len(spare) > 1 and places.family is IpFamily.IPV4:
        yield places.flow(spare[0], spare[-1], FlowRole.CALIBRATION)


def _flows_of(flow_set: FlowSet, places: _Places) -> Iterator[Flow]:
    if flow_set in SERVICE_SETS:
        return _service_flows(places, flow_set)
    if flow_set in {FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST}:
        return _host_flows(places, flow_set)
    facts, headers = places.facts, IP_AND_UDP_OCTETS[places.family]
    kinds: Mapping[FlowSet, Mapping[str, Any]] = {
        FlowSet.UDP: {},
        FlowSet.UDP_OVERLAY_MTU: {"octets": facts.overlay_pod_mtu - headers},
        FlowSet.UDP_NATIVE_MTU: {"octets": facts.native_pod_mtu - headers},
        FlowSet.ICMP: {"flow_class": FlowClass.ICMP},
        FlowSet.TCP_ESTABLISHED: {"flow_class": FlowClass.TCP_ESTABLISHED},
        FlowSet.TCP_CONNECT: {"flow_class": FlowClass.TCP_CONNECT},
    }
    is_reference = flow_set is FlowSet.UDP and places.family is IpFamily.IPV4
    role = FlowRole.MESH if is_reference else FlowRole.POD
    return (places.flow(*pair, role, flow_set=flow_set, **kinds[flow_set]) for pair in places.pairs)


def _host_flows(places: _Places, flow_set: FlowSet) -> Iterator[Flow]:
    for one, other in places.pairs:
        host = places.hosts.get(one.node if flow_set is FlowSet.HOST_TO_POD else other.node)
        if host is None:
            continue
        if flow_set is FlowSet.HOST_TO_POD:
            yield places.flow(host, other, FlowRole.HOST, flow_set=flow_set)
            continue
        # Conntrack keeps the first source of a UDP flow; only new connections show the present rewriting.
        for flow_class in (FlowClass.UDP, FlowClass.TCP_CONNECT):
            yield places.flow(one, host, FlowRole.HOST, flow_set=flow_set, flow_class=flow_class)


def _service_flows(places: _Places, flow_set: FlowSet) -> Iterator[Flow]:
    services = {service.destination: service for service in places.facts.services}
    nodes = {node.name: node for node in places.facts.nodes}
    for pod, backend in places.partners():
        service = services.get(backend.name)
        if service is None:
            continue
        via = _via(service.cluster_ip6 if places.family is IpFamily.IPV6 else service.cluster_ip, service.port)
        source: Endpoint | None = pod
        if flow_set is FlowSet.HOST_CLUSTER_IP:
            source = places.hosts.get(pod.node)
        elif flow_set is FlowSet.NODE_PORT:
            source, via = places.outside, _via(nodes[pod.node].address_of(places.family), service.node_port)
        if source is None:
            continue
        for flow_class in _TCP_CLASSES:
            yield places.flow(source, backend, FlowRole.SERVICE, flow_set=flow_set, flow_class=flow_class, via=via)


def _via(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

"""Flows to agents with their settings, agents to processes: in the lab for all pods together, on Kubernetes per pod. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hitless.errors import UsageError
from hitless.facts import Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.words import SECOND, FlowClass, FlowId, FlowRole, IpFamily, Nanoseconds
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from probes.stamp import PORT, SSID_MAX

SENDER: Final = "sender"
REFLECTOR: Final = "reflector"
ACCEPTOR: Final = "acceptor"
"""Reflects what comes on connections."""
PROCESS: Final = "agents"
"""Name of a process with agents of both roles."""

SHARED_HZ_MAX: Final = 15_000
"""Round trips per second that one process with both ends may have to bear: less than half of a core, also with the inner
loop in Python (docs/benchmarks.md). A second core carries more, so beyond it each agent has a process of its own."""
_LINGER_EXTRA_NS: Final = 60 * SECOND
"""Beyond `drain_ns`: the time in which every other agent of a cluster's pods must have been told to stop."""
TCP_COST: Final = 10
"""A message on a connection takes as long as this many datagrams (docs/measuring.md)."""


def assign_ssids(flows: Iterable[Flow], place_of: Callable[[str], str]) -> dict[FlowId, int]:
    """Return the SSID of every flow: the smallest that no other flow of its two places has.

    A run may have more flows than an SSID has values. It only has to be unique where it is read: at the agents of a flow's
    source and of its destination. `place_of` returns the place of an endpoint's agents: itself, or one that holds several.
    Source: RFC 8972 3 (locally unique; a reflector identifies a session by its addresses, too).

    Raises:
        UsageError: a place has more flows than an SSID has values.
    """
    used: dict[str, int] = {}
    ssids: dict[FlowId, int] = {}
    for flow in flows:
        source, destination = place_of(flow.source), place_of(flow.destination)
        taken = used.get(source, 0) | used.get(destination, 0)
        free = ~taken & (taken + 1)  # the lowest bit that is 0; bit 0 is the SSID 1
        ssids[flow.id] = ssid = free.bit_length()
        if ssid > SSID_MAX:
            where = f"{source or 'one prober'} sends and answers more than {SSID_MAX:,} flows"
            raise UsageError(f"{where}, but a STAMP session identifier has 16 bits; use --mesh covering")
        used[source] = used.get(source, 0) | free
        used[destination] = used.get(destination, 0) | free
    return ssids


def make_flow_settings(
    flow: Flow, ssid: int, endpoints: Mapping[str, Endpoint], nodes: Sequence[NodeFacts] = ()
) -> FlowSettings:
    """Return the settings of one flow.

    Args:
        flow: the flow; both ends are among `endpoints`.
        ssid: see `assign_ssids`.
        endpoints: by name.
        nodes: a masquerade may replace the source's address by one of theirs, because a NodePort can be entered at any node.
    """
    source, destination = endpoints[flow.source], endpoints[flow.destination]
    port = (flow.via or "").rpartition(":")[2]
    return FlowSettings(
        id=flow.id,
        ssid=ssid,
        source=flow.source,
        source_address=source.address_of(flow.ip_family),
        destination=flow.destination,
        destination_address=destination.address_of(flow.ip_family),
        flow_class=flow.flow_class,
        target_address=flow.target or None,
        port=int(port) if port else PORT,
        rewritten_sources=_rewritten_sources(flow, source, nodes),
    )


def _rewritten_sources(flow: Flow, source: Endpoint, nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Return the addresses that may replace the source's: a node's own or its tunnel device's. Source: mechanics 4.2, 4.5."""
    if flow.role not in {FlowRole.HOST, FlowRole.SERVICE}:
        return ()
    masquerading = [node for node in nodes if source.is_outside or node.name == source.node]
    addresses: list[str] = []
    for node in masquerading:
        addresses.append(node.address_of(flow.ip_family))
        if flow.ip_family is IpFamily.IPV4:
            addresses.append(node.tunnel_address)
    own = source.address_of(flow.ip_family)
    return tuple(address for address in dict.fromkeys(addresses) if address and address != own)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentGroup:
    """The flows of one agent: one protocol, address family, interval and size, so that each tick is one batch."""

    agent: str
    is_sender: bool
    interval_ns: Nanoseconds
    octets: int
    flows: tuple[Flow, ...]

    @property
    def ip_family(self) -> IpFamily:
        """Address family of its packets."""
        return self.flows[0].ip_family


def group_flows(flows: Sequence[Flow], spec: ProbeSpec, endpoint: str | None = None) -> tuple[AgentGroup, ...]:
    """Return the agents that a run needs, reflectors first; the sender of the mesh is called `sender`.

    The kernel answers ICMP. TCP flows and IPv6 have agents of their own at both ends. With an endpoint, only its agents are
    returned; else one place holds all endpoints.
    """
    reflected: dict[tuple[bool, IpFamily], list[Flow]] = {}
    sent: dict[tuple[str, Nanoseconds, int], list[Flow]] = {}
    for flow in flows:
        is_tcp, interval_ns = flow.flow_class.is_tcp, flow.interval_ns or spec.interval_ns
        if flow.flow_class is not FlowClass.ICMP and endpoint in {None, flow.destination}:
            reflected.setdefault((is_tcp, flow.ip_family), []).append(flow)
        if endpoint in {None, flow.source}:
            protocol = ("tcp" if is_tcp else flow.flow_class.value) + _suffix(flow.ip_family)
            sent.setdefault((protocol, interval_ns, flow.octets), []).append(flow)
    groups = [
        AgentGroup(
            agent=(ACCEPTOR if is_tcp else REFLECTOR) + _suffix(family),
            is_sender=False,
            interval_ns=min(flow.interval_ns or spec.interval_ns for flow in some),
            octets=max(flow.octets for flow in some),
            flows=tuple(some),
        )
        for (is_tcp, family), some in sorted(reflected.items())
    ]
    for number, ((protocol, interval_ns, octets), some) in enumerate(sent.items()):
        name = SENDER if number == 0 else f"{SENDER}-{protocol}-{octets}-{round(SECOND / interval_ns)}hz"
        groups.append(AgentGroup(agent=name, is_sender=True, interval_ns=interval_ns, octets=octets, flows=tuple(some)))
    return tuple(groups)


def _suffix(family: IpFamily) -> str:
    return "6" if family is IpFamily.IPV6 else ""


def share_processes(groups: Sequence[AgentGroup]) -> Mapping[str, tuple[AgentGroup, ...]]:
    """Return which agents share a process, by its name, reflectors first: all, unless that is too much for one process."""
    round_trips_hz = sum(
        len(group.flows) * SECOND / group.interval_ns * (TCP_COST if group.flows[0].flow_class.is_tcp else 1)
        for group in groups
        if group.is_sender
    )
    if groups and round_trips_hz <= SHARED_HZ_MAX:
        return {PROCESS: tuple(groups)}
    return {group.agent: (group,) for group in groups}


def flows_by_endpoint(flows: Iterable[Flow]) -> Mapping[str, Sequence[Flow]]:
    """Return the flows that each endpoint takes part in: a large cluster's plan looks at each flow twice, not once per pod."""
    found: defaultdict[str, list[Flow]] = defaultdict(list)
    for flow in flows:
        for name in {flow.source, flow.destination}:
            found[name].append(flow)
    return found


def plan_agents(
    endpoints: Mapping[str, Endpoint],
    name: str,
    flows: Sequence[Flow],
    spec: ProbeSpec,
    *,
    epoch_ns: int,
    ssids: Mapping[FlowId, int],
    nodes: Sequence[NodeFacts] = (),
) -> tuple[AgentSettings, ...]:
    """Return the agents of one endpoint, a pod, those that reflect first. Each is called after the endpoint and its group.

    Their directory is the supervisor's choice. `epoch_ns` is the reading of the pod's CLOCK_MONOTONIC that is 0 on the run
    clock; a masquerade may replace a source's address by one of the nodes'.
    """
    return tuple(
        AgentSettings(
            agent=f"{name}-{group.agent}",
            directory=Path(),
            epoch_ns=epoch_ns,
            interval_ns=group.interval_ns,
            packet_octets=group.octets,
            live_answers=spec.live_answers,
            drain_ns=spec.drain_ns,
            duration_ns_max=spec.duration_ns_max,
            linger_ns=spec.drain_ns + _LINGER_EXTRA_NS,
            waits=True,
            endpoints=(
                EndpointSettings(
                    name=name,
                    address=endpoints[name].address_of(group.ip_family),
                    sends=group.is_sender,
                    reflects=not group.is_sender,
                ),
            ),
            flows=tuple(make_flow_settings(flow, ssids[flow.id], endpoints, nodes) for flow in group.flows),
        )
        for group in group_flows(flows, spec, name)
    )

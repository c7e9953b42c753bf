"""Settings of flows for agents, the same on every cluster. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from hitless.errors import UsageError
from hitless.facts import Endpoint, Flow, NodeFacts
from hitless.words import FlowId, FlowRole, IpFamily
from probes.settings import FlowSettings
from probes.stamp import PORT, SSID_MAX


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

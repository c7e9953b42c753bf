"""Settings of a flow for an agent, the same on every cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hitless.facts import Endpoint, Flow, NodeFacts
from hitless.words import FlowRole, IpFamily
from probes.settings import FlowSettings
from probes.stamp import PORT


def make_flow_settings(flow: Flow, endpoints: Mapping[str, Endpoint], nodes: Sequence[NodeFacts] = ()) -> FlowSettings:
    """Return the settings of one flow.

    Args:
        flow: the flow; both ends are among `endpoints`.
        endpoints: by name.
        nodes: a masquerade may replace the source's address by one of theirs, because a NodePort can be entered at any node.
    """
    source, destination = endpoints[flow.source], endpoints[flow.destination]
    port = (flow.via or "").rpartition(":")[2]
    return FlowSettings(
        id=flow.id,
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

"""Settings of a flow for an agent, the same on every cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hitless.facts import Endpoint, Flow, NodeFacts
from hitless.words import FlowRole
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
    target, _, port = (flow.via or "").partition(":")
    return FlowSettings(
        id=flow.id,
        source=flow.source,
        source_address=source.address,
        destination=flow.destination,
        destination_address=destination.address,
        flow_class=flow.flow_class,
        target_address=target or None,
        port=int(port) if port else PORT,
        rewritten_sources=_rewritten_sources(flow, source, nodes),
    )


def _rewritten_sources(flow: Flow, source: Endpoint, nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Return the addresses that may replace the source's: a node's own or its tunnel device's. Source: mechanics 4.2, 4.5."""
    if flow.role not in {FlowRole.HOST, FlowRole.SERVICE}:
        return ()
    masquerading = [node for node in nodes if source.is_outside or node.name == source.node]
    addresses = (address for node in masquerading for address in (node.address, node.tunnel_address) if address)
    return tuple(address for address in dict.fromkeys(addresses) if address != source.address)

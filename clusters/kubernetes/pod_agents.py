"""The agents of a pod that a run needs, and the settings of each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from clusters.agent_groups import group_flows
from clusters.flow_settings import make_flow_settings
from hitless.facts import Endpoint, Flow, NodeFacts, ProbeSpec
from hitless.words import SECOND, FlowId
from probes.settings import AgentSettings, EndpointSettings

_LINGER_EXTRA_NS: Final = 60 * SECOND
"""Beyond `drain_ns`: the time in which every other agent must have been told to stop."""


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
    """Return the agents of one endpoint, those that reflect first. Each is called after the endpoint and its group.

    Their directory is the supervisor's choice.

    Args:
        endpoints: all of them, by name.
        name: of the endpoint.
        flows: of the run; those between other endpoints are ignored.
        spec: how to probe.
        epoch_ns: the reading of the pod's CLOCK_MONOTONIC that is 0 on the run clock.
        ssids: of the flows, see `assign_ssids`; a place is an endpoint.
        nodes: a masquerade may replace a source's address by one of theirs.
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

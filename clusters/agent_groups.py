"""Assignment of flows to agent processes: in the lab for all pods together, on Kubernetes per pod. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hitless.facts import Flow, ProbeSpec
from hitless.words import SECOND, FlowClass, Nanoseconds

SENDER: Final = "sender"
REFLECTOR: Final = "reflector"
ACCEPTOR: Final = "acceptor"
"""Reflects what comes on connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentGroup:
    """The flows of one agent process: one protocol, one interval and one size, so that each tick is one batch."""

    agent: str
    is_sender: bool
    interval_ns: Nanoseconds
    octets: int
    flows: tuple[Flow, ...]


def group_flows(flows: Sequence[Flow], spec: ProbeSpec, endpoint: str | None = None) -> tuple[AgentGroup, ...]:
    """Return the agents that a run needs, reflectors first; the sender of the mesh is called `sender`.

    The kernel answers ICMP. TCP flows have separate processes at both ends, because each message costs a system call and a
    batch of datagrams must not wait for it.

    Args:
        flows: the flows.
        spec: how to probe.
        endpoint: only the agents of this one; None: one place holds all endpoints.
    """
    reflected: dict[bool, list[Flow]] = {}
    sent: dict[tuple[str, Nanoseconds, int], list[Flow]] = {}
    for flow in flows:
        is_tcp, interval_ns = flow.flow_class.is_tcp, flow.interval_ns or spec.interval_ns
        if flow.flow_class is not FlowClass.ICMP and endpoint in {None, flow.destination}:
            reflected.setdefault(is_tcp, []).append(flow)
        if endpoint in {None, flow.source}:
            sent.setdefault(("tcp" if is_tcp else flow.flow_class.value, interval_ns, flow.octets), []).append(flow)
    groups = [
        AgentGroup(
            agent=ACCEPTOR if is_tcp else REFLECTOR,
            is_sender=False,
            interval_ns=min(flow.interval_ns or spec.interval_ns for flow in some),
            octets=max(flow.octets for flow in some),
            flows=tuple(some),
        )
        for is_tcp, some in sorted(reflected.items())
    ]
    for number, ((protocol, interval_ns, octets), some) in enumerate(sent.items()):
        name = SENDER if number == 0 else f"{SENDER}-{protocol}-{octets}-{round(SECOND / interval_ns)}hz"
        groups.append(AgentGroup(agent=name, is_sender=True, interval_ns=interval_ns, octets=octets, flows=tuple(some)))
    return tuple(groups)

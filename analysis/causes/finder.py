"""The candidates that could have dropped a flow's packets in one direction, in one run.

Direction matters: packets on the way out are routed by the sender's node and the table of its zone, packets on the way back by
the reflector's. Whether a candidate dropped anything is weighed in `explanations`. What no packet passes (conditions, the gate,
an API) is no candidate. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from analysis.bounds import instant_of, make_interval
from analysis.causes.candidates import Candidate, CauseKind, KernelCounter, list_faults
from analysis.causes.path_candidates import NO_PORTS, HopCandidates, RouteCandidates
from analysis.classify import Way
from analysis.cloud_routes import WATCHED, CloudRoutes
from analysis.measure import Measures
from analysis.paths import RouteEnds, TtlPaths
from analysis.route_history import LEAD_NS, RouteHistory
from hitless.facts import Endpoint, Flow
from hitless.faults import HARMLESS, MTU_LOWERED, NODE_ROUTE_LOST, OF_IPV6
from hitless.history import MACHINE, History
from hitless.words import MILLISECOND, FlowRole, IpFamily, Nanoseconds

HEADER_OCTETS: Final = 28
"""Of IPv4 with UDP or ICMP. Source: RFC 791 3.1, RFC 768, RFC 792."""
STALL_NS: Final = Nanoseconds(50 * MILLISECOND)
"""A machine that stalled may have dropped packets this long before and after the stall. Chosen here."""
_ROLL_EVENTS: Final = ("pod.deleted", "pod.created", "calico.felix_started", "pod.ready")
_SOCKET_COUNTERS: Final = (NO_PORTS, "Udp.RcvbufErrors")
_FAULT_PRIOR: Final = 0.3
_ROLL_PRIOR: Final = 0.02
_STALL_PRIOR: Final = 0.1
_MASQUERADE_PRIOR: Final = 0.5
_SOCKET_PRIOR: Final = 1.0
"""Odds against `unexplained` before any evidence. Chosen here: a roll is not known to drop packets, a dead socket is."""


class CandidateFinder:
    """The candidates of one run. Its measures matter, because the machine causes the outages of control flows."""

    def __init__(
        self, history: History, measures: Measures, routes: RouteHistory, cloud_routes: CloudRoutes, ttls: TtlPaths
    ) -> None:
        self._history = history
        self._endpoints = {endpoint.name: endpoint for endpoint in history.facts.endpoints}
        self._ttls = ttls
        named = {node.name for node in history.facts.nodes} | self._endpoints.keys() | {MACHINE}
        routers = frozenset(history.counters_after.keys() & history.counters_before.keys()) - named
        self._missing = RouteCandidates(history, routes, cloud_routes, routers)
        self._hops = HopCandidates(history, routes)
        self._shared = (*_faults(history), *_stalls(history))
        self._at_nodes = (*_rolls(history), *self._control_outages(measures))
        self._routes = routes
        self._pairs: dict[tuple[str, str, str], tuple[Candidate, ...]] = {}

    def of(self, flow: Flow, way: Way) -> tuple[Candidate, ...]:
        """Return the candidates for a flow's loss in one direction; for both if the direction is unknown."""
        source, destination = self._endpoints[flow.source], self._endpoints[flow.destination]
        found = list(self._shared)
        found += [candidate for node, candidate in self._at_nodes if node in (source.node, destination.node)]
        if flow.ip_family is IpFamily.IPV6:
            return tuple(found)  # The switch, the route controller's routes and the counters are of IPv4.
        found = [candidate for candidate in found if candidate.subject not in OF_IPV6]
        found += self._sockets(source, destination, way)
        ends = self._ttls.ends(flow)
        if ends is None:
            return tuple(found)
        if flow.flow_set.is_masqueraded:
            found += self._masquerade(ends)
        octets = 0 if flow.flow_class.is_tcp else flow.octets + HEADER_OCTETS
        if way is not Way.BACK and destination.is_pod:
            found += self._between(ends.sender, ends.reflector, destination.address)
            found += self._hops.by_size(ends.sender, ends.reflector, octets)
        if way is not Way.OUT and source.is_pod:
            found += self._between(ends.reflector, ends.sender, source.address)
            found += self._hops.by_size(ends.reflector, ends.sender, octets)
        return tuple(found)

    def _between(self, node: str, peer: str, address: str) -> tuple[Candidate, ...]:
        """Return the candidates for lost packets from one node to an address of another node's pods."""
        key = (node, peer, address)
        if key not in self._pairs:
            self._pairs[key] = (*self._missing.toward(node, peer, address), *self._hops.at_tunnel(node, peer))
        return self._pairs[key]

    def _sockets(self, source: Endpoint, destination: Endpoint, way: Way) -> Iterator[Candidate]:
        """Yield the probers whose socket was closed or full: such packets reached their host."""
        at = [destination] if way is Way.OUT else [source] if way is Way.BACK else [destination, source]
        for endpoint, counter in ((endpoint, counter) for endpoint in at for counter in _SOCKET_COUNTERS):
            # A node's own network has other sockets too, and tunnels count there.
            if endpoint.is_pod and self._history.moved(counter, [endpoint.name]):
                yield Candidate(
                    kind=CauseKind.INSTRUMENT,
                    subject=f"socket of {endpoint.name}",
                    text=f"packets reached {endpoint.name} and found no socket, or a full one",
                    is_begin_free=True,
                    is_end_free=True,
                    prior=_SOCKET_PRIOR,
                    counter=KernelCounter(name=counter, places=frozenset({endpoint.name})),
                )

    def _control_outages(self, measures: Measures) -> Iterator[tuple[str, Candidate]]:
        """Yield the outages of the nodes' control flows, whose path the switch does not touch."""
        for flow in self._history.flows_of(FlowRole.CONTROL):
            node = self._endpoints[flow.source].node
            for outage in measures[flow.id].outages:
                yield (
                    node,
                    Candidate(
                        kind=CauseKind.INSTRUMENT,
                        subject=f"control flow of {node}",
                        text=f"the control flow within {node} was down as well",
                        began=make_interval(outage.onset_after_ns, outage.onset_before_ns),
                        ended=None if outage.is_censored else make_interval(outage.end_ns - STALL_NS, outage.end_ns),
                        begin_text=f"{flow.label} went down",
                        end_text=f"{flow.label} was answered again",
                    ),
                )

    def _masquerade(self, ends: RouteEnds) -> Iterator[Candidate]:
        """Yield when the node that masquerades a flow rewrote its routes: a new output device ends the flow's conntrack entry.

        Source: mechanics 4.5, Linux net/netfilter/nf_nat_core.c nf_nat_oif_changed.
        """
        for event in self._routes.told:
            if event.facts["node"] == ends.sender:
                yield Candidate(
                    kind=CauseKind.MASQUERADE_CHANGED,
                    subject=f"masquerade on {ends.sender}",
                    text=f"{ends.sender} masqueraded the flow and its output device changed",
                    began=instant_of(event),
                    begin_text=f"{event.name} on {ends.sender}",
                    is_end_free=True,
                    prior=_MASQUERADE_PRIOR,
                )


def _faults(history: History) -> Iterator[Candidate]:
    """Yield the faults that may affect packets in unknown ways."""
    for fault in list_faults(history):
        if fault.name in {*HARMLESS, MTU_LOWERED, NODE_ROUTE_LOST}:
            continue
        yield Candidate(
            kind=CauseKind.FAULT,
            subject=fault.name,
            text=f"the fault {fault.name} was active",
            began=fault.began,
            ended=fault.ended,
            begin_text=f"fault.injected {fault.name}",
            end_text=f"fault.cured {fault.name}",
            prior=_FAULT_PRIOR,
        )


def _rolls(history: History) -> Iterator[tuple[str, Candidate]]:
    for event in history.events_named(*_ROLL_EVENTS):
        node, at = str(event.facts["node"]), instant_of(event)
        if history.facts.backend == WATCHED:
            at = make_interval(at.earliest_ns - LEAD_NS, at.latest_ns)  # dated when it was seen
        yield (
            node,
            Candidate(
                kind=CauseKind.POD_ROLL,
                subject=f"calico-node on {node}",
                text=f"calico-node on {node} was replaced; this is not known to drop packets",
                began=at,
                begin_text=f"{event.name} on {node}",
                is_end_free=True,
                prior=_ROLL_PRIOR,
            ),
        )


def _stalls(history: History) -> Iterator[Candidate]:
    """Yield the stalls of the sender: skipped ticks that are close together count as one."""
    skipped = history.records.skipped
    if not skipped.size:
        return
    due, woke = np.sort(skipped["due"]), np.sort(skipped["woke"])
    firsts = np.flatnonzero(np.diff(due, prepend=due[0] - 3 * STALL_NS) > 2 * STALL_NS)
    lasts = np.append(firsts[1:] - 1, due.size - 1)
    for began_ns, ended_ns in zip(due[firsts], woke[lasts], strict=True):
        yield Candidate(
            kind=CauseKind.INSTRUMENT,
            subject="a stall of the sender",
            text="the sender woke up too late to send, perhaps because the machine paused",
            began=make_interval(int(began_ns) - STALL_NS, int(ended_ns) + STALL_NS),
            ended=make_interval(int(began_ns), int(ended_ns) + STALL_NS),
            begin_text="a skipped tick",
            is_end_free=True,
            prior=_STALL_PRIOR,
        )

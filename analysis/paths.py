"""The path of every probe, out and back: Preferred Egress, Next-Best Egress, or not known.

There are two independent sources: the received TTL, which counts the router unless it is as AWS's gateway, and the events of
the node whose routes decide, which say whether the tunnel was used. Each source gives the possible paths, and the path is what
both allow. If they have nothing in common, the path is unknown, and the contradiction is counted.

In the mixed-mode matrix, the pair of modes that loses shows the cause: OVERLAY to NATIVE means that the receiver removed its
tunnel too early, NATIVE to anything that a cloud route is missing.

Pure. Definitions and sources: docs/measuring.md, Path of a probe; RFC 6412 3.4.3-4. No loop over probes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntFlag, unique
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.classify import Probes
from analysis.instrument import find_entries, of_flow
from analysis.route_history import ModeBits, RouteHistory, RouteMode, RouteTimeline, Times
from hitless.facts import ClusterFacts, Flow
from hitless.history import History
from hitless.records import NONE_NS, Rows
from hitless.words import FlowId, FlowRole, IpFamily, Mode

Flags = npt.NDArray[np.bool_]
Span = tuple[Times, Times]
"""Earliest and latest time of every probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEnds:
    """The two nodes of a flow whose ends are on different nodes."""

    sender: str
    """Node whose routes decide on the way out; of a client outside the node where it enters the cluster."""
    reflector: str
    """Node whose routes decide on the way back."""
    is_same_zone: bool
    is_to_pod: bool
    """Whether the way out is one to a pod: a node's own address is never behind the tunnel."""
    is_back_to_pod: bool
    """Whether the way back certainly leads to a pod. A flow that is not from pod to pod may be masqueraded, and then the answer
    goes to a node's address. Source: mechanics 4.2."""
    forwarding_nodes: int | None
    """How many nodes forward a packet, either way: each end that is a pod has one. None: other hops may be before them."""


def find_ends(facts: ClusterFacts, flows: Iterable[Flow]) -> dict[FlowId, RouteEnds]:
    """Return the two nodes of every flow that travels between two nodes of the cluster."""
    endpoints = {endpoint.name: endpoint for endpoint in facts.endpoints}
    zones = {node.name: node.zone for node in facts.nodes}
    by_address = {address: node.name for node in facts.nodes for family in IpFamily if (address := node.address_of(family))}
    found: dict[FlowId, RouteEnds] = {}
    for flow in flows:
        source, destination = endpoints[flow.source], endpoints[flow.destination]
        # A client of a NodePort: the node that it addresses forwards the request, and the answer comes back through it.
        sender = by_address.get(flow.target, "") if source.is_outside else source.node
        reflector = destination.node
        if sender != reflector and sender in zones and reflector in zones:
            found[flow.id] = RouteEnds(
                sender=sender,
                reflector=reflector,
                is_same_zone=zones[sender] == zones[reflector],
                is_to_pod=destination.is_pod,
                is_back_to_pod=source.is_pod and destination.is_pod,
                forwarding_nodes=None if source.is_outside else source.is_pod + destination.is_pod,
            )
    return found


SENT_TTL: Final = 255
"""TTL of STAMP packets when sent. Source: RFC 5357 4.1.2; RFC 8762 4.3.1 returns the received one."""
KERNEL_TTL: Final = 64
"""TTL of the kernel's own packets when sent, such as ICMP echo replies. Source: Linux, ip_default_ttl. No path is long enough
to confuse the two."""


@unique
class ProbePath(IntFlag):
    """The possible paths of a packet from node to node; several bits: which of them is unknown."""

    TUNNEL = 1
    DIRECT = 2
    """Plain, from node to node of one zone."""
    ROUTER = 4
    """Plain, by the gateway."""


NATIVE_PATHS: Final = ProbePath.DIRECT | ProbePath.ROUTER
ANY_PATH: Final = ProbePath.TUNNEL | NATIVE_PATHS

PathBits = npt.NDArray[np.uint8]
"""ProbePath of every probe."""
Ttls = npt.NDArray[np.uint8]
"""Received TTL of every probe; 0: none."""


def paths_of(mode: Mode, ends: RouteEnds) -> ProbePath:
    """Return the path of packets to a peer's pods in a mode.

    Plain packets go to the node within a zone, or by the gateway where only the default route is left.
    """
    if mode is Mode.OVERLAY:
        return ProbePath.TUNNEL
    return NATIVE_PATHS if ends.is_same_zone else ProbePath.ROUTER


class TtlPaths:
    """The paths that the TTLs of one run allow."""

    def __init__(self, history: History) -> None:
        self._ends = find_ends(history.facts, history.flows)
        self.is_router_counted = self._sees_router(history.records.sender)
        """Whether any packet arrived with a TTL one lower than the nodes explain."""

    def ends(self, flow: Flow) -> RouteEnds | None:
        """Return the two nodes of a flow; None: it does not travel between two nodes."""
        return self._ends.get(flow.id)

    def allowed(self, ends: RouteEnds, ttls: Ttls) -> PathBits:
        """Return the paths that received TTLs allow: any path without a TTL, or if the hop count of the router is not known."""
        allowed = np.full(ttls.size, ANY_PATH, dtype=np.uint8)
        if self.is_router_counted and ends.forwarding_nodes is not None:
            hops = np.where(ttls > 0, _hops(ttls), -1)
            allowed[hops == ends.forwarding_nodes] = ProbePath.TUNNEL | ProbePath.DIRECT
            allowed[hops == ends.forwarding_nodes + 1] = ProbePath.ROUTER
        return allowed

    def _sees_router(self, sender: Rows) -> bool:
        explained = np.full(max(int(sender["flow"].max(initial=0)), *self._ends, 0) + 1, -1, dtype=np.int16)
        for flow, ends in self._ends.items():
            explained[flow] = -1 if ends.forwarding_nodes is None else ends.forwarding_nodes
        expected = explained[sender["flow"]]
        is_usable = (expected >= 0) & (sender["corrupted"] == 0)
        return any(
            bool(np.any(is_usable & (ttls > 0) & (_hops(ttls) == expected + 1)))
            for ttls in (sender["forward_ttl"], sender["return_ttl"])
        )


def _hops(ttls: Ttls) -> npt.NDArray[np.int16]:
    return np.where(ttls > KERNEL_TTL, SENT_TTL, KERNEL_TTL) - ttls.astype(np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of a flow; every array has one element per probe, in order of sending."""

    paths: PathBits
    """The possible paths of the packet; 0: no packet went this way."""
    preferred: ProbePath
    """The Preferred Egress, the path before. Every other path is the Next-Best Egress, the path after."""
    modes: ModeBits
    """RouteMode of the sending node's routes to the other, by events, when the packet was routed or would have been."""
    is_contradicted: Flags
    """TTL and events have nothing in common; `paths` has every bit then."""
    since_ns: Times
    """Earliest time at which it was on its way; run clock."""
    until_ns: Times
    """Latest time at which it was on its way, or dropped."""

    @property
    def is_taken(self) -> Flags:
        """Whether a packet went this way."""
        return np.asarray(self.paths != 0)

    @property
    def is_preferred(self) -> Flags:
        """Whether it surely took the Preferred Egress."""
        return np.asarray(self.is_taken & ((self.paths & ~np.uint8(self.preferred)) == 0))

    @property
    def is_next_best(self) -> Flags:
        """Whether it surely took the Next-Best Egress."""
        return np.asarray(self.is_taken & ((self.paths & np.uint8(self.preferred)) == 0))

    @property
    def is_unknown(self) -> Flags:
        """Whether it went, and it is not known by which of both."""
        return self.is_taken & ~self.is_preferred & ~self.is_next_best


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPaths:
    """The paths of one flow between two nodes."""

    flow: Flow
    probes: Probes
    out: Direction
    """To the reflector; taken by every probe."""
    back: Direction
    """To the sender; not taken by a probe that is not known to have reached the reflector."""


def find_paths(
    history: History, probes: Mapping[FlowId, Probes], routes: RouteHistory, ttls: TtlPaths, *roles: FlowRole
) -> Iterator[FlowPaths]:
    """Yield the paths of every flow between two nodes, in order of their ids; of these roles, or of all without one."""
    log = history.records.reflector
    for flow in history.flows:
        ends = ttls.ends(flow)
        if ends is not None and flow.role in (roles or FlowRole):
            start = Mode.NATIVE if flow.ip_family is IpFamily.IPV6 else history.header.start_mode
            yield _find_paths(flow, ends, probes[flow.id], of_flow(log, flow), routes, ttls, start)


def _find_paths(
    flow: Flow, ends: RouteEnds, probes: Probes, log: Rows, routes: RouteHistory, ttls: TtlPaths, start: Mode
) -> FlowPaths:
    rows, native = probes.rows, paths_of(Mode.NATIVE, ends)
    by_mode = np.array([0, ProbePath.TUNNEL, native, ProbePath.TUNNEL | native], dtype=np.uint8)

    def direct(
        hops: RouteTimeline, span_ns: Span, received_ttls: npt.NDArray[np.uint8], fixed: ProbePath | None, is_taken: Flags
    ) -> Direction:
        """Find the paths of one direction; `fixed` are those that do not depend on the node's routes to pods."""
        modes = hops.between(*span_ns)
        by_events = by_mode[modes] if fixed is None else np.full(modes.size, fixed, dtype=np.uint8)
        both = by_events & ttls.allowed(ends, received_ttls)
        is_contradicted = is_taken & (both == 0)
        return Direction(
            paths=np.where(is_taken, np.where(is_contradicted, np.uint8(ANY_PATH), both), np.uint8(0)),
            preferred=ProbePath.TUNNEL if start is Mode.OVERLAY else NATIVE_PATHS,
            modes=modes,
            is_contradicted=is_contradicted,
            since_ns=span_ns[0],
            until_ns=span_ns[1],
        )

    # A corrupted answer proves nothing and a lost one carries nothing: the log replaces them.
    is_logged, entries = find_entries(rows, log)
    forward_ttls = np.where(rows["corrupted"] == 0, rows["forward_ttl"], 0)
    by_log = np.zeros(rows.size, dtype=np.uint8)
    by_log[is_logged] = entries["ttl"]
    forward_ttls = np.where(forward_ttls == 0, by_log, forward_ttls)
    out_ns, back_ns = _probe_spans(probes)
    hops_out = routes.toward(ends.sender, ends.reflector, flow.ip_family)
    hops_back = routes.toward(ends.reflector, ends.sender, flow.ip_family)
    # A node's own address is behind no tunnel.
    fixed_out, fixed_back = None if ends.is_to_pod else native, None if ends.is_back_to_pod else ANY_PATH
    has_come = (rows["copies"] > 0) | probes.is_far_end
    return FlowPaths(
        flow=flow,
        probes=probes,
        out=direct(hops_out, out_ns, forward_ttls, fixed_out, np.ones(rows.size, dtype=np.bool_)),
        back=direct(hops_back, back_ns, rows["return_ttl"], fixed_back, has_come),
    )


def _probe_spans(probes: Probes) -> tuple[Span, Span]:
    """Return when every probe of a flow was on its way out, and its answer back, on the clock that dates the events.

    A probe that was lost on the way out has the times at which its answer could have left and arrived. If neither an answer
    nor the reflector's log tells when the reflector received it (ICMP, TCP), both directions share the whole round trip.
    """
    rows, bound = probes.rows, probes.run_clock_bound_ns
    is_trusted = rows["corrupted"] == 0  # the times in a corrupted answer prove nothing
    seen = _first_known(np.where(is_trusted, rows["reflector_received"], NONE_NS), probes.reflector_sent)
    left = _first_known(np.where(is_trusted, rows["reflector_sent"], NONE_NS), probes.reflector_sent)
    received = _first_known(np.where(rows["copies"] > 0, rows["received"], NONE_NS))
    out_max_ns, back_max_ns = _largest_delays_ns(probes)
    out_limit = rows["send_ended_ns"] + out_max_ns
    back_limit = np.where(left == NONE_NS, out_limit, left + probes.clock_bound_ns) + back_max_ns
    at_reflector = np.where(seen == NONE_NS, NONE_NS, seen + probes.clock_bound_ns)
    from_reflector = np.where(left == NONE_NS, NONE_NS, left - probes.clock_bound_ns)
    out_since = rows["send_began_ns"] - bound
    out_until = _first_known(at_reflector, received, out_limit) + bound
    back_since = _first_known(from_reflector, rows["send_began_ns"]) - bound
    back_until = _first_known(received, back_limit) + bound
    return (out_since, np.maximum(out_since, out_until)), (back_since, np.maximum(back_since, back_until))


def _first_known(*times: Times) -> Times:
    """Return the first of several times that is known, element by element; NONE_NS where none is."""
    found = times[0]
    for other in times[1:]:
        found = np.where(found == NONE_NS, other, found)
    return np.asarray(found, dtype=np.int64)


def _largest_delays_ns(probes: Probes) -> tuple[int, int]:
    """Return the largest delay out and back; both are the largest round trip if the reflector records no times."""
    rows = probes.rows
    if np.any(rows["reflector_received"] != NONE_NS) or not rows.size:
        return probes.forward_delay_max_ns, probes.return_delay_max_ns
    intact = (rows["copies"] > 0) & (rows["corrupted"] == 0) & ~probes.is_late
    round_trip_ns = int(np.max(rows["received"] - rows["send_began_ns"], initial=0, where=intact))
    return round_trip_ns, round_trip_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeLoss:
    """The probes of one pair of modes: OVERLAY, NATIVE, or UNKNOWN while the node's routes were rewritten."""

    sender: str
    """Of the sender's node, toward the receiver's, while the probe was on its way out."""
    receiver: str
    """Of the receiver's node, toward the sender's, while the answer was on its way back, or would have been."""
    offered: int
    """Each offered probe is in one cell."""
    lost: int
    lost_near_end: int
    lost_far_end: int
    lost_unknown: int


MODES: Final = (RouteMode.OVERLAY, RouteMode.NATIVE, RouteMode.UNKNOWN)
"""In the order of the matrix. RouteMode, iterated, would leave UNKNOWN out: it is both bits."""
CELLS: Final = (4, RouteMode.UNKNOWN + 1, RouteMode.UNKNOWN + 1)
"""Offered, lost, near end and far end, by the modes of sender and receiver."""
Cells = npt.NDArray[np.int64]
"""Counts in the shape CELLS."""


def count_cells(found: FlowPaths) -> Cells:
    """Count the probes of one flow. The caller sums flow by flow, so that only one of them is in memory."""
    probes, counts = found.probes, np.zeros(CELLS, dtype=np.int64)
    offered = np.ones(probes.rows.size, dtype=np.bool_)
    for number, mask in enumerate((offered, probes.is_lost, probes.is_near_end, probes.is_far_end)):
        np.add.at(counts[number], (found.out.modes[mask], found.back.modes[mask]), 1)
    return counts


def make_matrix(counts: Cells) -> tuple[ModeLoss, ...]:
    """Return the nine cells of some flows' summed counts, by sender, then by receiver: OVERLAY, NATIVE, UNKNOWN."""
    return tuple(_make_cell(sender, receiver, counts[:, sender, receiver]) for sender in MODES for receiver in MODES)


def _make_cell(sender: RouteMode, receiver: RouteMode, counts: Cells) -> ModeLoss:
    offered, lost, near_end, far_end = counts.tolist()
    return ModeLoss(
        sender=str(sender.name),
        receiver=str(receiver.name),
        offered=offered,
        lost=lost,
        lost_near_end=near_end,
        lost_far_end=far_end,
        lost_unknown=lost - near_end - far_end,
    )

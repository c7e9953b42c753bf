"""Loss of the instrument itself: probes that reached one of the prober's sockets and were dropped there.

Such a probe says nothing about the network. It is removed before anything is measured, as if it had not been sent. If more
probes are missing in that time than the socket dropped, all are removed, and the run is in doubt (checks.instrument). Pure.
"""

from __future__ import annotations

import errno
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.facts import Flow
from hitless.history import History
from hitless.records import NONE_NS, Rows
from hitless.words import FlowClass, FlowId, FlowRole, Nanoseconds

TRAVEL_NS: Final = Nanoseconds(20_000_000)
"""A datagram that was dropped between two readings was sent at most this long before the first one. Chosen here: a hundred
round trips through a lab."""

NETWORK_ERRNOS: Final = (errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EINVAL, errno.EACCES)
"""Errors by the kernel's own routes, rules and devices; a blackhole route gives EINVAL. Source: ip-route(8)."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowLoss:
    """A period in which a socket of the prober dropped datagrams, and the probes that may have been among them."""

    address: str
    """Of the endpoint."""
    since_ns: Nanoseconds
    dropped: int
    """Datagrams that the socket dropped."""
    missing: int
    """Lost probes that may have been dropped here; if more than `dropped`, the network lost some of them."""
    offered: int
    """Probes of all flows that the socket served."""


def is_instrument_loss(history: History, flow: Flow, rows: Rows, log: Rows) -> Mask:
    """Return which probes of a flow, by its SENDER_ROWs and REFLECTOR_ROWs, a socket of the prober may have dropped."""
    found = np.zeros(rows.size, dtype=np.bool_)
    for overflow in _overflows(history):
        if overflow.serves(flow):
            found |= overflow.candidates(rows, log)
    return found


def overflow_losses(history: History) -> Iterator[OverflowLoss]:
    """Yield every overflow with the number of lost probes in it and of all probes that its socket served."""
    sender, reflector = history.records.sender, history.records.reflector
    endpoints = {endpoint.name: endpoint for endpoint in history.facts.endpoints}
    for overflow in _overflows(history):
        missing = offered = 0
        for flow in history.flows:
            if overflow.serves(flow):
                rows, log = of_flow(sender, flow), of_flow(reflector, flow)
                missing += int(np.count_nonzero(overflow.candidates(rows, log)))
                offered += int(np.count_nonzero(rows["send_errno"] == 0))
        yield OverflowLoss(
            address=endpoints[overflow.end].address_of(overflow.example.ip_family),
            since_ns=overflow.since_ns,
            dropped=overflow.dropped,
            missing=missing,
            offered=offered,
        )


def is_network_refusal(history: History) -> Mask:
    """Return which rows are send errors by the network of the sending node, not by a lack of resources.

    A node's own sender gets an error where a pod only sees loss: there is no route, or the conntrack entry of a masqueraded
    flow ended with its output device (EPERM). Source: Linux net/ipv4/route.c, net/netfilter/nf_nat_core.c nf_nat_oif_changed.
    """
    hosts = {endpoint.name for endpoint in history.facts.endpoints if endpoint.is_host}
    flows = [flow.id for flow in history.flows_of(FlowRole.HOST) if flow.source in hosts]
    sender = history.records.sender
    return np.asarray(np.isin(sender["flow"], flows) & np.isin(sender["send_errno"], NETWORK_ERRNOS), dtype=np.bool_)


def span(flows: npt.NDArray[np.uint32], flow: FlowId) -> slice:
    """Return the slice of a flow's rows in a column that is sorted by flow.

    Uses bisection, because numpy's search copies the whole column each time to align and widen it.
    """
    return slice(bisect_left(flows, flow), bisect_right(flows, flow))


def of_flow(rows: Rows, flow: Flow) -> Rows:
    """Return a flow's rows of a table that is sorted by flow."""
    mine: Rows = rows[span(rows["flow"], flow.id)]
    return mine


def find_runs(mask: Mask) -> Iterator[tuple[int, int]]:
    """Yield every maximal run of true elements: the index of its first one, and the index behind its last one."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)


def without(rows: Rows, is_left_out: Mask) -> Rows:
    """Return the other rows, uncopied where they are all: a large mesh has millions."""
    others: Rows = rows[~is_left_out] if is_left_out.any() else rows
    return others


def find_entries(rows: Rows, log: Rows) -> tuple[Mask, Rows]:
    """Return which probes of a flow are in its reflector's log, and the first entry of each of these, in the same order."""
    seqs, first = np.unique(log["seq"], return_index=True)
    place = np.searchsorted(seqs, rows["seq"])
    is_known = np.zeros(rows.size, dtype=np.bool_)
    is_inside = place < seqs.size
    is_known[is_inside] = seqs[place[is_inside]] == rows["seq"][is_inside]
    entries: Rows = log[first[place[is_known]]]
    return is_known, entries


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overflow:
    """A time in which one socket dropped datagrams; adjacent readings are merged."""

    example: Flow
    """A flow that the socket serves."""
    is_reflector: bool
    since_ns: Nanoseconds
    until_ns: Nanoseconds
    dropped: int

    @property
    def end(self) -> str:
        """Name of the endpoint."""
        return self.example.destination if self.is_reflector else self.example.source

    def serves(self, flow: Flow) -> bool:
        """Return whether the socket serves a flow: a reflector's all that end there, a sender's one class, size and rate."""
        if flow.flow_class.is_tcp or flow.ip_family is not self.example.ip_family:
            return False
        if self.is_reflector:
            return flow.destination == self.end and flow.flow_class is not FlowClass.ICMP
        kind = (flow.source, flow.flow_class, flow.octets, flow.interval_ns)
        return kind == (self.end, self.example.flow_class, self.example.octets, self.example.interval_ns)

    def candidates(self, rows: Rows, log: Rows) -> Mask:
        """Return a flow's lost probes that the socket may have dropped: on the way out at a reflector, back at a sender."""
        is_lost = (rows["copies"] == 0) & (rows["send_errno"] == 0)
        came = rows["send_began_ns"].copy()
        is_logged, entries = find_entries(rows, log)
        if self.example.flow_class is not FlowClass.ICMP:
            is_lost &= is_logged != self.is_reflector
            if not self.is_reflector:
                # An answer is dropped on arrival, however long its probe had waited at a busy reflector.
                came[is_logged] = np.where(entries["sent"] == NONE_NS, entries["received"], entries["sent"])
        return np.asarray(is_lost & (came >= self.since_ns - TRAVEL_NS) & (came <= self.until_ns), dtype=np.bool_)


def _overflows(history: History) -> Iterator[_Overflow]:
    """Yield the overflows of every socket. Adjacent ones are merged, because a probe on the border would count in both."""
    rows = np.sort(history.records.overflows, order=["is_reflector", "flow", "since"])
    if not rows.size:
        return
    flows = {flow.id: flow for flow in history.flows}
    is_apart = rows["since"][1:] - rows["until"][:-1] > TRAVEL_NS
    for name in ("flow", "is_reflector"):
        is_apart |= rows[name][1:] != rows[name][:-1]
    for merged in np.split(rows, np.flatnonzero(is_apart) + 1):
        yield _Overflow(
            example=flows[FlowId(int(merged["flow"][0]))],
            is_reflector=bool(merged["is_reflector"][0]),
            since_ns=Nanoseconds(int(merged["since"][0])),
            until_ns=Nanoseconds(int(merged["until"][-1])),
            dropped=int(merged["dropped"].sum()),
        )

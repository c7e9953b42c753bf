"""What the instrument lost itself: probes that came as far as a socket of ours and were dropped there.

Such a probe says nothing of the network. It is taken out before anything is measured, as a probe that was never sent, so that
it never becomes downtime. Where more probes are missing in that time than the socket dropped, nobody can say which were which:
they are taken out all the same, and the run is doubted (checks.instrument).

Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.history import History
from hitless.ports import Flow
from hitless.records import Rows
from hitless.words import FlowClass, FlowId, Nanoseconds

TRAVEL_NS: Final = Nanoseconds(20_000_000)
"""A datagram that was dropped between two looks was sent this long before the first of them at most. Ours: a hundred times the
round trip through a lab."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowLoss:
    """One time in which a socket of ours dropped datagrams, and the probes that it may have been."""

    address: str
    """Of the endpoint."""
    since_ns: Nanoseconds
    until_ns: Nanoseconds
    dropped: int
    """Datagrams that the socket dropped."""
    missing: int
    """Lost probes that it can have been; more than `dropped`: the network lost some of them."""


def is_instrument_loss(history: History, flow: Flow, rows: Rows, log: Rows) -> Mask:
    """Return which probes of a flow one of our own sockets may have dropped.

    Args:
        history: for the overflows and the endpoints' addresses.
        flow: the flow.
        rows: its SENDER_ROWs.
        log: its REFLECTOR_ROWs.
    """
    found = np.zeros(rows.size, dtype=np.bool_)
    for overflow in history.records.overflows:
        found |= _candidates(history, flow, rows, log, overflow)
    return found


def overflow_losses(history: History) -> Iterator[OverflowLoss]:
    """Yield every overflow with the number of lost probes that fall into it."""
    sender, reflector = history.records.sender, history.records.reflector
    for overflow in history.records.overflows:
        missing = 0
        for flow in history.flows:
            rows, log = sender[span(sender["flow"], flow.id)], reflector[span(reflector["flow"], flow.id)]
            missing += int(np.count_nonzero(_candidates(history, flow, rows, log, overflow)))
        yield OverflowLoss(
            address=str(IPv4Address(int(overflow["address"]))),
            since_ns=Nanoseconds(int(overflow["since"])),
            until_ns=Nanoseconds(int(overflow["until"])),
            dropped=int(overflow["dropped"]),
            missing=missing,
        )


def span(flows: npt.NDArray[np.uint16], flow: FlowId) -> slice:
    """Return where a flow's rows are in a column that is sorted by flow.

    By bisection: numpy's own search copies the whole column each time, to align it and to widen it to the flow's type.
    """
    return slice(bisect_left(flows, flow), bisect_right(flows, flow))


def _candidates(history: History, flow: Flow, rows: Rows, log: Rows, overflow: np.void) -> Mask:
    """Return the lost probes of a flow that one overflow may have taken: on the way out at a reflector, back at a sender."""
    is_reflector = bool(overflow["is_reflector"])
    end = flow.destination if is_reflector else flow.source
    address = next((one.address for one in history.facts.endpoints if one.name == end), None)
    if flow.flow_class.is_tcp or address is None or int(IPv4Address(address)) != int(overflow["address"]):
        return np.zeros(rows.size, dtype=np.bool_)
    is_lost = (rows["copies"] == 0) & (rows["send_errno"] == 0)
    is_within = (rows["before"] >= overflow["since"] - TRAVEL_NS) & (rows["before"] <= overflow["until"])
    is_logged = np.isin(rows["seq"], log["seq"])
    if flow.flow_class is FlowClass.ICMP:
        return np.asarray(is_lost & is_within & (not is_reflector), dtype=np.bool_)
    return np.asarray(is_lost & is_within & (is_logged != is_reflector), dtype=np.bool_)

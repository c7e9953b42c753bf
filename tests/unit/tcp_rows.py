"""Rows of TCP flows written by hand: one message per tick, and what was recorded of connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hitless.facts import Flow
from hitless.history import History
from hitless.records import CONNECTION_ROW, SENDER_ROW, ConnectionEvent, Rows
from hitless.words import FlowClass, FlowId, FlowRole, FlowSet
from tests.clocks import ms
from tests.unit.histories import header, history, pair_of_flows

INTERVAL_MS = 50.0
DELAY_MS = 0.5


def message(
    tick: int, *, delay_ms: float | None = DELAY_MS, failure: int = 0, retransmits: int = 0, send_errno: int = 0, flow: int = 7
) -> Rows:
    """One message, offered at its tick; `delay_ms` None: not answered."""
    row = np.zeros(1, SENDER_ROW)
    row["flow"], row["seq"] = flow, tick
    row["send_began_ns"] = ms(tick * INTERVAL_MS)
    row["send_ended_ns"] = row["send_began_ns"] + 5_000
    row["received"] = -1 if delay_ms is None else row["send_began_ns"] + ms(delay_ms)
    row["reflector_received"] = row["reflector_sent"] = -1 if delay_ms is None else row["send_began_ns"] + ms(delay_ms / 2)
    row["copies"] = delay_ms is not None
    row["failure"], row["retransmits"], row["send_errno"] = failure, retransmits, send_errno
    return row


def messages(*rows: Rows) -> Rows:
    return np.concatenate(rows) if rows else np.zeros(0, SENDER_ROW)


def quiet(first: int, count: int, flow: int = 7) -> Rows:
    """Messages that were answered at once."""
    return messages(*(message(tick, flow=flow) for tick in range(first, first + count)))


def told(what: ConnectionEvent, at_ms: float, *, seq: int, connection: int = 0, errno: int = 0, flow: int = 7) -> Rows:
    row = np.zeros(1, CONNECTION_ROW)
    row["flow"], row["connection"], row["at"], row["what"] = flow, connection, ms(at_ms), what
    row["errno"], row["seq"] = errno, seq
    return row


def story(*rows: Rows) -> Rows:
    return np.concatenate(rows) if rows else np.zeros(0, CONNECTION_ROW)


def opened(flow: int = 7) -> Rows:
    """A connection that was open from the start."""
    return told(ConnectionEvent.OPENED, 0, seq=0, flow=flow)


def tcp_flow(
    number: int = 7,
    flow_set: FlowSet = FlowSet.TCP_ESTABLISHED,
    flow_class: FlowClass = FlowClass.TCP_ESTABLISHED,
    role: FlowRole = FlowRole.POD,
) -> Flow:
    return Flow(
        id=FlowId(number),
        source="node-a1-mesh",
        destination="node-b1-mesh",
        role=role,
        flow_class=flow_class,
        flow_set=flow_set,
        via="10.96.0.1:80" if role is FlowRole.SERVICE else None,
    )


def tcp_history(flows: Sequence[Flow], rows: Rows, connections: Rows, **changes: Any) -> History:  # noqa: ANN401 - any field
    """A history with these TCP flows beside the usual ones."""
    plain = history()
    sender = np.concatenate([plain.records.sender, rows])
    records = replace(
        plain.records,
        sender=sender[np.lexsort((sender["seq"], sender["flow"]))],
        connections=connections[np.lexsort((connections["at"], connections["flow"]))],
    )
    return history(flows=(*pair_of_flows(), *flows), records=records, header=header(**changes))

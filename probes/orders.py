"""Orders to a running agent: one JSON line each, on its stdin.

    {"order": "send", "at_ns": 3000000000}    send from then on (run clock); only once, only an agent that waits
    {"order": "stop", "at_ns": 9000000000}    send nothing from then on
    {"order": "end"}                          end now: the answers are no longer needed

Agents that are told one after the other still begin and stop together, because an order says when. A line that is not an order
is ignored: a process that may write to this pipe could also end the agent.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

_LINE_OCTETS_MAX: Final = 4096
"""A longer line is no order."""


@unique
class OrderKind(StrEnum):
    """Kind of an order."""

    SEND = "send"
    """Send from `at_ns` on."""
    STOP = "stop"
    """Send nothing from `at_ns` on."""
    END = "end"
    """Stop at once and do not linger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order."""

    kind: OrderKind
    at_ns: int = 0
    """Run clock, ns; without a meaning for END."""


class OrderReader:
    """Assembles lines from the pieces that a pipe returns."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, content: bytes) -> Iterator[Order]:
        """Yield the orders that are complete now."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._rest = self._rest[:_LINE_OCTETS_MAX]
        for line in lines:
            order = parse_order(line)
            if order is not None:
                yield order


def parse_order(line: bytes) -> Order | None:
    """Return the order in a line; None: there is none."""
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"order": "end"}:
            return Order(kind=OrderKind.END)
        case {"order": "send" | "stop" as kind, "at_ns": int(at_ns)} if type(at_ns) is int:
            return Order(kind=OrderKind(kind), at_ns=at_ns)
        case _:
            return None


def encode_order(order: Order) -> dict[str, Any]:
    """Return an order as one JSON object: what `parse_order` reads."""
    return {"order": order.kind.value, **({} if order.kind is OrderKind.END else {"at_ns": order.at_ns})}

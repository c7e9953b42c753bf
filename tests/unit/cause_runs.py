"""Hand-written runs whose outages have a known cause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analysis.causes.attribution import Attribution
from analysis.evidence import Evidence
from hitless.events import Event
from hitless.facts import Flow
from hitless.history import History
from hitless.words import FlowId, FlowRole
from tests.clocks import ms
from tests.unit.histories import event, history, node_facts, records

TICKS = 200
LONG = "." * TICKS
"""A flow that lost nothing from 10 ms to a second."""
SAME_ZONE = (
    Flow(id=FlowId(1), source="node-a1-mesh", destination="node-a2-mesh", role=FlowRole.MESH),
    Flow(id=FlowId(2), source="node-a1-mesh", destination="node-a1-control", role=FlowRole.CONTROL),
)


def down(first_ms: float, last_ms: float, mark: str = "X") -> str:
    """A flow that loses the probes that are sent between these two times."""
    return "".join(mark if first_ms <= 10 + 5 * tick <= last_ms else "." for tick in range(TICKS))


def route(at_ms: float, name: str, zone: str, node: str, took_ms: float = 1) -> Event:
    cidr = next(one.pod_cidr for one in node_facts() if one.name == node)
    return event(at_ms, f"route.{name}", zone=zone, cidr=cidr, node=node, began_ns=ms(at_ms - took_ms))


def all_routes(at_ms: float, *, but: Iterable[tuple[str, str]] = ()) -> list[Event]:
    pairs = [(zone, node.name) for zone in "ab" for node in node_facts()]
    return [route(at_ms, "created", zone, node) for zone, node in pairs if (zone, node) not in tuple(but)]


def run_with(pattern: str, events: Iterable[Event], *, control: str = LONG, **changes: Any) -> History:  # noqa: ANN401
    frame = [event(0, "run.started"), event(40, "run.live"), event(50, "switch.requested", mode="NATIVE")]
    ordered = tuple(sorted([*frame, *events], key=lambda one: one.t_ns))
    return history(events=ordered, records=records({1: pattern, 2: control}), **changes)


def only(run: History, flow: int = 1) -> Attribution:
    (found,) = [one for one in Evidence(run).causes if one.flow == flow]
    return found


def counters(**moved: dict[str, int]) -> dict[str, Any]:
    """Counters of all namespaces, all 0 before; `vpc` is the router's."""
    names = ("IpExt.InNoRoutes", "TcpExt.IPReversePathFilter", "Udp.NoPorts", "Udp.RcvbufErrors")
    places = ["vpc", *(node.name for node in node_facts()), "node-a1-mesh", "node-b1-mesh"]
    after = {place: dict.fromkeys(names, 0) | moved.get(place.replace("-", "_"), {}) for place in places}
    return {"counters_before": {place: dict.fromkeys(names, 0) for place in places}, "counters_after": after}

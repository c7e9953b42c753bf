"""Causes of lost full-size packets while the MTU of a node's interface is lowered: injected truth, by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from analysis.causes.attribution import Attribution
from analysis.causes.candidates import CauseKind
from analysis.evidence import Evidence
from hitless.events import Event
from hitless.history import History
from hitless.words import FlowSet, Mode
from tests.clocks import ms
from tests.unit.cause_runs import all_routes, down, run_with
from tests.unit.histories import event, facts, header, node_facts, pair_of_flows, repointed

INNER = 1480
"""Octets of a full-size packet in the overlay, 1,516 with the headers of VXLAN-GPE."""


def lowered(began_ms: float, ended_ms: float, octets: int, node: str = "node-b1") -> list[Event]:
    options = {"node": node, "octets": octets}
    return [
        event(began_ms, "fault.injected", fault="mtu-lowered", options=options, began_ns=ms(began_ms - 0.3)),
        event(ended_ms, "fault.cured", fault="mtu-lowered", options=options, began_ns=ms(ended_ms - 0.3)),
    ]


def run_of(
    pattern: str,
    events: Iterable[Event],
    *,
    octets: int = INNER,
    carrier: str = "vxlan-gpe",
    **changes: Any,  # noqa: ANN401
) -> History:
    """Return a run of a flow of packets of that size from node-a1 to node-b1."""
    flow = replace(pair_of_flows()[0], octets=octets - 28, flow_set=FlowSet.UDP_OVERLAY_MTU)
    cluster = replace(facts(), overlay_pod_mtu=INNER, carrier=carrier)
    return run_with(pattern, events, flows=(flow, pair_of_flows()[1]), facts=cluster, **changes)


def counted(**moved: dict[str, int]) -> dict[str, Any]:
    """Counters of all nodes, 0 before."""
    names = ("Link.InDrops", "Ip.FragFails")
    places = [node.name for node in node_facts()]
    after = {place: dict.fromkeys(names, 0) | moved.get(place.replace("-", "_"), {}) for place in places}
    return {"counters_before": {place: dict.fromkeys(names, 0) for place in places}, "counters_after": after}


def only(run: History) -> Attribution:
    (found,) = Evidence(run).causes
    return found


def said(run: History) -> tuple[CauseKind, tuple[str, ...]]:
    return only(run).cause.kind, only(run).cause.subjects


LOWERED = (CauseKind.TOO_LARGE, ("interface of node-b1",))
UNEXPLAINED = (CauseKind.UNEXPLAINED, ())


def test_what_the_node_receives_in_the_tunnel_is_lost_until_the_sender_leaves_the_tunnel() -> None:
    events = [*all_routes(60), *lowered(300, 900, 1480), *repointed(500)]
    run = run_of(down(300, 499), events, **counted(node_b1={"Link.InDrops": 40}))
    assert said(run) == LOWERED
    assert only(run).cause.score > 0.99
    assert "it began as fault.injected mtu-lowered" in only(run).cause.text
    assert "it ended as node-a1 changed its next hop" in only(run).cause.text
    assert "Link.InDrops of node-b1 moved by 40" in only(run).cause.text


def test_without_a_counter_the_times_decide() -> None:
    assert said(run_of(down(300, 499), [*all_routes(60), *lowered(300, 900, 1480), *repointed(500)])) == LOWERED


def test_the_counter_acquits_an_interface_that_dropped_nothing() -> None:
    events = [*all_routes(60), *lowered(290, 900, 1480), *repointed(510)]
    assert said(run_of(down(300, 499), events, **counted())) == UNEXPLAINED


def test_no_more_is_attributed_than_the_interface_dropped() -> None:
    events = [*all_routes(60), *lowered(300, 500, 1480)]
    run = run_of(down(300, 499), events, **counted(node_b1={"Link.InDrops": 10}))
    score = sum(cause.score for cause in only(run).causes if cause.kind is CauseKind.TOO_LARGE)
    assert score * 40 <= 10.01


@pytest.mark.parametrize(
    ("octets", "mtu"),
    [(1444, 1480), (72, 1280)],  # with 36 octets of headers the former is 1,480
)
def test_packets_that_fit_are_lost_by_something_else(octets: int, mtu: int) -> None:
    events = [*all_routes(60), *lowered(300, 500, mtu)]
    assert said(run_of(down(300, 499), events, octets=octets)) == UNEXPLAINED


def test_the_interface_of_a_node_on_no_end_of_the_path_explains_nothing() -> None:
    assert said(run_of(down(300, 499), [*all_routes(60), *lowered(300, 500, 1480, "node-b2")])) == UNEXPLAINED


def test_native_packets_that_fit_are_lost_by_something_else() -> None:
    events = [*all_routes(60), *repointed(100), *lowered(300, 500, 1480)]
    assert said(run_of(down(300, 499), events)) == UNEXPLAINED


def test_native_packets_that_do_not_fit_are_dropped_where_they_arrive() -> None:
    events = [*all_routes(60), *repointed(100), *lowered(300, 500, 1400)]
    assert said(run_of(down(300, 499), events, **counted(node_b1={"Link.InDrops": 40}))) == LOWERED


def test_native_packets_that_do_not_fit_are_refused_where_they_leave() -> None:
    events = [*all_routes(60), *repointed(100), *lowered(300, 500, 1400, "node-a1")]
    run = run_of(down(300, 499), events, **counted(node_a1={"Ip.FragFails": 40}))
    assert said(run) == (CauseKind.TOO_LARGE, ("interface of node-a1",))
    assert "Ip.FragFails of node-a1 moved by 40" in only(run).cause.text


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [
        ("ipip", (CauseKind.TOO_LARGE, ("interface of node-a1",))),  # IPIP copies DF
        ("vxlan-gpe", UNEXPLAINED),  # the outer packet is cut in two
        ("vxlan", UNEXPLAINED),
    ],
)
def test_what_the_node_sends_in_the_tunnel_is_lost_with_ipip_alone(
    carrier: str, expected: tuple[CauseKind, tuple[str, ...]]
) -> None:
    events = [*all_routes(60), *lowered(300, 500, 1480, "node-a1")]
    assert said(run_of(down(300, 499), events, carrier=carrier)) == expected


def test_what_is_lost_on_the_way_back_is_lost_at_the_senders_interface() -> None:
    events = [*all_routes(60), *lowered(300, 500, 1480, "node-a1")]
    run = run_of(down(300, 499, "f"), events, **counted(node_a1={"Link.InDrops": 40}))
    assert said(run) == (CauseKind.TOO_LARGE, ("interface of node-a1",))


def test_the_way_back_to_the_overlay_begins_it() -> None:
    native = header(start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY)
    events = [*lowered(100, 600, 1480), *repointed(300, mode=Mode.OVERLAY)]
    run = run_of(down(300, 599), events, header=native, **counted(node_b1={"Link.InDrops": 60}))
    assert said(run) == LOWERED
    assert "it began as node-a1 changed its next hop" in only(run).cause.text
    assert "it ended as fault.cured mtu-lowered" in only(run).cause.text


def test_a_missing_route_beside_it_keeps_its_own_losses() -> None:
    """The interface drops what is encapsulated; after the switch the missing route does the rest."""
    missing = [*all_routes(60, but=[("a", "node-b1")]), route_created(600)]
    events = [*missing, *lowered(300, 900, 1480), *repointed(400)]
    run = run_of(down(300, 599), events, **counted(node_b1={"Link.InDrops": 20}))
    assert [(cause.kind, round(cause.score, 1)) for cause in only(run).causes[:2]] == [
        (CauseKind.POOL_BEFORE_ROUTES, 0.7),
        (CauseKind.TOO_LARGE, 0.3),
    ]


def route_created(at_ms: float) -> Event:
    cidr = next(one.pod_cidr for one in node_facts() if one.name == "node-b1")
    return event(at_ms, "route.created", zone="a", cidr=cidr, node="node-b1", began_ns=ms(at_ms - 1))

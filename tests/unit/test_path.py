"""The path of every probe, out and back, by histories written by hand. Probes are sent at 10, 15, 20, ... ms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evidence import Evidence
from analysis.paths import Direction, Flags, FlowPaths, PathBits, ProbePath, find_ends
from hitless.facts import Endpoint, Flow
from hitless.history import History
from hitless.records import NONE_NS
from hitless.words import FlowId, FlowRole, FlowSet, Mode
from tests.clocks import ms
from tests.unit.histories import (
    QUIET,
    ROUTER_TTL,
    SWITCHED,
    TUNNEL_TTL,
    facts,
    header,
    held,
    history,
    lost,
    records,
    repointed,
    report,
    with_calico,
)

TUNNEL, DIRECT, ROUTER = ProbePath.TUNNEL, ProbePath.DIRECT, ProbePath.ROUTER
IN_ZONE = Flow(id=FlowId(1), source="node-a1-mesh", destination="node-a2-mesh", role=FlowRole.MESH)


def paths(told: History) -> FlowPaths:
    (found,) = Evidence(told).paths()
    return found


def at(bits: PathBits, ms: float) -> int:
    return int(bits[round((ms - 10) / 5)])


def count(flags: Flags) -> int:
    return int(np.count_nonzero(flags))


def runs(direction: Direction) -> list[tuple[int, int]]:
    """Return the paths one after the other, each with the number of probes in a row."""
    edges = np.flatnonzero(np.diff(direction.paths, prepend=255))
    return [
        (int(direction.paths[first]), int(length))
        for first, length in zip(edges, np.diff(edges, append=direction.paths.size), strict=True)
    ]


def repoint(told: History, **began_and_ended: tuple[float, float]) -> History:
    """Let each node (`a1`, ...) rewrite its routes to all its peers once."""
    pairs = began_and_ended.items()
    return with_calico(told, *(repointed(end, f"node-{node}", took_ms=end - began)[0] for node, (began, end) in pairs))


def test_between_zones_the_router_takes_the_place_of_the_tunnel() -> None:
    found = paths(history())
    assert runs(found.out) == runs(found.back) == [(TUNNEL, 19), (ROUTER, 39)]
    assert (count(found.out.is_preferred), count(found.out.is_next_best)) == (19, 39)
    assert not np.any(found.out.is_unknown | found.out.is_contradicted)


def test_within_a_zone_both_ttls_are_the_same_and_the_events_tell() -> None:
    told = history(flows=(IN_ZONE,), records=records({1: QUIET}))
    found = paths(repoint(told, a1=(101, 112), a2=(101, 112)))
    # Nothing of this flow meets the router, so nothing shows that it counts: plain may then be by the router as well.
    assert runs(found.out) == [(TUNNEL, 19), (TUNNEL | DIRECT | ROUTER, 2), (DIRECT | ROUTER, 37)]
    assert [count(mask) for mask in (found.out.is_preferred, found.out.is_unknown, found.out.is_next_best)] == [
        19,
        2,
        37,
    ]


def test_the_default_route_that_cleanup_leaves_goes_by_the_router_within_a_zone_too() -> None:
    told = history(flows=(IN_ZONE,), records=records({1: QUIET}, ttls={1: "t" * 38 + "r" * 20}))
    found = paths(repoint(told, a1=(101, 102), a2=(101, 102)))
    assert runs(found.out) == [(TUNNEL, 19), (DIRECT, 19), (ROUTER, 20)]


def test_each_way_is_decided_by_the_node_that_sends_it() -> None:
    told = repoint(history(), a1=(101, 102), b1=(151, 152))
    told.records.sender["forward_ttl"][:58] = [TUNNEL_TTL] * 19 + [ROUTER_TTL] * 39
    told.records.sender["return_ttl"][:58] = [TUNNEL_TTL] * 29 + [ROUTER_TTL] * 29
    found = paths(told)
    assert (runs(found.out), runs(found.back)) == ([(TUNNEL, 19), (ROUTER, 39)], [(TUNNEL, 29), (ROUTER, 29)])
    assert not np.any(found.out.is_contradicted | found.back.is_contradicted)
    swapped = paths(repoint(told, a1=(151, 152), b1=(101, 102)))
    assert count(swapped.out.is_contradicted) == count(swapped.back.is_contradicted) == 10


def test_in_the_window_of_an_event_the_ttl_decides_where_it_can() -> None:
    assert runs(paths(repoint(history(), a1=(60, 180), b1=(60, 180))).out) == [(TUNNEL, 19), (ROUTER, 39)]


def test_a_contradiction_is_unknown_and_counted() -> None:
    told = history(records=records({1: QUIET, 2: QUIET}, ttls={1: "t" * 40 + "r" * 18}))
    found = paths(told)
    assert runs(found.out) == [(TUNNEL, 19), (TUNNEL | DIRECT | ROUTER, 21), (ROUTER, 18)]
    assert np.flatnonzero(found.back.is_contradicted).tolist() == list(range(19, 40))
    early = history(records=records({1: QUIET, 2: QUIET}, ttls={1: "r" * 58}))
    assert count(paths(early).out.is_contradicted) == 19


def test_where_the_gateway_does_not_count_the_ttl_says_nothing() -> None:
    found = paths(history(records=records({1: QUIET, 2: QUIET})))
    assert runs(found.out) == [(TUNNEL, 19), (ROUTER, 39)]
    assert not np.any(found.out.is_contradicted)


def test_one_probe_by_the_router_shows_that_it_counts() -> None:
    told = history(records=records({1: QUIET, 2: QUIET}, ttls={1: "t" * 57 + "r"}))
    assert count(paths(told).out.is_contradicted) == 38


def test_without_ttls_and_reflector_times_the_events_alone_tell() -> None:
    told = repoint(history(), a1=(101, 102), b1=(151, 152))
    sender = told.records.sender
    for column in ("forward_ttl", "return_ttl"):
        sender[column] = 0
    for column in ("reflector_received", "reflector_sent"):
        sender[column] = NONE_NS
    found = paths(replace(told, records=replace(told.records, reflector=told.records.reflector[:0])))
    assert (runs(found.out), runs(found.back)) == ([(TUNNEL, 19), (ROUTER, 39)], [(TUNNEL, 29), (ROUTER, 29)])


def test_hops_that_the_nodes_do_not_explain_say_nothing() -> None:
    told = history()
    told.records.sender["forward_ttl"] -= 3
    told.records.sender["return_ttl"][20] = 40
    found = paths(told)
    assert runs(found.out) == runs(found.back) == [(TUNNEL, 19), (ROUTER, 39)]


def test_a_probe_lost_on_the_way_out_has_no_way_back() -> None:
    found = paths(history(records=records({1: lost(30, 10), 2: QUIET}, ttls={1: SWITCHED})))
    assert runs(found.out) == [(TUNNEL, 19), (ROUTER, 39)]
    assert runs(found.back) == [(TUNNEL, 19), (ROUTER, 11), (0, 10), (ROUTER, 18)]
    assert not np.any(found.back.is_unknown[30:40] | found.back.is_preferred[30:40] | found.back.is_next_best[30:40])


def test_of_a_probe_lost_on_the_way_back_the_reflectors_log_has_the_ttl() -> None:
    told = history(records=records({1: lost(30, 10, "f"), 2: QUIET}, ttls={1: SWITCHED}))
    told.records.reflector["ttl"][35] = TUNNEL_TTL
    found = paths(repoint(told, a1=(60, 280), b1=(101, 102)))
    assert (at(found.out.paths, 180), at(found.out.paths, 185), at(found.back.paths, 185)) == (ROUTER, TUNNEL, ROUTER)


def test_a_corrupted_answer_proves_nothing_by_what_it_carries() -> None:
    told = history(records=records({1: "." * 30 + "C" + "." * 27, 2: QUIET}, ttls={1: SWITCHED}))
    row = told.records.sender[30:31]
    row["forward_ttl"], row["reflector_received"], row["reflector_sent"] = TUNNEL_TTL, 1 << 60, 7
    found = paths(told)
    assert runs(found.out) == runs(found.back) == [(TUNNEL, 19), (ROUTER, 39)]


def test_the_error_of_the_clocks_widens_what_is_unknown() -> None:
    told = history(flows=(IN_ZONE,), records=records({1: QUIET}))
    exact = repoint(told, a1=(101, 104), a2=(101, 104))
    assert count(paths(exact).out.is_unknown) == 0
    reports = (replace(report("sender"), run_clock_bound_ns=int(ms(8))), report("reflector"))
    vague = paths(replace(exact, records=replace(exact.records, reports=reports)))
    assert np.flatnonzero(vague.out.is_unknown).tolist() == [17, 18, 19, 20]  # sent at 95 to 110 ms


def test_what_the_run_starts_with_is_preferred() -> None:
    back = header(start_mode=Mode.NATIVE, wanted_mode=Mode.OVERLAY, end_mode=Mode.OVERLAY)
    told = history(header=back, records=records({1: QUIET, 2: QUIET}, ttls={1: "r" * 19 + "t" * 39}))
    changes = [replace(one, facts={**one.facts, "mode": "OVERLAY"}) for one in told.events_named("calico.repointed")]
    found = paths(with_calico(told, *changes))
    assert runs(found.out) == [(ROUTER, 19), (TUNNEL, 39)]
    assert np.flatnonzero(found.out.is_next_best)[0] == 19


def test_a_held_switch_never_leaves_the_preferred_egress() -> None:
    found = paths(held())
    assert np.all(found.out.is_preferred & found.back.is_preferred)


def test_a_flow_within_a_node_has_no_path() -> None:
    assert [one.flow.id for one in Evidence(history()).paths()] == [1]


def test_the_kernels_own_answers_set_out_with_another_ttl() -> None:
    told = history(flows=(IN_ZONE,), records=records({1: QUIET}))
    told.records.sender["forward_ttl"] = 0
    told.records.sender["return_ttl"][:] = [62] * 30 + [61] * 28
    told = replace(told, records=replace(told.records, reflector=told.records.reflector[:0]))
    found = paths(repoint(told, a1=(101, 102), a2=(101, 102)))
    assert runs(found.out) == [(TUNNEL, 19), (DIRECT | ROUTER, 39)]
    assert runs(found.back) == [(TUNNEL, 19), (DIRECT, 11), (ROUTER, 28)]


def test_a_nodes_own_address_is_behind_no_tunnel_and_the_answer_may_go_to_another_address_than_sent() -> None:
    hosts = (
        Endpoint(name="node-a1-host", node="node-a1", zone="a", address="10.250.0.10", is_host=True),
        Endpoint(name="node-b1-host", node="node-b1", zone="b", address="10.250.1.10", is_host=True),
    )
    cluster = replace(facts(), endpoints=(*facts().endpoints, *hosts))
    to_host = replace(IN_ZONE, destination="node-b1-host", role=FlowRole.HOST, flow_set=FlowSet.POD_TO_HOST)
    from_host = replace(IN_ZONE, source="node-a1-host", destination="node-b1-mesh", flow_set=FlowSet.HOST_TO_POD)
    told = history(facts=cluster, records=records({1: QUIET}, ttls={1: "r" * 58}))
    told.records.sender["forward_ttl"], told.records.sender["return_ttl"] = ROUTER_TTL + 1, TUNNEL_TTL + 1
    found = paths(replace(told, flows=(to_host,)))
    assert runs(found.out) == [(ROUTER, 58)]
    assert runs(found.back) == [(TUNNEL | DIRECT, 58)]
    told.records.sender["forward_ttl"][:19] = TUNNEL_TTL + 1
    found = paths(replace(told, flows=(from_host,)))
    assert runs(found.out) == [(TUNNEL, 19), (ROUTER, 39)]
    assert runs(found.back) == [(TUNNEL | DIRECT, 58)]


@pytest.mark.parametrize(("via", "sender"), [("10.250.0.11:30080", "node-a2"), ("10.250.9.9:30080", None), (None, None)])
def test_a_client_outside_enters_by_the_node_that_it_addresses(via: str | None, sender: str | None) -> None:
    client = Endpoint(name="client", node="client", zone="a", address="192.0.2.1", is_outside=True)
    cluster = replace(facts(), endpoints=(*facts().endpoints, client))
    flow = replace(IN_ZONE, source="client", destination="node-b1-mesh", flow_set=FlowSet.NODE_PORT, via=via)
    found = find_ends(cluster, [flow]).get(flow.id)
    assert (found and (found.sender, found.reflector, found.forwarding_nodes)) == (sender and (sender, "node-b1", None))


PATTERNS = st.text(".XfLDRCE", min_size=1, max_size=58)


@given(pattern=PATTERNS, ttls=st.text("tr", min_size=58, max_size=58), began=st.integers(0, 250), length=st.integers(0, 60))
def test_every_packet_is_preferred_next_best_or_unknown(pattern: str, ttls: str, began: int, length: int) -> None:
    told = history(records=records({1: pattern, 2: QUIET}, ttls={1: ttls}))
    found = paths(repoint(told, a1=(began, began + length), b1=(began, began + length)))
    for direction in (found.out, found.back):
        kinds: list[Flags] = [direction.is_preferred, direction.is_next_best, direction.is_unknown]
        assert np.array_equal(sum(kind.astype(int) for kind in kinds), direction.is_taken)
        assert not np.any(direction.is_contradicted & ~direction.is_unknown)
        assert np.all(direction.since_ns <= direction.until_ns)
    assert np.all(found.out.is_taken)
    assert not np.any(found.back.is_taken & found.probes.is_near_end)

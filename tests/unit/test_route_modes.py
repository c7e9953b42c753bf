"""Of which mode a node's routes are, by events written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.paths.route_modes import RouteMode, RouteModes
from hitless.events import Event
from hitless.history import History
from hitless.words import Mode
from tests.unit.histories import event, header, held, history, ns, switch_events

OVERLAY, NATIVE, UNKNOWN = RouteMode.OVERLAY, RouteMode.NATIVE, RouteMode.UNKNOWN


def with_events(told: History, *changes: Event) -> History:
    """Replace what the nodes did."""
    kept = [one for one in told.events if not one.name.startswith("calico.")]
    return replace(told, events=tuple(sorted([*kept, *changes], key=lambda one: one.t_ns)))


def repointed(began: float, ended: float, mode: Mode = Mode.NATIVE, peers: list[str] | None = None) -> Event:
    which = {} if peers is None else {"peers": peers}
    facts = {"mode": mode.value, "cause": "test", "routes": len(peers or "abc"), "began_ns": ns(began), **which}
    return event(ended, "calico.repointed", node="node-a1", **facts)


def cleaned(began: float, ended: float, removed: int) -> Event:
    return event(ended, "calico.cleanup_routes", node="node-a1", removed=removed, began_ns=ns(began))


def modes(told: History, *spans: tuple[float, float], node: str = "node-a1", peer: str = "node-b1") -> list[int]:
    since, until = (np.array([ns(span[side]) for span in spans], dtype=np.int64) for side in (0, 1))
    found: list[int] = RouteModes(told).toward(node, peer).between(since, until).tolist()
    return found


def test_a_route_is_unknown_while_it_is_rewritten_and_where_a_span_holds_both() -> None:
    told = with_events(history(), repointed(100, 120))
    assert modes(told, (0, 99), (99, 100), (110, 111), (120, 121), (0, 500)) == [OVERLAY, UNKNOWN, UNKNOWN, NATIVE, UNKNOWN]


def test_other_nodes_changes_and_other_peers_routes_are_not_its_own() -> None:
    told = with_events(history(), repointed(100, 120, peers=["node-a2", "node-b1"]))
    assert modes(told, (130, 130), peer="node-b1") == [NATIVE]
    assert modes(told, (130, 130), peer="node-b2") == [OVERLAY]
    assert modes(told, (130, 130), node="node-b1", peer="node-a1") == [OVERLAY]


def test_cleanup_routes_leaves_the_native_path_and_one_that_removes_nothing_changes_nothing() -> None:
    told = with_events(history(), cleaned(100, 101, removed=4))
    assert modes(told, (100.5, 100.6), (102, 103)) == [UNKNOWN, NATIVE]
    assert modes(with_events(told, cleaned(100, 101, removed=0)), (100.5, 100.6), (102, 103)) == [OVERLAY, OVERLAY]


def test_a_node_may_go_back() -> None:
    told = with_events(history(), repointed(100, 101), repointed(150, 151, Mode.OVERLAY), cleaned(200, 201, removed=4))
    assert modes(told, (0, 1), (102, 103), (152, 153), (202, 203)) == [OVERLAY, NATIVE, OVERLAY, NATIVE]


def test_rewriting_a_route_to_what_it_was_leaves_nothing_unknown() -> None:
    told = with_events(history(), repointed(100, 101), cleaned(150, 160, removed=4))
    assert modes(told, (140, 170)) == [NATIVE]


def test_it_begins_with_the_start_mode() -> None:
    assert modes(with_events(history(header=header(start_mode=Mode.NATIVE)), repointed(100, 101)), (0, 1)) == [NATIVE]
    assert modes(held(), (0, 10_000)) == [OVERLAY]


def test_nodes_that_tell_nothing_are_unknown_from_the_last_moment_before_the_first_object_said_so() -> None:
    told = with_events(history(events=switch_events(pool_ms=2000)))
    assert modes(told, (0, 999), (999, 1001), (2500, 2500)) == [OVERLAY, UNKNOWN, UNKNOWN]
    asked = replace(told, events=tuple(sorted([*told.events, event(1990, "gate.opened")], key=lambda one: one.t_ns)))
    assert modes(asked, (1001, 1989), (1991, 1992)) == [OVERLAY, UNKNOWN]
    untouched = tuple(one for one in switch_events() if one.name == "switch.requested")
    assert modes(history(events=untouched), (300, 301)) == [OVERLAY]


def test_nobody_knows_the_routes_of_what_is_no_node() -> None:
    assert modes(history(), (0, 1), node="outside") == [UNKNOWN]


@given(
    # Two changes at one instant leave no instant to the first of them.
    changes=st.lists(st.tuples(st.integers(1, 10), st.integers(0, 5), st.sampled_from(Mode)), max_size=6),
    spans=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), min_size=1, max_size=8),
)
def test_a_span_holds_every_mode_of_every_instant_in_it(
    changes: list[tuple[int, int, Mode]], spans: list[tuple[int, int]]
) -> None:
    events, at = [], 0
    for gap, length, mode in changes:
        events.append(repointed(at + gap, at + gap + length, mode))
        at += gap + length
    told = with_events(history(), *events, event(1000, "calico.cleanup_routes", node="node-a2", removed=1))
    expected = []
    for since, length in spans:
        found = RouteMode(0)
        for instant in range(since, since + length + 1):
            found |= RouteMode(modes(told, (instant, instant))[0])
        expected.append(found)
    assert modes(told, *((since, since + length) for since, length in spans)) == expected

from dataclasses import replace

from analysis.evidence import Evidence
from checks.convergence import check
from hitless.history import History
from hitless.words import Arm, FlowId, Mode
from tests.unit.histories import (
    QUIET,
    SWITCHED,
    daemon_set,
    event,
    facts,
    header,
    held,
    history,
    lost,
    overlay_state,
    pool,
    records,
    switch_events,
)


def _bad(run: History, **budgets: float | None) -> list[tuple[str, str]]:
    return [(found.verdict.value, found.code) for found in check(Evidence(run), dict(budgets)) if found.verdict != "PASS"]


def _said(run: History) -> list[str]:
    return [found.code for found in check(Evidence(run), {}) if found.verdict == "PASS"]


def test_a_whole_switch_converged() -> None:
    assert _bad(history()) == []
    assert _said(history()) == ["converged"]


def test_a_held_gate_keeps_the_overlay() -> None:
    assert _bad(held()) == []
    assert _said(held()) == ["no-convergence-expected"]


def test_the_pool_and_the_template_must_say_the_end_mode() -> None:
    nodes = history().final_objects[:4]
    run = history(final_objects=(*nodes, pool(Mode.OVERLAY), daemon_set(Mode.OVERLAY)))
    assert _bad(run) == [("FAIL", "pool-not-switched"), ("FAIL", "daemonset-not-switched")]


def test_objects_that_were_not_read() -> None:
    assert _bad(history(final_objects=())) == [("INCONCLUSIVE", "objects-not-read")]


def test_a_roll_that_is_not_over() -> None:
    behind = daemon_set(Mode.NATIVE, updated=3)
    run = history(final_objects=(pool(Mode.NATIVE), behind))
    assert _bad(run) == [("FAIL", "roll-unfinished")]
    events = tuple(one for one in switch_events() if one.name != "roll.finished")
    assert _bad(history(events=events)) == [("FAIL", "roll-unfinished")]


def test_a_roll_that_a_second_change_superseded_needs_not_finish() -> None:
    superseded = (*switch_events(), event(101, "roll.started", generation=1))
    assert _bad(history(events=tuple(sorted(superseded, key=lambda one: one.t_ns)))) == []


def test_rolls_are_counted_where_asked() -> None:
    assert _bad(history(), rolls=1) == []
    assert _bad(history(), rolls=0) == [("FAIL", "rolls-unexpected")]
    twice = (*switch_events(), event(240, "roll.started", generation=3), event(245, "roll.finished", generation=3))
    assert _bad(history(events=tuple(sorted(twice, key=lambda one: one.t_ns))), rolls=1) == [("FAIL", "rolls-unexpected")]


def test_every_node_must_route_in_the_end_mode() -> None:
    nodes = facts().nodes
    states = list(history().final_nodes)
    states[2] = overlay_state(nodes[2], nodes)
    run = history(final_nodes=tuple(states))
    assert _bad(run) == [("FAIL", "node-not-switched")]
    text = next(found.text for found in check(Evidence(run), {}) if found.code == "node-not-switched")
    assert text == "not in mode NATIVE by its routes at the end: 1 of 4 nodes, node-b1"
    kept = held()
    assert _bad(replace(kept, final_nodes=(*kept.final_nodes[:3], history().final_nodes[3]))) == [("FAIL", "node-not-switched")]


def test_nodes_that_were_not_read() -> None:
    assert _bad(history(final_nodes=())) == [("INCONCLUSIVE", "nodes-not-read")]


def test_one_flow_that_stays_on_the_old_path() -> None:
    flows = history().flows
    second = replace(flows[0], id=FlowId(3), destination="node-b2-mesh")
    found = records({1: QUIET, 2: QUIET, 3: QUIET}, ttls={1: SWITCHED})
    run = history(flows=(*flows, second), records=found)
    assert [finding.flow for finding in check(Evidence(run), {}) if finding.code == "path-not-switched"] == [FlowId(3)]


def test_where_no_hop_counts_the_path_is_not_visible() -> None:
    assert "path-not-visible" in _said(history(records=records({1: QUIET, 2: QUIET})))


def test_a_path_that_changed_although_nothing_should_have() -> None:
    run = held(records=records({1: QUIET, 2: QUIET}, ttls={1: SWITCHED}))
    assert _bad(run) == [("FAIL", "path-changed")]


def test_a_flow_that_never_came_back() -> None:
    run = history(header=header(arm=Arm.UNGATED), records=records({1: lost(19, 39), 2: QUIET}))
    assert _bad(run) == [("FAIL", "flow-not-converged"), ("FAIL", "not-sustained")]


def test_a_flow_that_came_back_and_lost_again_in_the_validation_time() -> None:
    run = history(records=records({1: lost(50, 1), 2: QUIET}, ttls={1: SWITCHED}))
    assert ("FAIL", "not-sustained") in _bad(run)


def test_the_slowest_flow_against_a_budget() -> None:
    # The first probe after both nodes were re-pointed (102 ms) and on the router's path is that of 105 ms; asked for at 50 ms.
    (finding,) = check(Evidence(history()), {"convergence_ms": 60})
    assert finding.text == "1 flow converged, the slowest 55.1 ms (+-5 ms) after the request"
    assert _bad(history(), convergence_ms=55) == [("FAIL", "convergence-over-budget")]


def test_probing_must_go_on_for_the_validation_time() -> None:
    assert _bad(history(events=switch_events(settled_ms=251))) == [("INCONCLUSIVE", "validation-too-short")]
    without = tuple(one for one in switch_events() if one.name != "run.settled")
    assert _bad(history(events=without)) == [("INCONCLUSIVE", "validation-too-short")]


def test_nothing_was_asked_for() -> None:
    run = held(events=tuple(one for one in held().events if one.name != "switch.requested"))
    assert _bad(run) == []
    assert _said(run) == ["path-not-visible", "no-convergence-expected"]

from dataclasses import replace

import pytest

from analysis.evidence import Evidence
from checks.coverage import BYPASSES, check
from clusters.kind.nodes import STRAY_PROBES, STRAY_TUNNELS
from hitless.facts import Part, PartIdentity
from hitless.history import History
from hitless.words import MILLISECOND, Arm, Mode, Overlay, Verdict
from tests.clocks import ms
from tests.unit.histories import QUIET, event, held, history, records, report, switch_events


def _codes(run: History, **budgets: float | None) -> list[str]:
    return [finding.code for finding in check(Evidence(run), dict(budgets)) if finding.verdict == "INCONCLUSIVE"]


def _without(*names: str) -> History:
    return history(events=tuple(one for one in switch_events() if one.name not in names))


def test_a_good_run_raises_no_doubt() -> None:
    assert check.is_validity
    assert list(check(Evidence(history()), {})) == []
    assert list(check(Evidence(held()), {})) == []


def test_what_the_harness_could_not_do() -> None:
    run = history(errors=("probing: the sender died", "reading of nodes: no answer"))
    assert [finding.text for finding in check(Evidence(run), {})] == list(run.errors)
    assert _codes(run) == ["harness-error", "harness-error"]


def test_an_interrupted_run() -> None:
    events = tuple(sorted((*switch_events(), event(150, "run.interrupted")), key=lambda one: one.t_ns))
    assert _codes(history(events=events)) == ["interrupted"]


def test_liveness_comes_before_the_request() -> None:
    assert _codes(_without("run.live")) == ["not-live"]
    late = tuple(sorted((*_without("run.live").events, event(51, "run.live")), key=lambda one: one.t_ns))
    assert _codes(history(events=late)) == ["not-live-first"]


def test_agents_that_did_not_report() -> None:
    patterns = {1: QUIET, 2: QUIET}
    assert _codes(history(records=records(patterns, reports=()))) == ["agent-unfinished"]
    died = records(patterns, reports=(report(finished=False), report("reflector")))
    assert _codes(history(records=died)) == ["agent-unfinished"]


def test_strays_are_reported_and_harmless() -> None:
    run = history(records=records({1: QUIET, 2: QUIET}, reports=(report("reflector", foreign=2, malformed=1),)))
    (finding,) = check(Evidence(run), {})
    assert (finding.verdict, finding.code) == ("PASS", "strays-dropped")
    assert finding.text == "the agent reflector dropped packets of other senders: 1 malformed, 2 foreign"


def test_no_records_at_all() -> None:
    assert _codes(history(records=records({}))) == ["flow-silent"]


def test_no_mesh_flow_at_all() -> None:
    run = history()
    assert _codes(replace(run, flows=run.flows[1:])) == ["no-mesh-flows"]


def test_a_flow_that_was_never_probed() -> None:
    run = history(records=records({2: QUIET}))
    assert _codes(run) == ["flow-silent", "probing-gap"]


def test_a_flow_that_offered_too_few() -> None:
    # Eight holes in scattered places: no gap is long, but 50 of the 57 since its first probe are less than 90 %.
    thin = (" " + "." * 6) * 8 + "." * 2
    run = history(records=records({1: thin, 2: QUIET}))
    (finding,) = check(Evidence(run), {})
    assert finding.code == "flow-probes-missing"
    assert finding.text == "1 flow offered too few probes; the worst, node-a1-mesh > node-b1-mesh, 50 of 57"
    assert _codes(run, missing_ratio=0.2) == []


def test_probes_that_the_kernel_refused() -> None:
    run = history(records=records({1: "." * 30 + "E" + "." * 27, 2: QUIET}))
    assert _codes(run) == ["send-errors"]
    assert _codes(run, send_errors=1) == []


def test_skipped_ticks() -> None:
    run = history(records=records({1: QUIET, 2: QUIET}, skipped=[7, 20, 40, 41]))
    assert _codes(run) == ["ticks-missed"]
    assert _codes(run, missed_ticks_ratio=0.07) == []


def test_skipped_ticks_of_several_senders_are_counted_against_the_ticks_of_all() -> None:
    both = (report("one", ticks=58), report("two", ticks=58))
    run = history(records=records({1: QUIET, 2: QUIET}, skipped=[7, 20, 40], reports=both))
    assert _codes(run) == []


def test_a_gap_while_it_matters() -> None:
    hole = "." * 20 + " " * 10 + "." * 28
    run = history(records=records({1: hole, 2: QUIET}))
    (finding,) = check(Evidence(run), {"missing_ratio": None})
    assert (finding.code, finding.t_ns) == ("probing-gap", 105 * MILLISECOND)
    assert (
        finding.text == "1 flow went without a probe for up to 55.0 ms (11.0 intervals) between the request and the end; "
        "allowed: 10 intervals; lower the rate, or use a quieter machine"
    )
    assert _codes(run, missing_ratio=None, gap_intervals=11) == []


def test_a_gap_before_the_switch_does_not_matter_and_one_in_the_validation_time_does() -> None:
    # The request is made at 50 ms; ticks 39 to 49 are at 205 to 255 ms, and the run has settled at 200 ms.
    events = switch_events(stopped_ms=260)
    late = history(events=events, records=records({1: "." * 39 + " " * 11 + "." * 8, 2: QUIET}))
    assert _codes(late, missing_ratio=None) == ["probing-gap"]
    unfinished = tuple(one for one in events if one.name != "run.settled")
    assert _codes(history(events=unfinished), missing_ratio=None) == ["run-unfinished"]


def test_a_sender_that_stopped_early_leaves_a_gap() -> None:
    run = history(records=records({1: "." * 20, 2: QUIET}))
    assert _codes(run, missing_ratio=None) == ["probing-gap"]


DOUBLE = PartIdentity(name=Part.RESOURCE_MANAGER, is_double=True, version="1")


def _applied(
    rolled_ms: float,
    changed_ms: float,
    *,
    overlay: Overlay = Overlay.VXLAN,
    arm: Arm = Arm.GATED,
    start: Mode = Mode.OVERLAY,
    has_followed: bool = False,
    part: PartIdentity = DOUBLE,
) -> list[str]:
    daemon_set = event(rolled_ms, "manifest.applied", kind="DaemonSet", name="calico-node", mode="NATIVE")
    switch = [one for one in switch_events(pool_ms=changed_ms) if has_followed or one.name != "calico.repointed"]
    events = tuple(sorted((*switch, daemon_set), key=lambda one: one.t_ns))
    run = history(events=events)
    header = replace(run.header, overlay=overlay, arm=arm, start_mode=start, parts=())
    return _codes(replace(run, header=header, facts=replace(run.facts, parts=(part,))), pool_lag_ms=30)


def test_a_resource_manager_that_this_machine_slows_shows_nothing_of_one_in_a_seed_where_that_matters() -> None:
    assert _applied(60, 100) == ["pool-late"]
    assert _applied(80, 100) == []
    # The nodes followed at once: calico-node lived, however late the pool was.
    assert _applied(60, 100, has_followed=True) == []
    assert _applied(60, 100, overlay=Overlay.IPIP) == []
    assert _applied(60, 100, arm=Arm.UNGATED) == []
    assert _applied(60, 100, start=Mode.NATIVE) == []
    in_a_seed = replace(DOUBLE, is_double=False)
    assert _applied(60, 100, part=in_a_seed) == []
    assert _applied(60, 100, part=replace(in_a_seed, path="/bin/manager")) == ["pool-late"]


def _paced(written_ms: float, seen_ms: float, waited_ms: float | None) -> list[tuple[Verdict, str, str]]:
    """Return what is found in a run in which a program wrote DaemonSet and pool so far apart, while tasks waited so long."""
    waited_us = [None if waited_ms is None else 7_000, None if waited_ms is None else round(7_000 + waited_ms * 1000)]
    written = [
        event(60, "object.written", kind="DaemonSet", name="calico-node", after_ns=ms(59), waited_us=waited_us[0]),
        event(60 + seen_ms, "object.written", kind="IPPool", name="pool", after_ns=ms(60 + written_ms), waited_us=waited_us[1]),
    ]
    daemon_set = event(61, "manifest.applied", kind="DaemonSet", name="calico-node", mode="NATIVE")
    switch = [one for one in switch_events(pool_ms=150) if one.name != "calico.repointed"]
    events = tuple(sorted((*switch, daemon_set, *written), key=lambda one: one.t_ns))
    run = history(events=events)
    header = replace(run.header, overlay=Overlay.VXLAN, arm=Arm.GATED, parts=())
    program = replace(DOUBLE, is_double=False, path="/bin/manager")
    judged = replace(run, header=header, facts=replace(run.facts, parts=(program,)))
    found = check(Evidence(judged), {"pool_lag_ms": 30})
    return [(finding.verdict, finding.code, finding.text) for finding in found if finding.code.startswith("pool")]


def test_a_program_that_is_late_while_no_task_waits_is_late_by_itself() -> None:
    """The run counts: what was lost is a FAIL of continuity."""
    late = "the IPPool changed 89 ms after the DaemonSet; allowed: 30 ms; the resource manager itself took at least {}"
    late += " ms of them, while no task of the machine waited"
    assert _paced(80, 82, 0) == [(Verdict.PASS, "pool-late-by-program", late.format(80))]
    assert _paced(80, 82, 49) == [(Verdict.PASS, "pool-late-by-program", late.format(31))]


@pytest.mark.parametrize(
    ("written_ms", "waited_ms"),
    [
        (80, 51),  # 29 ms are left
        (80, None),
        (5, 0),  # the harness did not look between 65 and 142 ms: the pool may have been written at once
    ],
)
def test_a_program_that_its_machine_or_the_harness_may_have_delayed_shows_nothing(
    written_ms: float, waited_ms: float | None
) -> None:
    text = "the IPPool changed 89 ms after the DaemonSet; allowed: 30 ms; repeat on a quieter machine"
    assert _paced(written_ms, 82, waited_ms) == [(Verdict.INCONCLUSIVE, "pool-late", text)]


def _bypassed(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> list[str]:
    run = history(counters_before=before, counters_after=after)
    assert {finding.code for finding in check(Evidence(run), {})} <= {"bypassed-zones"}
    return [finding.text for finding in check(Evidence(run), {})]


def test_probes_and_tunnels_that_went_round_the_zones_make_the_run_doubtful() -> None:
    before = {"node-a1": {STRAY_PROBES: 7, STRAY_TUNNELS: 1}, "node-b1": {STRAY_PROBES: 0, STRAY_TUNNELS: 0}, "router": {}}
    assert _bypassed(before, before) == []
    one = {**before, "node-b1": {STRAY_PROBES: 1, STRAY_TUNNELS: 0}}
    path = "they did not take the path under test"
    assert _bypassed(before, one) == [f"1 probe arrived at the management interface of 1 node, 1 of them at node-b1: {path}"]
    more = {"node-a1": {STRAY_PROBES: 7, STRAY_TUNNELS: 4}, "node-b1": {STRAY_PROBES: 2, STRAY_TUNNELS: 2}, "router": {}}
    assert [text.partition(":")[0] for text in _bypassed(before, more)] == [
        "2 probes arrived at the management interface of 1 node, 2 of them at node-b1",
        "5 encapsulated packets arrived at the management interface of 2 nodes, 3 of them at node-a1",
    ]
    assert {STRAY_PROBES, STRAY_TUNNELS} == set(BYPASSES)


def test_a_cluster_without_a_management_network_counts_nothing_there() -> None:
    assert _bypassed({"node-a1": {"Udp.NoPorts": 0}}, {"node-a1": {"Udp.NoPorts": 3}}) == []

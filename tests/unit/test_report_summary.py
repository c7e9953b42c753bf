"""The values of a summary; its fields are those of `reports/summary.schema.json` (test_report_schema.py)."""

import json
from dataclasses import replace

import pytest

from analysis.comparison import Comparison
from hitless.facts import Part, PartIdentity
from hitless.history import History
from hitless.words import Arm, FlowRole, Mode, Verdict
from reports.quantities import Spread, make_spread
from reports.summary import FINDINGS_MAX, ReportedFinding, summarise
from reports.table import finding_rows
from tests.unit.comparisons import comparison, judged
from tests.unit.histories import QUIET, event, facts, header, held, history, lost, mesh_flows, records, switch_events


def _of(*runs: History) -> Comparison:
    return Comparison(runs=tuple(judged(run) for run in runs))


def _arm(*runs: History) -> dict[str, object]:
    arms = summarise(_of(*runs)).as_json()["arms"]
    (arm,) = arms.values()
    assert isinstance(arm, dict)
    return {**arm, **arm["totals"]}


def _ungated(pattern: str, trial: int = 1) -> History:
    return history(header=header(arm=Arm.UNGATED, trial=trial), records=records({1: pattern, 2: QUIET}))


def test_the_document_is_plain_json_with_both_arms() -> None:
    document = summarise(comparison(trials=1)).as_json()
    assert document == json.loads(json.dumps(document))
    assert document["topology"] == {"zones": 2, "nodes": 4, "pods": 8}
    assert list(document["arms"]) == ["UNGATED", "GATED"]


def test_the_parts_under_test_are_named_once_and_twice_where_the_runs_differ() -> None:
    old, new = (PartIdentity(name=Part.EXTENSION, is_double=False, version=version) for version in ("v1.54.0", "v1.55.0"))
    runs = [history(header=replace(header(), parts=(part,)), facts=replace(facts(), parts=())) for part in (old, old, new)]
    assert summarise(_of(*runs[:2])).parts == (old,)
    assert summarise(_of(*runs)).parts == (old, new)


def test_a_whole_comparison() -> None:
    summary = summarise(comparison())
    assert (summary.verdict, summary.interval_ms, summary.accuracy_ms) == (Verdict.PASS, 5.0, 5.0)
    ungated, gated = summary.arms[Arm.UNGATED], summary.arms[Arm.GATED]
    assert (ungated.trials, ungated.totals.flows, ungated.totals.flows_hit) == (2, 24, 16)
    assert (gated.totals.lost, gated.totals.flows_hit, gated.control.flows, gated.control.lost) == (0, 0, 8, 0)
    assert ungated.totals.lost == sum(trial.totals.lost for trial in ungated.per_trial) == 728
    assert [trial.verdict for trial in ungated.per_trial] == [Verdict.FAIL, Verdict.FAIL]
    assert (gated.lost_unexplained, ungated.lost_unexplained) == (0, 0)


@pytest.mark.parametrize("trials", [1, 2])
def test_every_offered_probe_is_in_one_class(trials: int) -> None:
    for arm in summarise(comparison(trials, gate_leaks=2)).arms.values():
        totals = arm.totals
        impaired = totals.lost + totals.duplicated + totals.reordered + totals.corrupted
        assert totals.offered == totals.unimpaired + impaired
        assert totals.lost == totals.lost_near_end + totals.lost_far_end + totals.lost_unknown


def test_one_finite_outage() -> None:
    arm = _arm(_ungated(lost(20, 10)))
    # Ten lost probes, nine intervals apart: at least 45 ms less one delay, at most 55 ms and the answer's delay.
    # Likely 50 ms: half-way between two probes at either end.
    assert arm["outage_ms_max"] == {"shortest": 44.945, "likely": 50.0, "longest": 55.1}
    assert arm["downtime_ms_max"] == arm["downtime_ms_sum"] == arm["outage_ms_max"]
    assert arm["downtime_plbm_ms_max"] == 50.0
    assert (arm["censored"], arm["blind_ms_max"]) == (0, 5.1)


def test_null_means_no_bound() -> None:
    arm = _arm(_ungated(lost(48, 10)))
    assert arm["outage_ms_max"] == {"shortest": 44.945, "likely": None, "longest": None}
    assert arm["downtime_ms_max"] == arm["downtime_ms_sum"] == arm["outage_ms_max"]
    assert arm["convergence_ms_max"] is None
    assert arm["censored"] == 1
    assert arm["durations"] == {
        "convergence_ms": {"flows": 1, "unbounded": 1, "min": None, "median": None, "mean": None, "max": None},
        "downtime_ms": {"flows": 1, "unbounded": 1, "min": None, "median": None, "mean": None, "max": None},
    }


def test_null_means_not_applicable() -> None:
    arm = _arm(held())
    assert arm["outage_ms_max"] is None
    assert arm["downtime_ms_max"] == {"shortest": 0.0, "likely": 0.0, "longest": 0.0}
    assert arm["convergence_ms_max"] is None
    assert arm["lost_unexplained"] is None
    assert arm["gate_hold_ms_max"] is None


def test_the_maximum_goes_by_the_longest_bound() -> None:
    # A short outage without end is longer than a long one with an end.
    arm = _arm(_ungated(lost(10, 20)), _ungated(lost(56, 2), trial=2))
    assert arm["outage_ms_max"] == arm["downtime_ms_max"] == {"shortest": 4.945, "likely": None, "longest": None}
    assert arm["durations"]["downtime_ms"]["min"] == 100.0  # type: ignore[index]  # JSON


def test_a_flow_that_was_hardly_answered_has_no_blind_time() -> None:
    assert _arm(_ungated("." + "X" * 57))["blind_ms_max"] is None


def test_what_the_gate_did() -> None:
    def gate_of(run: History) -> tuple[str, float | None]:
        (arm,) = summarise(_of(run)).arms.values()
        return arm.per_trial[0].gate, arm.gate_hold_ms_max

    def with_event(name: str, **facts: object) -> History:
        return history(events=tuple(sorted((*switch_events(), event(80, name, **facts)), key=lambda one: one.t_ns)))

    assert gate_of(history()) == ("absent", None)
    assert gate_of(held()) == ("held", None)
    assert gate_of(with_event("gate.opened", held_ns=25_000_000)) == ("opened", 25.0)
    assert gate_of(with_event("gate.opened", held_ns=0)) == ("opened", 0.0)
    assert gate_of(with_event("gate.not_applicable", reason="off")) == ("not-applicable", None)


def test_the_hold_after_the_routes_starts_at_the_last_route_before_the_opening() -> None:
    def hold_of(*at: tuple[float, str], held_ms: float = 50) -> float | None:
        route: dict[str, object] = {"zone": "a", "cidr": "100.96.0.0/24", "node": "node-a1", "began_ns": 0}
        given = [event(t_ms, name, **(route if name == "route.created" else {"held_ns": held_ms * 1e6})) for t_ms, name in at]
        others = [one for one in switch_events() if one.name != "route.created"]
        run = history(events=tuple(sorted((*others, *given), key=lambda one: one.t_ns)))
        (arm,) = summarise(_of(run)).arms.values()
        return arm.per_trial[0].gate_hold_after_routes_ms

    routes = ((40, "route.created"), (55, "route.created"), (99, "route.created"))
    assert hold_of(*routes, (80, "gate.opened")) == 25.0
    assert hold_of(*routes, (80, "gate.opened"), held_ms=0) is None, "it never held"
    assert hold_of(*routes) is None, "it did not open"
    assert hold_of(routes[2], (80, "gate.opened")) is None, "the route came too late for it"


def test_the_looks_of_the_gate_are_its_holds_and_its_opening() -> None:
    def looks_of(*names: str) -> int | None:
        given = [event(60 + at, name) for at, name in enumerate(names)]
        run = history(events=tuple(sorted((*switch_events(), *given), key=lambda one: one.t_ns)))
        return summarise(_of(run)).arms[Arm.GATED].per_trial[0].gate_looks

    assert looks_of("gate.held", "gate.held", "gate.opened") == 3
    assert looks_of("gate.not_applicable") == 0


def test_findings_name_arm_trial_and_flow() -> None:
    summary = summarise(_of(history(), _ungated(lost(20, 10), trial=3)))
    hit = next(finding for finding in summary.findings if finding.code == "flow-lost-probes")
    assert hit == ReportedFinding(
        check="continuity",
        verdict=Verdict.FAIL,
        code="flow-lost-probes",
        arm=Arm.UNGATED,
        trial=3,
        flow="node-a1-mesh > node-b1-mesh",
        t_ms=105.0,
        text=hit.text,
    )
    own = summary.findings[0]
    assert (own.check, own.code, own.arm, own.trial, own.flow, own.t_ms) == ("comparison", "hitless", None, None, None, None)


def test_of_many_findings_of_a_kind_the_last_that_is_kept_counts_the_others() -> None:
    cluster = facts("ab", 8)
    mesh = tuple(flow for flow in mesh_flows(cluster) if flow.role is FlowRole.MESH)[: FINDINGS_MAX + 50]
    run = judged(history(facts=cluster, flows=mesh, records=records({int(flow.id): lost(20, 10) for flow in mesh})))
    summary = summarise(Comparison(runs=(run,)))
    hit = [finding for finding in summary.findings if finding.code == "flow-lost-probes"]
    assert [finding.more for finding in hit] == [*[0] * (FINDINGS_MAX - 1), 50]
    (row,) = [row for row in finding_rows(summary) if row[2] == "flow-lost-probes"]
    assert row[4] == f"{FINDINGS_MAX + 50}"


def test_trials_that_are_no_comparison_are_merged() -> None:
    alone = _of(history(), history(header=header(trial=2)))
    assert summarise(alone).verdict is Verdict.INCONCLUSIVE
    merged = summarise(replace(alone, has_rule=False))
    assert (merged.verdict, [finding.check for finding in merged.findings]) == (
        Verdict.PASS,
        ["instrument", "continuity", "instrument", "continuity"],
    )


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="needs at least one run"):
        summarise(Comparison(runs=()))


def test_ticks_are_counted_once_for_all_flows() -> None:
    run = history(records=records({1: QUIET, 2: QUIET}, skipped=[3, 4]))
    assert _arm(run)["ticks_missed"] == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Spread(flows=0, unbounded=0, min=None, median=None, mean=None, max=None)),
        ([3.0, 1.0, 8.0], Spread(flows=3, unbounded=0, min=1.0, median=3.0, mean=4.0, max=8.0)),
        ([3.0, None, 1.0], Spread(flows=3, unbounded=1, min=1.0, median=3.0, mean=None, max=None)),
        ([None, 1.0], Spread(flows=2, unbounded=1, min=1.0, median=None, mean=None, max=None)),
    ],
)
def test_a_flow_without_bound_is_the_longest(values: list[float | None], expected: Spread) -> None:
    assert make_spread(values) == expected


def test_a_mode_is_spelled_as_everywhere() -> None:
    assert summarise(_of(history(header=header(wanted_mode=Mode.NATIVE)))).as_json()["profile"] == "fast"

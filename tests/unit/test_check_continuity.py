import errno
from dataclasses import replace

import pytest

from analysis.evidence import Evidence
from checks.continuity import check
from checks.coverage import check as check_coverage
from hitless.errors import UsageError
from hitless.facts import Endpoint
from hitless.history import History
from hitless.words import FlowId, FlowRole, FlowSet, JsonObject, Verdict
from tests.unit.histories import QUIET, header, history, lost, pair_of_flows, records


def _codes(run: History, **budgets: float | None) -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.code) for finding in check(Evidence(run), dict(budgets))]


def _with(pattern: str) -> History:
    return history(records=records({1: pattern, 2: QUIET}))


def test_a_quiet_flow_passes_and_says_what_could_have_been_missed() -> None:
    findings = list(check(Evidence(history()), {}))
    assert [(finding.verdict, finding.code) for finding in findings] == [(Verdict.PASS, "blind-time")]
    # Two neighbouring probes are 5 ms apart and the second answer takes 0.1 ms.
    assert findings[0].text == ("1 of 1 udp flow lost no probe: no outage longer than 5.1 ms could have been missed on them")


def test_one_lost_probe_fails_where_no_downtime_is_allowed() -> None:
    (finding,) = check(Evidence(_with(lost(20, 1))), {"downtime_ms": 0})
    assert (finding.verdict, finding.code, finding.flow) == (Verdict.FAIL, "flow-lost-probes", FlowId(1))
    assert finding.text == "node-a1-mesh > node-b1-mesh lost 1 of 58 probes (1 on the way out) in 1 outage, 0.0 to 10.1 ms"
    assert finding.t_ns == 105_000_000


def test_directions_and_lateness_are_reported() -> None:
    (finding,) = check(Evidence(_with("." * 10 + "XffL" + "." * 44)), {})
    assert "lost 4 of 58 probes (1 on the way out, 3 on the way back; 1 of them late)" in finding.text


def test_an_outage_that_never_ends_is_censored() -> None:
    (finding,) = check(Evidence(_with(lost(40, 18))), {})
    assert finding.text.endswith("in 1 outage, at least 84.9 ms (censored: open when the probing started or ended)")


@pytest.mark.parametrize(
    ("limit_ms", "expected"),
    [
        (40, ("FAIL", "flow-downtime-over-budget")),
        (50, ("INCONCLUSIVE", "flow-downtime-unclear")),
        (60, ("PASS", "flow-downtime-within-budget")),
    ],
)
def test_a_budget_is_compared_with_both_bounds(limit_ms: float, expected: tuple[str, str]) -> None:
    # Ten lost probes: between 45 and 55 ms.
    assert _codes(_with(lost(20, 10)), downtime_ms=limit_ms) == [expected]


def test_a_censored_outage_within_the_budget_so_far_is_unclear() -> None:
    assert _codes(_with(lost(56, 2)), downtime_ms=1000) == [("INCONCLUSIVE", "flow-downtime-unclear")]


def test_any_downtime_is_allowed_where_the_budget_is_null() -> None:
    assert _codes(_with(lost(20, 10)), downtime_ms=None) == []


def test_too_few_answers_prove_nothing() -> None:
    assert _codes(_with(".")) == [("INCONCLUSIVE", "blind-time-unbounded")]


@pytest.mark.parametrize(("mark", "code"), [("D", "duplicated"), ("R", "reordered"), ("C", "corrupted")])
def test_other_impairments_are_reported_and_fail_only_over_their_budget(mark: str, code: str) -> None:
    run = _with("." * 20 + mark + ".." + mark + "." * 34)
    assert _codes(run) == [("PASS", "blind-time"), ("PASS", code)]
    assert _codes(run, **{code: 2}) == [("PASS", "blind-time"), ("PASS", code)]
    assert _codes(run, **{code: 1}) == [("PASS", "blind-time"), ("FAIL", f"{code}-over-budget")]


@pytest.mark.parametrize("budgets", [{"downtime": 0}, {"downtime_ms": "0"}, {"downtime_ms": -1}, {"downtime_ms": True}])
def test_a_wrong_budget_is_a_usage_error(budgets: JsonObject) -> None:
    with pytest.raises(UsageError, match="budgets of the check continuity"):
        list(check(Evidence(history()), budgets))


def test_control_flows_are_not_its_business() -> None:
    run = history(records=records({1: QUIET, 2: lost(20, 10)}))
    assert _codes(run) == [("PASS", "blind-time")]


def test_every_flow_that_was_hit_gets_its_own_finding() -> None:
    flows = history().flows
    second = replace(flows[0], id=FlowId(3), destination="node-b2-mesh")
    run = history(header=header(), flows=(*flows, second), records=records({1: lost(20, 3), 2: QUIET, 3: lost(20, 4)}))
    assert [finding.flow for finding in check(Evidence(run), {})] == [FlowId(1), FlowId(3)]


def test_flows_of_other_classes_are_judged_too_and_services_are_not() -> None:
    flows = tuple(
        replace(pair_of_flows()[0], id=FlowId(number), role=role, flow_set=flow_set)
        for number, role, flow_set in (
            (1, FlowRole.MESH, FlowSet.UDP),
            (2, FlowRole.POD, FlowSet.ICMP),
            (3, FlowRole.HOST, FlowSet.HOST_TO_POD),
            (4, FlowRole.SERVICE, FlowSet.NODE_PORT),
        )
    )
    run = history(flows=flows, records=records({1: QUIET, 2: lost(20, 2), 3: lost(20, 3), 4: lost(20, 4)}))
    found = list(check(Evidence(run), {}))
    assert [(finding.code, finding.flow) for finding in found if finding.verdict is Verdict.FAIL] == [
        ("flow-lost-probes", 2),
        ("flow-lost-probes", 3),
    ]
    assert [finding.text.partition(" lost")[0] for finding in found if finding.code == "blind-time"] == ["1 of 1 udp flow"]


def refusing(number: int, pattern: str) -> History:
    """A flow from a node's own network, whose kernel refuses some probes with this errno."""
    host = replace(pair_of_flows()[0], source="node-a1-host", role=FlowRole.HOST, flow_set=FlowSet.HOST_TO_POD)
    others = (pair_of_flows()[1], replace(pair_of_flows()[0], id=FlowId(3)))
    run = history(flows=(host, *others), records=records({1: pattern, 2: QUIET, 3: QUIET}))
    run.records.sender["send_errno"][run.records.sender["send_errno"] != 0] = number
    node = run.facts.nodes[0]
    endpoint = Endpoint(name="node-a1-host", node=node.name, zone=node.zone, address=node.address, is_host=True)
    return replace(run, facts=replace(run.facts, endpoints=(*run.facts.endpoints, endpoint)))


@pytest.mark.parametrize(
    ("number", "refused", "verdict", "code"),
    [
        (errno.EPERM, 1, Verdict.PASS, "host-refused"),  # a masquerade whose device changed, once
        (errno.EPERM, 2, Verdict.FAIL, "host-refused-over-budget"),
        (errno.ENETUNREACH, 1, Verdict.FAIL, "host-unreachable"),
        (errno.EINVAL, 9, Verdict.FAIL, "host-unreachable"),
    ],
)
def test_what_a_nodes_network_refuses_is_no_instrument_loss(number: int, refused: int, verdict: Verdict, code: str) -> None:
    run = refusing(number, "." * 20 + "E" * refused + "." * (38 - refused))
    (found,) = (finding for finding in check(Evidence(run), {}) if "host" in finding.code)
    assert (found.verdict, found.code) == (verdict, code)
    assert [finding.code for finding in check_coverage(Evidence(run), {"missing_ratio": None})] == []


def test_errors_by_a_nodes_own_resources_are_the_instruments() -> None:
    run = refusing(errno.ENOBUFS, "." * 20 + "E" + "." * 37)
    assert [finding.code for finding in check(Evidence(run), {}) if "host" in finding.code] == []
    assert [finding.code for finding in check_coverage(Evidence(run), {})] == ["send-errors"]

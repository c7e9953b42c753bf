"""The checks of TCP flows: through Services, and between pods."""

from __future__ import annotations

import errno

import pytest

from analysis.evidence import Evidence
from checks import connections
from checks.check import Check
from hitless.facts import Flow
from hitless.history import History
from hitless.records import ConnectionEvent, Rows
from hitless.verdicts import Finding
from hitless.words import FlowClass, FlowRole, FlowSet, JsonObject, Verdict
from tests.clocks import ms
from tests.unit.histories import history
from tests.unit.tcp_rows import message, messages, opened, quiet, story, tcp_flow, tcp_history, told

ESTABLISHED, CONNECT = FlowClass.TCP_ESTABLISHED, FlowClass.TCP_CONNECT


def service_flow(number: int, flow_set: FlowSet, flow_class: FlowClass = ESTABLISHED) -> Flow:
    return tcp_flow(number, flow_set, flow_class, FlowRole.SERVICE)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.code) for finding in findings]


def reset_story(flow: int, *, at_ms: float = 101) -> Rows:
    return story(
        opened(flow),
        told(ConnectionEvent.RESET, at_ms, seq=3, errno=errno.ECONNRESET, flow=flow),
        told(ConnectionEvent.OPENED, at_ms + 2, seq=3, connection=1, flow=flow),
    )


def reset_rows(flow: int) -> Rows:
    return messages(quiet(0, 2, flow), message(2, delay_ms=None, failure=errno.ECONNRESET, flow=flow), quiet(3, 3, flow))


def cut_everywhere() -> History:
    """A reset on every kind of long-lived connection through a Service."""
    flows = [service_flow(7, FlowSet.NODE_PORT), service_flow(8, FlowSet.HOST_CLUSTER_IP), service_flow(9, FlowSet.CLUSTER_IP)]
    return tcp_history(
        flows,
        messages(*(reset_rows(flow.id) for flow in flows)),
        story(*(reset_story(flow.id, at_ms=100 + flow.id) for flow in flows)),
    )


def test_connections_that_were_served_are_said_to_be() -> None:
    flows = [service_flow(7, FlowSet.CLUSTER_IP), service_flow(8, FlowSet.CLUSTER_IP, CONNECT)]
    run = tcp_history(flows, messages(quiet(0, 10, 7), quiet(0, 10, 8)), opened(7))
    (finding,) = connections.check_services(Evidence(run), {})
    assert (finding.verdict, finding.code) == (Verdict.PASS, "services-served")
    assert finding.text == (
        "2 flows opened 11 connections; answered in time: 20 messages; none was cut, refused, slow or stalled"
    )


def test_a_reset_of_a_masqueraded_connection_has_its_own_code() -> None:
    findings = list(connections.check_services(Evidence(cut_everywhere()), {}))
    assert codes(findings) == [("FAIL", "service-reset"), ("FAIL", "masqueraded-reset"), ("FAIL", "masqueraded-reset")]
    assert [(finding.flow, finding.t_ns) for finding in findings] == [(9, ms(109)), (8, ms(108)), (7, ms(107))]
    assert findings[2].text == (
        "node-port tcp-established: 1 connection was reset, on 1 of 1 flow, without a connection for 2.0 ms at most, "
        f"first on {cut_everywhere().flows[2].label}; allowed: 0 in all"
    )


@pytest.mark.parametrize(
    ("limit", "verdict", "allowed"), [(3, "PASS", "3 in all"), (2, "FAIL", "2 in all"), (None, "PASS", "any number")]
)
def test_a_budget_is_for_all_flows_together(limit: int | None, verdict: str, allowed: str) -> None:
    findings = list(connections.check_services(Evidence(cut_everywhere()), {"resets": limit}))
    assert [finding.verdict.value for finding in findings] == [verdict] * 3
    assert all(finding.text.endswith(f"; allowed: {allowed}") for finding in findings)


def test_new_connections_are_complained_of_by_what_became_of_them() -> None:
    rows = messages(
        quiet(0, 2),
        message(2, delay_ms=None, failure=errno.ECONNREFUSED),
        message(3, delay_ms=None, failure=errno.ETIMEDOUT),
        message(4, delay_ms=None, failure=errno.EHOSTUNREACH),
        message(5, delay_ms=1020, retransmits=1),
        message(6, delay_ms=None),
        message(7, delay_ms=None, failure=errno.ECONNRESET),
        message(8, delay_ms=None, failure=errno.EPIPE),
    )
    findings = list(
        connections.check_services(Evidence(tcp_history([service_flow(7, FlowSet.NODE_PORT, CONNECT)], rows, story())), {})
    )
    assert codes(findings) == [
        ("FAIL", "service-reset"),
        ("FAIL", "service-ended"),
        ("FAIL", "service-refused"),
        ("FAIL", "service-timed-out"),
        ("FAIL", "service-unreachable"),
        ("FAIL", "service-slow"),
        ("FAIL", "service-lost"),
    ]


def test_flows_of_one_set_and_class_share_a_finding_that_names_the_first() -> None:
    flows = [service_flow(number, FlowSet.NODE_PORT) for number in (7, 8, 9)]
    rows = messages(quiet(0, 6, 7), reset_rows(8), reset_rows(9))
    run = tcp_history(flows, rows, story(opened(7), reset_story(8, at_ms=120), reset_story(9, at_ms=110)))
    (finding,) = connections.check_services(Evidence(run), {})
    assert (finding.flow, finding.t_ns) == (9, ms(110))
    assert "2 connections were reset, on 2 of 3 flows" in finding.text


def test_a_stall_says_how_long_and_how_it_ended() -> None:
    waiting = [message(tick, delay_ms=950 - tick * 50) for tick in range(4, 16)]
    rows = messages(quiet(0, 4), *waiting, quiet(16, 10))
    run = tcp_history([tcp_flow(7)], rows, opened())
    (finding,) = connections.check(Evidence(run), {})
    assert (finding.verdict, finding.code, finding.t_ns) == (Verdict.FAIL, "connection-stalled", ms(200))
    assert finding.text == (
        "tcp-established: 1 stall was seen: a connection fell silent while messages waited, on 1 of 1 flow; "
        "the longest for 750.0 ms (1 recovered), first on node-a1-mesh > node-b1-mesh tcp-established; allowed: 0 in all"
    )


def test_each_check_looks_at_its_own_flows() -> None:
    flows = [tcp_flow(7), service_flow(8, FlowSet.CLUSTER_IP)]
    run = tcp_history(flows, messages(reset_rows(7), quiet(0, 6, 8)), story(reset_story(7), opened(8)))
    assert codes(list(connections.check(Evidence(run), {}))) == [("FAIL", "connection-reset")]
    assert codes(list(connections.check_services(Evidence(run), {}))) == [("PASS", "services-served")]


def test_what_is_lost_between_pods_is_left_to_continuity() -> None:
    rows = messages(quiet(0, 6), message(6, delay_ms=None))
    run = tcp_history([tcp_flow(7, FlowSet.TCP_CONNECT, CONNECT)], rows, story())
    assert codes(list(connections.check(Evidence(run), {}))) == [("PASS", "connections-held")]


@pytest.mark.parametrize(
    ("check", "role", "code"),
    [
        (connections.check_services, FlowRole.SERVICE, "service-not-probed"),
        (connections.check, FlowRole.POD, "connections-not-probed"),
    ],
)
def test_a_flow_on_which_nothing_was_offered_is_a_doubt(check: Check, role: FlowRole, code: str) -> None:
    run = tcp_history([tcp_flow(7, role=role), tcp_flow(8, role=role)], quiet(0, 5), opened())
    findings = list(check(Evidence(run), {}))
    assert codes(findings)[0] == ("INCONCLUSIVE", code)
    assert findings[0].flow == 8


@pytest.mark.parametrize("check", [connections.check_services, connections.check])
def test_without_such_flows_it_is_not_applicable(check: Check) -> None:
    assert codes(list(check(Evidence(history()), {}))) == [("PASS", "not-applicable")]


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [({}, "FAIL"), ({"stalls": 1}, "PASS"), ({"stalls": None}, "PASS")],
)
def test_a_stall_may_be_allowed(budgets: JsonObject, expected: str) -> None:
    rows = messages(quiet(0, 2), message(2, delay_ms=400), quiet(10, 2))
    (finding,) = connections.check(Evidence(tcp_history([tcp_flow(7)], rows, opened())), budgets)
    assert (finding.verdict.value, finding.code) == (expected, "connection-stalled")

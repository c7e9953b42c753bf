from dataclasses import replace

import numpy as np

from analysis.evidence import Evidence
from checks.sources import check, seen_sources
from hitless.history import History
from hitless.records import encode_address
from hitless.words import FlowRole, FlowSet, Verdict
from tests.unit.histories import QUIET, history, lost, pair_of_flows, records

POD, NODE = "100.96.0.2", "10.250.0.10"


def run_with(*stretches: tuple[str, int], pattern: str = QUIET) -> History:
    """A pod-to-host flow whose reflector saw these addresses, each for this many probes."""
    flow = replace(pair_of_flows()[0], role=FlowRole.HOST, flow_set=FlowSet.POD_TO_HOST)
    told = records({1: pattern, 2: QUIET})
    log = told.reflector.copy()
    at = 0
    for address, count in stretches:
        log["source"][at : at + count] = np.void(encode_address(address))
        at += count
    return history(flows=(flow, pair_of_flows()[1]), records=replace(told, reflector=log))


def test_the_stretches_of_a_flow_in_order_of_time() -> None:
    run = run_with((NODE, 20), (POD, 38))
    first, second = seen_sources(run, run.flows[0])
    assert (first.address, first.is_rewritten) == (NODE, True)
    assert (second.address, second.is_rewritten) == (POD, False)
    assert first.first_ns < second.first_ns


def test_a_flow_without_a_log_says_nothing() -> None:
    run = run_with(pattern=lost(0, 58))
    assert list(check(Evidence(run), {})) == []
    assert [(finding.verdict, finding.code) for finding in check(Evidence(run), {"changed": 0})] == [
        (Verdict.INCONCLUSIVE, "source-unknown")
    ]


def test_a_source_that_stays_is_said() -> None:
    (finding,) = check(Evidence(run_with((NODE, 58))), {"changed": 0})
    assert (finding.verdict, finding.code) == (Verdict.PASS, "source-kept")
    assert (
        finding.text == "pod-to-host: 1 of 1 flow always came from a rewritten address, 0 always from the source's own address"
    )


def test_a_source_that_changes_fails_only_where_a_budget_asks() -> None:
    run = run_with((NODE, 20), (POD, 38))
    (said,) = check(Evidence(run), {})
    assert (said.verdict, said.code, said.flow) == (Verdict.PASS, "source-changed", 1)
    assert said.text.endswith(f"1 changed, such as node-a1-mesh > node-b1-mesh pod-to-host from {NODE} to {POD}")
    (failed,) = check(Evidence(run), {"changed": 0})
    assert (failed.verdict, failed.code) == (Verdict.FAIL, "source-changed")


def test_pod_to_pod_flows_are_not_asked() -> None:
    assert list(check(Evidence(history()), {"changed": 0})) == []

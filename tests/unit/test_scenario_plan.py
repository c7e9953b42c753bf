"""From a scenario and options to a plan: limits of the options, flows, and whether an outage would be there to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.comparison import PROOF_INTERVALS
from hitless.errors import UsageError
from hitless.words import SECOND, Arm, IpipCarrier, Mode, Overlay, Verdict
from scenarios.loading import catalogue, find_scenario, load_scenario
from scenarios.model import Scenario
from scenarios.plan import Options, expectation_gap, make_case
from tests.cases import case_of
from tests.unit.fakes_gardener import Bench


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(zones=0), "--zones: found 0; expected 1 to 26"),
        (Options(zones=27), "--zones: found 27; expected 1 to 26"),
        (Options(nodes_per_zone=0), "--nodes-per-zone: found 0; expected 1 to 200"),
        (Options(nodes_per_zone=201), "--nodes-per-zone: found 201; expected 1 to 200"),
        (Options(zones=1, nodes_per_zone=1), "--zones and --nodes-per-zone: found 1 * 1 nodes; expected 2 to 255 nodes"),
        (Options(zones=26, nodes_per_zone=10), "--zones and --nodes-per-zone: found 26 * 10 nodes; expected 2 to 255 nodes"),
        (
            Options(overlay=Overlay.VXLAN, carrier=IpipCarrier.IPIP),
            "--carrier: found ipip for the overlay vxlan; expected the overlay ipip",
        ),
        (Options(rate_hz=0), "--rate: found 0; expected 1 to 10000 probes per second per flow"),
        (Options(rate_hz=10_001), "--rate: found 10001; expected 1 to 10000 probes per second per flow"),
        (Options(rate_hz=float("nan")), "--rate: found nan; expected 1 to 10000 probes per second per flow"),
    ],
)
def test_an_option_out_of_range_is_named(options: Options, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_case(load_scenario(find_scenario("plain-switch")), options)
    assert str(caught.value).startswith(message)


def test_options_change_the_scenario() -> None:
    options = Options(overlay=Overlay.VXLAN, zones=3, nodes_per_zone=1, rate_hz=25)
    case = make_case(load_scenario(find_scenario("plain-switch")), options)
    assert (case.overlay, case.shoot.overlay, case.scenario.topology.nodes) == (Overlay.VXLAN, Overlay.VXLAN, 3)
    assert (case.scenario.rate_hz, case.scenario.file.name) == (25, "plain-switch.yaml")


def test_a_quota_needs_its_zone() -> None:
    with pytest.raises(UsageError) as caught:
        case_of("route-quota", zones=1)
    assert str(caught.value).endswith(
        "route-quota.yaml with 1 zone of 2 nodes: cloud.quota: found zone b; expected the topology's zones a"
    )


@pytest.mark.parametrize(
    ("name", "options", "gap"),
    [
        ("plain-switch", Options(), None),
        ("plain-switch", Options(overlay=Overlay.IPIP, zones=3, nodes_per_zone=1), None),
        ("plain-switch", Options(overlay=Overlay.VXLAN), "plain-switch has expectations for ipip only, not for vxlan"),
        ("vxlan-switch", Options(overlay=Overlay.VXLAN), None),
        ("vxlan-switch", Options(overlay=Overlay.IPIP), "vxlan-switch has expectations for vxlan only, not for ipip"),
        ("vxlan-switch", Options(carrier=IpipCarrier.IPIP), "vxlan-switch has the overlay vxlan; ipip carries only ipip"),
        ("plain-switch", Options(carrier=IpipCarrier.VXLAN_GPE), None),
        ("route-quota", Options(zones=3), None),
        ("route-quota", Options(zones=1), "route-quota has a quota for zone b of 2 zones; there are 1"),
        ("last-table-wins", Options(zones=1), "last-table-wins has a quota for zone a of 2 zones; there are 1"),
        (
            "route-quota",
            Options(nodes_per_zone=1),
            "route-quota has a quota of 2 routes for zone b, more than 2 nodes can use",
        ),
    ],
)
def test_expectations_hold_only_for_what_the_scenario_was_written_for(name: str, options: Options, gap: str | None) -> None:
    assert expectation_gap(load_scenario(find_scenario(name)), options) == gap


def is_lossy_switch(scenario: Scenario) -> bool:
    ungated = scenario.arm_plans.get(Arm.UNGATED)
    return scenario.start is Mode.OVERLAY and ungated is not None and "continuity" in ungated.because


@pytest.mark.parametrize("name", [path.stem for path in catalogue() if is_lossy_switch(load_scenario(path))])
def test_the_last_route_of_an_ungated_switch_is_late_enough_for_the_proof_that_a_comparison_asks_for(name: str) -> None:
    case = case_of(name)
    bench = Bench(shoot=case.shoot, is_gated=False, behaviour=case.behaviour, timings=case.timings)
    bench.request(case.wanted[0])
    bench.run()
    [pool_ns] = bench.times("manifest.applied", name="default-ipv4-ippool")
    routes_ns = bench.times("route.created")
    assert max(routes_ns) - pool_ns >= PROOF_INTERVALS * SECOND / case.scenario.rate_hz


def test_an_arm_sets_the_gate_and_the_scenario_does_not() -> None:
    plans = load_scenario(find_scenario("plain-switch")).arm_plans
    assert {arm: plan.expect for arm, plan in plans.items()} == {Arm.UNGATED: Verdict.FAIL, Arm.GATED: Verdict.PASS}
    case = case_of()
    assert case.feature_gates == replace(case.feature_gates, seamless_overlay_switch=False)

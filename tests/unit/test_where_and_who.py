"""Where and who: which pairs there are, what an observer cannot do, and that an observed plan changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clusters.kind.config import DEFAULT_CLUSTER_NAME
from clusters.kubernetes.watched import check_records, find_mismatches
from clusters.lab.kube import MemoryKube
from commands.backends import make_backend
from commands.options import BackendName
from commands.performers import SwitchName, confirm_switched, find_impossible, make_performer
from gardener.manifests.admission import admit
from hitless.errors import UsageError, WorldError
from hitless.facts import NodeFacts
from hitless.words import SECOND, Arm, FlowSet, Mode, Nanoseconds, Profile
from scenarios.loading import CATALOGUE, load_scenario
from scenarios.mesh import FULL_MESH
from scenarios.plan import Case, Options, make_case, make_plan
from switches.doubles import initial_objects
from switches.observer import CHECKS
from tests.cases import case_of
from tests.clocks import JumpingClock
from tests.unit.histories import history, switch_events

ROOT = Path(__file__).parents[2]
NODES = tuple(
    NodeFacts(name=f"node-{zone}1", zone=zone, address=f"10.250.{index}.11", pod_cidr=f"100.96.{index}.0/24", gateway="")
    for index, zone in enumerate("ab")
)
OBSERVER = make_performer(SwitchName.OBSERVER)


def kube_of(mode: Mode, nodes: Sequence[NodeFacts] = NODES, case: Case | None = None) -> MemoryKube:
    """An API as Gardener leaves it in a mode."""
    case = case or case_of("plain-switch")
    kube = MemoryKube(admit=admit, clock=JumpingClock())
    for document in initial_objects(case.shoot.with_mode(mode), nodes, case.feature_gates):
        kube.apply(document, actor="gardener")
    return kube


@pytest.mark.parametrize(
    ("scenario", "arm", "act"),
    [
        ("plain-switch", Arm.GATED, None),
        ("plain-switch", Arm.UNGATED, "switch without the gate, as UNGATED does"),
        ("native-to-overlay", Arm.GATED, None),
        ("nothing-happens", Arm.GATED, None),
        ("nothing-happens", Arm.UNGATED, None),
        ("flow-classes", Arm.GATED, None),
        ("route-api-outage", Arm.GATED, "inject faults at their times (route-api-down)"),
        ("route-quota", Arm.GATED, "make the cloud behave as the scenario states"),
        ("slow-routes", Arm.GATED, "make the cloud behave as the scenario states"),
        ("mutant-ignores-reason", Arm.GATED, "break the gate (ignores-reason)"),
    ],
)
def test_what_an_observer_cannot_do_is_named_and_the_doubles_can_do_everything(
    scenario: str, arm: Arm, act: str | None
) -> None:
    assert act == find_impossible(OBSERVER, case_of(scenario), arm)
    assert find_impossible(make_performer(SwitchName.DOUBLES), case_of(scenario), arm) is None


def test_no_arm_of_the_catalogue_that_is_meant_to_fail_is_watched() -> None:
    for path in CATALOGUE.glob("*.yaml"):
        case = make_case(load_scenario(path), Options())
        for arm, plan in case.scenario.arm_plans.items():
            assert plan.expect == "PASS" or find_impossible(OBSERVER, case, arm) is not None, (path.stem, arm)


def test_the_cluster_must_be_as_the_scenario_begins() -> None:
    case = case_of("plain-switch")
    assert find_mismatches(kube_of(Mode.OVERLAY), case) == ()
    assert find_mismatches(kube_of(Mode.NATIVE), case) == ("a cluster in mode OVERLAY: it is in NATIVE",)
    assert find_mismatches(kube_of(Mode.OVERLAY, NODES[:1]), case) == ("two nodes: the cluster has 1",)
    vxlan = case_of("vxlan-switch")
    assert find_mismatches(kube_of(Mode.OVERLAY), vxlan) == ("the overlay vxlan: it is ipip",)
    assert find_mismatches(kube_of(Mode.OVERLAY, case=vxlan), vxlan) == ()


def test_flows_that_need_something_made_in_the_cluster_are_missing() -> None:
    kube = kube_of(Mode.OVERLAY)
    between = case_of("plain-switch", FlowSet.HOST_TO_POD, FlowSet.POD_TO_HOST, FlowSet.TCP_CONNECT)
    assert find_mismatches(kube, between) == ()
    assert find_mismatches(kube, case_of("plain-switch", FlowSet.CLUSTER_IP)) == ("nft",)


def test_an_observed_plan_changes_nothing_and_judges_what_can_be_seen() -> None:
    case, clock = case_of("plain-switch"), JumpingClock()
    ours, plan = make_plan(case, Arm.GATED, 2, clock), OBSERVER.make_plan(case, Arm.GATED, 2, clock)
    assert (plan.requests_ns, plan.faults, plan.calibration_ns, plan.is_until_settled) == ((), (), None, True)
    assert set(ours.header.checks) - CHECKS
    assert set(plan.header.checks) == set(ours.header.checks) & CHECKS == {"continuity", "hygiene"}
    assert plan.header.checks["continuity"] == ours.header.checks["continuity"]
    assert (plan.header.scenario, plan.header.trial, plan.header.end_mode) == ("plain-switch", 2, Mode.NATIVE)
    assert plan.duration_ns_max == 3600 * SECOND
    assert plan.probing.duration_ns_max > plan.duration_ns_max


def test_where_nothing_is_asked_for_the_observation_is_as_long_as_the_scenario() -> None:
    case, clock = case_of("nothing-happens"), JumpingClock()
    plan = OBSERVER.make_plan(case, Arm.GATED, 1, clock)
    assert (plan.duration_ns_max, plan.is_until_settled) == (make_plan(case, Arm.GATED, 1, clock).duration_ns_max, False)


def test_a_run_without_a_switch_is_no_run_of_the_scenario() -> None:
    switched, quiet = history(), history(events=tuple(one for one in switch_events() if one.name != "switch.requested"))
    confirm_switched(case_of("plain-switch"), switched)
    confirm_switched(case_of("nothing-happens"), quiet)
    with pytest.raises(WorldError, match="no switch to NATIVE was seen within"):
        confirm_switched(case_of("plain-switch"), quiet)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"image": "i"}, "--kubeconfig"),
        ({"kubeconfig": Path("k")}, "--prober-image"),
    ],
)
def test_an_option_that_a_backend_needs_is_named(options: dict[str, Any], missing: str) -> None:
    with pytest.raises(UsageError, match=rf"^{missing} is required with --backend kubeconfig$"):
        make_backend(BackendName.KUBECONFIG, **options)


def test_a_watched_cluster_is_probed_gently_by_default() -> None:
    assert make_backend(BackendName.KUBECONFIG, kubeconfig=Path("k"), image="i").rate_hz == 20.0
    assert make_backend(BackendName.LAB).rate_hz is None


def test_where_and_who_go_together_or_are_refused_by_name() -> None:
    lab, kind, watched = (make_backend(name, kubeconfig=Path("k"), image="i") for name in BackendName)
    assert [one.choose_switch(None) for one in (lab, kind, watched)] == ["doubles", "doubles", "observer"]
    assert kind.choose_switch(SwitchName.OBSERVER) is SwitchName.OBSERVER
    with pytest.raises(UsageError, match=r"^--switch observer does not work with --backend lab: .*; use --switch doubles$"):
        lab.choose_switch(SwitchName.OBSERVER)
    with pytest.raises(UsageError, match=r"^--switch doubles does not work with --backend kubeconfig: hitless only watches"):
        watched.choose_switch(SwitchName.DOUBLES)


def test_a_kind_cluster_is_called_as_the_command_line_says_and_hitless_by_default(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    conftest: Any = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    found: list[str] = []
    monkeypatch.setattr(conftest, "make_backend", lambda _name, kind, **_watched: found.append(kind.cluster_name))
    conftest._backend(pytestconfig)
    monkeypatch.setattr(pytestconfig.option, "cluster_name", "pytest-kind")
    conftest._backend(pytestconfig)
    assert found == [DEFAULT_CLUSTER_NAME, "pytest-kind"]


def test_fast_constants_are_refused_where_real_parts_take_their_time() -> None:
    lab, kind = make_backend(BackendName.LAB), make_backend(BackendName.KIND)
    assert [lab.choose_profile(None), kind.choose_profile(None)] == [Profile.FAST, Profile.GARDENER]
    assert lab.choose_profile(Profile.GARDENER) is Profile.GARDENER
    with pytest.raises(
        UsageError, match=r"^--profile fast does not work with --backend kind, because .*; use --profile gardener$"
    ):
        kind.choose_profile(Profile.FAST)


def test_records_that_would_not_fit_are_refused_before_anything_is_deployed() -> None:
    check_records(("a", "b"), FULL_MESH, rate_hz=20.0, until_s=3600.0)
    with pytest.raises(UsageError, match=r"fill them in"):
        check_records(("a", "b"), FULL_MESH, rate_hz=1000.0, until_s=4000.0, families=2)
    check_records(("a", "b"), FULL_MESH, rate_hz=1000.0, until_s=4000.0)
    with pytest.raises(UsageError, match=r"^the cluster has 1 node; probing needs at least 2$"):
        check_records(("a",), FULL_MESH, rate_hz=20.0, until_s=3600.0)
    with pytest.raises(UsageError, match=r"2 nodes fill them in [0-9]+ s; use a smaller --rate, --mesh covering"):
        check_records(("a", "b"), FULL_MESH, rate_hz=1000.0, until_s=10_000.0)


def test_agents_outlive_the_observation_but_not_for_long() -> None:
    plan = OBSERVER.make_plan(case_of("plain-switch"), Arm.GATED, 1, JumpingClock())
    margin_ns = plan.probing.duration_ns_max - plan.duration_ns_max
    assert plan.header.validation_ns < margin_ns <= Nanoseconds(300 * SECOND)

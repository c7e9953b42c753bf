"""Which parts are programs: the options, what goes together, and what a program cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.programs.cluster import Programs
from commands.backends import fit_backend, make_backend
from commands.options import DOUBLE, BackendName
from commands.performers import SwitchName, find_impossible, make_performer, read_programs
from hitless.errors import MissingCapabilityError, UsageError
from hitless.facts import Part
from hitless.words import Arm, Profile
from tests.cases import case_of
from tests.unit.test_program_identity import write_script

EXTENSION: Programs = {Part.EXTENSION: Path("extension"), Part.RESOURCE_MANAGER: Path("manager")}
CONTROLLER: Programs = {Part.ROUTE_CONTROLLER: Path("controller")}


def test_each_part_is_a_double_unless_a_path_is_given() -> None:
    assert read_programs(DOUBLE, DOUBLE, DOUBLE) == {}
    assert read_programs("extension", "manager", DOUBLE) == EXTENSION
    assert read_programs(DOUBLE, DOUBLE, "controller") == CONTROLLER


@pytest.mark.parametrize(
    ("paths", "given", "missing"),
    [(("a", DOUBLE, DOUBLE), "extension", "resource-manager"), ((DOUBLE, "a", "b"), "resource-manager", "extension")],
)
def test_extension_and_resource_manager_go_together(paths: tuple[str, str, str], given: str, missing: str) -> None:
    with pytest.raises(UsageError, match=f"--{given} needs --{missing}"):
        read_programs(*paths)


def test_programs_have_no_effect_where_someone_else_switches() -> None:
    with pytest.raises(UsageError, match="--route-controller has no effect with --switch observer"):
        make_performer(SwitchName.OBSERVER, programs=CONTROLLER)


@pytest.mark.parametrize("name", [BackendName.LAB, BackendName.KIND])
def test_programs_run_in_real_time(name: BackendName) -> None:
    backend = fit_backend(make_backend(name), make_performer(SwitchName.DOUBLES, programs=EXTENSION))
    assert backend.choose_profile(None) is Profile.GARDENER
    with pytest.raises(UsageError, match="--profile fast does not work"):
        backend.choose_profile(Profile.FAST)


def test_programs_are_refused_where_hitless_only_watches() -> None:
    watched = make_backend(BackendName.KUBECONFIG, kubeconfig=Path("config"), image="prober")
    with pytest.raises(UsageError, match="--extension, --resource-manager does not work with --backend kubeconfig"):
        fit_backend(watched, make_performer(SwitchName.DOUBLES, programs=EXTENSION))


def test_a_calico_version_beside_an_extension_has_an_effect_on_kind_alone() -> None:
    lab, kind = make_backend(BackendName.LAB), make_backend(BackendName.KIND)
    performer = make_performer(SwitchName.DOUBLES, programs=EXTENSION)
    fit_backend(kind, performer, "v3.28.4")
    with pytest.raises(UsageError, match="--calico-version has no effect with --extension in the lab"):
        fit_backend(lab, performer, "v3.28.4")
    fit_backend(lab, make_performer(SwitchName.DOUBLES, programs=CONTROLLER), "v3.28.4")


@pytest.mark.parametrize(
    ("programs", "scenario", "act"),
    [
        (EXTENSION, "mutant-first-node", "break the gate (opens-on-first-node)"),
        (EXTENSION, "route-quota", None),
        (EXTENSION, "old-extension", "act as another release of the extension (v1.57)"),
        (EXTENSION, "extension-restart", None),
        (CONTROLLER, "route-quota", "run an ideal route controller"),
        (CONTROLLER, "last-table-wins", None),
        (EXTENSION, "migration-during-hold", None),
        (EXTENSION, "kube-api-away", None),
    ],
)
def test_what_a_program_cannot_do_is_named(programs: Programs, scenario: str, act: str | None) -> None:
    case = case_of(scenario, profile=Profile.GARDENER)
    performer = make_performer(SwitchName.DOUBLES, programs=programs)
    assert find_impossible(performer, case, Arm.GATED) == act


def test_a_program_of_the_release_that_a_scenario_names_can_be_it(tmp_path: Path) -> None:
    case = case_of("old-extension", profile=Profile.GARDENER)
    for version, act in (("v1.57.0", None), ("v1.58.0", "act as another release of the extension (v1.57)")):
        program = write_script(tmp_path / version, f"print('Kubernetes {version}')")
        programs = {Part.EXTENSION: program, Part.RESOURCE_MANAGER: program}
        assert find_impossible(make_performer(SwitchName.DOUBLES, programs=programs), case, Arm.GATED) == act


def test_a_missing_program_is_named_before_anything_runs() -> None:
    performer = make_performer(SwitchName.DOUBLES, programs=CONTROLLER)
    with pytest.raises(MissingCapabilityError, match="--route-controller controller: no such file"):
        performer.check()

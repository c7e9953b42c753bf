"""Reader of scenario files: validates them, also against their Shoot and the names that they refer to."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from checks.catalogue import read_checks
from gardener.doubles.mutants import MUTANTS
from gardener.feature_gates import FeatureGates, load_feature_gates
from gardener.manifests.chart_values import compute_values
from gardener.shoot import Shoot, load_shoot
from hitless.documents import read_document, validate
from hitless.errors import UsageError
from hitless.faults import OF_IPV6, check_fault
from hitless.words import Mode
from scenarios.model import Scenario

CATALOGUE: Final = Path(__file__).parent / "catalogue"
"""The folder of the scenarios that are shipped."""


def load_scenario(path: Path) -> Scenario:
    """Read and validate one scenario file; paths in it become absolute.

    Raises UsageError: names the file, the place, what was found and what is allowed.
    """
    document: dict[str, Any] = read_document(path)
    shoot: Shoot | None = None
    if isinstance(document.get("shoot"), str):
        shoot_path = path.resolve().parent / document["shoot"]
        shoot = load_shoot(shoot_path)
        document = {"start": start_mode(shoot, str(shoot_path)), "overlays": [shoot.overlay], **document}
    scenario = validate(Scenario, document, str(path))
    if scenario.name != path.stem:
        raise UsageError(where=str(path), place="name", found=scenario.name, expected=f"{path.stem}, the name of the file")
    scenario = scenario.located(path)
    assert shoot is not None  # noqa: S101 - a scenario is not valid without the name of one
    _check_references(scenario)
    _check_shoot(scenario, shoot)
    return scenario


def start_mode(shoot: Shoot, where: str) -> Mode:
    """Return the mode of a cluster that was made from a Shoot.

    Raises UsageError: the Shoot needs a data plane that is not probed.
    """
    families = shoot.spec.networking.ip_families
    if families[0] != "IPv4":
        allowed = "IPv4, or IPv4 and IPv6, because the switch concerns IPv4"
        raise UsageError(where=where, place="spec.networking.ipFamilies", found=", ".join(families), expected=allowed)
    try:
        return compute_values(shoot, FeatureGates()).mode
    except UsageError as error:
        raise error.at(where, error.place) from error


def _check_shoot(scenario: Scenario, shoot: Shoot) -> None:
    """Refuse a scenario that contradicts its Shoot or requests what it already has. Raises UsageError, which names both."""
    where, says = str(scenario.file), f"as {scenario.shoot} says"
    start = start_mode(shoot, str(scenario.shoot))
    if scenario.start is not start:
        raise UsageError(where=where, place="start", found=scenario.start, expected=f"{start}, {says}")
    if shoot.overlay not in scenario.overlays:
        found = ", ".join(scenario.overlays)
        raise UsageError(where=where, place="overlays", found=found, expected=f"overlays that include {shoot.overlay}, {says}")
    for name in sorted(scenario.fault_names & OF_IPV6):
        if "IPv6" not in shoot.families:
            problem = f"{name} needs pods with IPv6; they have only {', '.join(shoot.families)}, {says}"
            raise UsageError(problem, where=where, place="faults")
    scenario.change_shoot(shoot)


def _check_references(scenario: Scenario) -> None:
    """Refuse a scenario that names what does not exist: a check, a budget, a mutant, a fault. Raises UsageError."""
    where = str(scenario.file)
    for number, fault in enumerate(scenario.faults):
        try:
            check_fault(fault.name, fault.options)
        except UsageError as error:
            raise error.at(where, f"faults.{number}.{error.place}") from error
    for arm, plan in scenario.arms.items():
        read_checks(plan.checks, where, f"arms.{arm}.checks")
        if plan.mutant is not None and plan.mutant not in MUTANTS:
            raise UsageError(where=where, place=f"arms.{arm}.mutant", found=plan.mutant, expected=", ".join(MUTANTS))
    if scenario.controller_configuration is not None:
        load_feature_gates(scenario.controller_configuration)


def catalogue() -> tuple[Path, ...]:
    """Return the files of the shipped scenarios, in order of their names."""
    return tuple(sorted(CATALOGUE.glob("*.yaml")))


def find_scenario(name: str) -> Path:
    """Return the file of a shipped scenario, or `name` itself if it is the path of a file.

    Raises UsageError: neither; suggests the nearest name.
    """
    shipped = {path.stem: path for path in catalogue()}
    if name in shipped:
        return shipped[name]
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    near = get_close_matches(name, shipped, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; give a YAML file, or a name from `hitless scenarios`"
    raise UsageError(f"no scenario {name}{hint}", where="--scenario")

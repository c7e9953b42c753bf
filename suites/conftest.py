"""The broken gates that a session tests, and what it prints of them at its end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from gardener.doubles.mutants import MUTANTS
from hitless.errors import UsageError
from scenarios.loading import find_scenario, load_scenario
from tests.mutants import Catch, describe_total


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --scenario, leave the broken gates out where no scenario has one."""
    return True if collection_path.stem == "test_mutants" and not _find_gates(config) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every broken gate, with --scenario of those that the scenarios have."""
    if "broken_gate" in metafunc.fixturenames:
        metafunc.parametrize("broken_gate", _find_gates(metafunc.config))


def _find_gates(config: pytest.Config) -> list[str]:
    names = config.getoption("--scenario")
    if not names:
        return list(MUTANTS)
    with suppress(UsageError):  # the collection of the scenarios says what is wrong
        arms = [arm for name in names for arm in load_scenario(find_scenario(name)).arms.values()]
        return list(dict.fromkeys(arm.mutant for arm in arms if arm.mutant is not None))
    return []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what catches each broken gate, and how many are caught."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    catches = [
        Catch(name=said["broken gate"], rows=_split(said["rows"]), scenarios=_split(said["shown by"]))
        for said in ({name: str(value) for name, value in report.user_properties} for report in reports)
        if "broken gate" in said
    ]
    for line in [*(catch.describe() for catch in catches), describe_total(catches)] if catches else []:
        terminalreporter.write_line(f"hitless: {line}")


def _split(told: str) -> tuple[str, ...]:
    return tuple(told.split("; ")) if told else ()

"""Which broken gates a session asks, and what it prints of them at its end."""

from __future__ import annotations

from contextlib import suppress

import pytest

from hitless.errors import UsageError
from scenarios.loading import find_scenario, load_scenario
from tests.mutants import Catch, describe_total


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --scenario, keep of the tests of broken gates those of the gates that these scenarios have."""
    names = config.getoption("--scenario")
    if not names:
        return
    broken: set[str | None] = set()
    with suppress(UsageError):  # the collection of the scenarios says what is wrong
        broken = {arm.mutant for name in names for arm in load_scenario(find_scenario(name)).arms.values()}
    others = [item for item in items if item.path.stem == "test_mutants" and item.callspec.params["gate"] not in broken]  # type: ignore[attr-defined]  # of a parametrized Function
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


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

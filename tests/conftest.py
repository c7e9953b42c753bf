"""What holds for every test: the user's records are left alone, no example of Hypothesis is timed, a unit test ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hitless.clock import RunClock

UNIT = Path(__file__).parent / "unit"
UNIT_TIMEOUT_S = 120
"""No unit test waits for anything: one that lasts so long has a loop that never ends."""
RECORDS = Path(__file__).parents[1] / "reports" / "runs"

# How long an example takes tells about the machine, not about the code. CI runs the same examples every time; a developer's
# machine finds new ones.
settings.register_profile("hitless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("hitless"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "hitless")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let a unit test that never ends fail with its stack, and the others go on (pytest-timeout).

    By a signal, which interrupts any loop and needs no thread. Tests of the lab and of kind wait for real processes, each with
    a deadline of its own.
    """
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            if item.path.is_relative_to(UNIT):
                item.add_marker(pytest.mark.timeout(UNIT_TIMEOUT_S, method="signal"))


def list_records() -> dict[str, str]:
    """Name to target of the link, or nothing, of what is in the folder of a user's records."""
    found = RECORDS.iterdir() if RECORDS.is_dir() else ()
    return {path.name: str(path.readlink()) if path.is_symlink() else "" for path in found}


@pytest.fixture
def clock() -> RunClock:
    """The clock of a run that begins now."""
    return RunClock()


@pytest.fixture(scope="session", autouse=True)
def users_records() -> Iterator[None]:
    """No test adds a record to the user's, or moves the link to the latest."""
    before = list_records()
    yield
    assert before == list_records()

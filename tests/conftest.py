"""What holds for every test: the user's records are left alone, and an example of Hypothesis has no time limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

RECORDS = Path(__file__).parents[1] / "reports" / "runs"

# How long an example takes tells about the machine, not about the code. CI runs the same examples every time; a developer's
# machine finds new ones.
settings.register_profile("hitless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("hitless"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "hitless")


def list_records() -> dict[str, str]:
    """Name to target of the link, or nothing, of what is in the folder of a user's records."""
    found = RECORDS.iterdir() if RECORDS.is_dir() else ()
    return {path.name: str(path.readlink()) if path.is_symlink() else "" for path in found}


@pytest.fixture(scope="session", autouse=True)
def users_records() -> Iterator[None]:
    """No test adds a record to the user's, or moves the link to the latest."""
    before = list_records()
    yield
    assert before == list_records()

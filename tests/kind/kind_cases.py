"""Specs and cases for the tests of kind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from clusters.kind.config import KindOptions, make_spec
from clusters.kind.spec import KindSpec
from tests.cases import case_of


def spec_of(scenario: str = "plain-switch") -> KindSpec:
    return make_spec(case_of(scenario), KindOptions())


def find_kind() -> Path | None:
    """Return the real kind: on PATH, or where `go install` puts it."""
    places = (os.environ.get("PATH", ""), os.environ.get("GOBIN", ""), str(Path.home() / "go" / "bin"))
    found = shutil.which("kind", path=os.pathsep.join(filter(None, places)))
    return None if found is None else Path(found)

"""What pyproject.toml installs: every room, and every file that a room reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
ROOMS = tuple(ROOT / name for name in PROJECT["importlinter"]["root_packages"] if name != "bench")
FOR_A_CHECKOUT = {
    "gardener/observed/decisions.tsv",
    *("probes/_datagrams.c", "probes/image/Dockerfile", "probes/README.md", "reports/README.md"),
}
"""Tests alone read the observed decisions. The prober's image is built from a checkout; what is compiled is installed as it was
built."""

RECORDS = ROOT / "reports" / "runs"
"""Of runs in the checkout; ignored by git."""


def test_every_room_is_installed() -> None:
    folders = {path.parent.relative_to(ROOT) for room in ROOMS for path in room.rglob("*.py")}
    assert sorted(PROJECT["setuptools"]["packages"]) == sorted(".".join(folder.parts) for folder in folders)


def test_every_file_that_is_no_module_is_installed_beside_them() -> None:
    installed = {
        path
        for package, patterns in PROJECT["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = (path for room in ROOMS for path in room.rglob("*") if path.is_file() and not path.is_relative_to(RECORDS))
    present = {path for path in files if path.suffix not in {".py", ".pyc", ".so"}}
    assert {str(path.relative_to(ROOT)) for path in present - installed} == FOR_A_CHECKOUT

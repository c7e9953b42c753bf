"""The wheel: installed into an environment without a checkout, it runs a comparison and decides about releases."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.lab.test_sandbox import outside_environment

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PATIENCE_S = 120.0


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, with a separate home and no path to this checkout."""
    environment = outside_environment() | {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
    environment.pop("PYTHONPATH")
    return subprocess.run(  # noqa: S603 - our own programs
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel; the libraries are this environment's, hitless is not."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in sorted({name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.so", "runs"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    built = run(folder, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("hitless-*.whl")
    run(folder, sys.executable, "-m", "venv", "--without-pip", "environment").check_returncode()
    (packages,) = folder.glob("environment/lib/python3*/site-packages")
    # A path in a .pth file does not bring the .pth files of that path: the editable install of this checkout stays out.
    (packages / "libraries.pth").write_text(f"{site.getsitepackages()[0]}\n", encoding="utf-8")
    shutil.rmtree(source)
    python = folder / "environment" / "bin" / "python"
    installed = run(folder, *pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return python.parent


def test_nothing_comes_from_the_checkout(programs: Path, tmp_path: Path) -> None:
    found = run(tmp_path, str(programs / "python"), "-c", "import hitless, reports; print(hitless.__file__, reports.__file__)")
    assert all(path.startswith(str(programs.parent)) for path in found.stdout.split()), found.stdout + found.stderr


def test_a_comparison_runs_and_its_records_are_in_the_users_state_folder(programs: Path, tmp_path: Path) -> None:
    done = run(tmp_path, str(programs / "hitless"), "compare", "--trials", "1", "--rate", "50")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "state" / "hitless" / "runs" / "latest"
    assert {"summary.json", "report.md", "verdict.json"} <= {path.name for path in folder.iterdir()}
    decided = run(tmp_path, str(programs / "hitless"), "gate", str(folder), str(folder))
    assert decided.returncode == 20, decided.stdout + decided.stderr
    assert "1 trial in common, at least 2 are needed" in decided.stdout

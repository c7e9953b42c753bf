"""Code that the commands and conftest.py share: place of the records, output formats, exit codes."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum, unique
from itertools import count
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from hitless.errors import UsageError
from scenarios.mesh import COVERING_TIMES, COVERING_TIMES_MAX, FULL_MESH, Mesh

LATEST: Final = "latest"
"""Link beside the records to the newest of them."""
RUNS_HELP: Final = "reports/runs in a checkout of hitless, else the user's state folder"


def default_runs() -> Path:
    """Return the folder of the records: one sub-folder a comparison or suite session, and the link `latest`.

    Never the folder of an installed package: it may be read-only, and an update removes it.
    """
    here = Path.cwd()
    try:
        is_checkout = '\nname = "hitless"\n' in (here / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        is_checkout = False
    return here / "reports" / "runs" if is_checkout else user_state_path("hitless", appauthor=False) / "runs"


@unique
class BackendName(StrEnum):
    """What `--backend` may say."""

    LAB = "lab"
    KIND = "kind"
    KUBECONFIG = "kubeconfig"
    """A cluster that hitless only watches."""


AUTO: Final = "auto"
"""What `--rate` may say instead of a number."""
DOUBLE: Final = "double"
"""What `--extension`, `--resource-manager` and `--route-controller` say where the part is no program."""


def read_rate(text: str) -> float:
    """Return the rate that `--rate` gives, probes per second per flow. Raises UsageError."""
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(where="--rate", found=repr(text), expected=f"a number, or {AUTO}") from error


def read_mesh(text: str | None) -> Mesh | None:
    """Return the mesh that `--mesh` names; None: none was given. Raises UsageError."""
    name, _, times = (text or "").partition(":")
    if text is None:
        return None
    if text == "full":
        return FULL_MESH
    if text == "covering":
        return Mesh(times=COVERING_TIMES)
    if name != "covering" or not (times.isascii() and times.isdigit() and 1 <= int(times) <= COVERING_TIMES_MAX):
        allowed = f"full, covering, or covering:N with N from 1 to {COVERING_TIMES_MAX}"
        raise UsageError(where="--mesh", found=repr(text), expected=allowed)
    return Mesh(times=int(times))


MESH_HELP: Final = (
    f"Pairs of nodes to probe: full, or covering:N, each node from N ({COVERING_TIMES}) nodes of each zone, for large clusters."
)

TRIALS_MAX: Final = 100
"""Runs of each arm: more would take days."""


@unique
class Format(StrEnum):
    """Format of a command's standard output."""

    TEXT = "text"
    JSON = "json"


@unique
class GateFormat(StrEnum):
    """What `hitless gate` prints."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    ANNOTATIONS = "annotations"
    """Workflow commands of GitHub Actions."""


class Outcome(Exception):  # noqa: N818 - not an error
    """How a command ended. Not typer.Exit: typer gives exit code 1 to a closed pipe too, which must not look like FAIL."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a file whose folder is missing, before anything runs. Raises UsageError."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(where=option, found=str(path), expected="a file in a folder that exists")


def make_folder(output: Path) -> None:
    """Make the folder of the records, where it is missing. Raises UsageError: nothing can be written there."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refuse(output, error) from error
    link = output / LATEST
    if link.exists() and not link.is_symlink():
        raise UsageError(
            f"{link} is not a symbolic link, so it cannot point to the newest records; move it away or use another --output"
        )


def make_run_directory(output: Path, name: str) -> Path:
    """Make a new folder `<time>-<name>` and point `latest` beside it to it.

    Raises:
        UsageError: nothing can be written there.
    """
    make_folder(output)
    directory = make_fresh_directory(output, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}")
    link = output / LATEST
    # A file system without links does not get this one.
    with suppress(OSError):
        link.unlink(missing_ok=True)
        link.symlink_to(directory.name)
    return directory


def make_fresh_directory(parent: Path, name: str) -> Path:
    """Make a folder that was not there before; where the name is taken it gets a number. Raises UsageError."""
    try:
        for number in count(1):
            directory = parent / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                directory.mkdir()
                break
    except OSError as error:
        raise _refuse(parent, error) from error
    return directory


def _refuse(output: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write records to {output} ({error.strerror or error}); use --output with another folder")

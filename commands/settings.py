"""What the commands and conftest.py share: where records go, what can be printed, how a command ends."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum, unique
from itertools import count
from pathlib import Path
from typing import Final

from hitless.errors import UsageError

RUNS: Final = Path(__file__).resolve().parent.parent / "reports" / "runs"
"""Folder of the records: one sub-folder a comparison or suite session, and the link `latest`."""


@unique
class Format(StrEnum):
    """What a command prints on standard output."""

    TEXT = "text"
    JSON = "json"


class Outcome(Exception):  # noqa: N818 - not an error
    """How a command ended. Not typer.Exit: typer gives exit code 1 to a closed pipe too, which must not look like FAIL."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def make_folder(output: Path) -> None:
    """Make the folder of the records, where it is not there. Raises UsageError: it cannot be made."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refuse(output, error) from error


def make_run_directory(output: Path, name: str) -> Path:
    """Make a new folder `<time>-<name>` and point `latest` beside it to it; a second one in the same second gets a number.

    Raises:
        UsageError: nothing can be written there.
    """
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    make_folder(output)
    directory = make_fresh_directory(output, stem)
    link = output / "latest"
    # A file system without links goes without this one.
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
    return UsageError(where=str(output), found=error.strerror or str(error), allowed="a folder to write to")

"""Identity of a program file: digest, stated version, commit in its build information."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from hitless.errors import MissingCapabilityError
from hitless.facts import Part, PartIdentity

_MODULE: Final = re.compile(rb"path\t\S+\nmod\t\S+\t(\S*)\t")
_COMMIT: Final = re.compile(rb"\nbuild\tvcs\.revision=(\w+)(?:\nbuild\tvcs\.time=\S+)?(\nbuild\tvcs\.modified=true)?")
"""Module information is text in a Go program's file. Source: Go src/runtime/debug/mod.go, since Go 1.18."""
_VERSION: Final = re.compile(r"\bv?\d+\.\d+\.\d+[-+.\w$:%]*")
_VERSION_S: Final = 20.0


def check_program(option: str, path: Path) -> None:
    """Refuse a file that cannot be started, the value of an option such as `--extension`.

    Raises:
        MissingCapabilityError: there is no such file, or it may not be executed.
    """
    if not path.is_file():
        raise MissingCapabilityError(f"{option} {path}: no such file; give the path of the program")
    if not os.access(path, os.X_OK):
        raise MissingCapabilityError(f"{option} {path}: not executable; run `chmod +x {path}`")


@cache
def identify(part: Part, path: Path) -> PartIdentity:
    """Return the identity of the program at `path`, which is read and asked for its version once per process."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    built, commit = _read_build_information(path)
    version = _ask_version(path) or built
    return PartIdentity(
        name=part, is_double=False, version=version, digest=f"sha256:{digest}", path=str(path.resolve()), commit=commit
    )


def _ask_version(path: Path) -> str:
    """Return what `PROGRAM --version` states; empty: nothing that looks like a version.

    A program without the option states its version in the first line of its log, if anywhere.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user named
            [str(path.resolve()), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if done.returncode == 0:
        stated = _VERSION.search(done.stdout)
        return stated[0] if stated else ""
    for line in (done.stdout + done.stderr).splitlines():
        try:
            stated_in_log = json.loads(line).get("version")
        except (ValueError, AttributeError):
            continue
        if stated_in_log:
            return str(stated_in_log)
    return ""


def _read_build_information(path: Path) -> tuple[str, str | None]:
    """Return version and commit, as `go version -m` prints them of the program itself; empty and None: no Go program."""
    if not path.stat().st_size:
        return "", None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        module = _MODULE.search(content)
        if module is None:
            return "", None
        version, commit = module[1].decode(errors="replace"), _COMMIT.search(content, module.end())
        if commit is None:
            return version, None
        return version, commit[1].decode() + (" and uncommitted changes" if commit[2] else "")

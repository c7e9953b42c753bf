"""Identity of a program file: digest, stated version, commit in its build information."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from hitless.errors import MissingCapabilityError
from hitless.facts import Part, PartIdentity

_MAGIC: Final = b"\xff Go buildinf:"
_ALIGNMENT: Final = 16
_HEADER_OCTETS: Final = 32
_HAS_STRINGS_INLINE: Final = 2
_SENTINEL_OCTETS: Final = 16
"""Around the module information. Source: Go src/debug/buildinfo/buildinfo.go, since Go 1.18."""
_VERSION: Final = re.compile(r"\bv?\d+\.\d+\.\d+[-+.\w$:%]*")
_VERSION_S: Final = 20.0


def check_program(option: str, path: Path) -> None:
    """Refuse a file that cannot be started.

    Args:
        option: what the user wrote, such as `--extension`.
        path: the value of the option.

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
    information = _read_build_information(path)
    version = _ask_version(path) or information.get("mod", "")
    commit = information.get("vcs.revision")
    if commit and information.get("vcs.modified") == "true":
        commit += " and uncommitted changes"
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


def _read_build_information(path: Path) -> dict[str, str]:
    """Return what `go version -m` prints of the program itself: `mod` (its version), `vcs.revision`; empty: no Go program."""
    if path.stat().st_size < _HEADER_OCTETS:
        return {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for text in _find_module_texts(content):
            found: dict[str, str] = {}
            for line in text.splitlines():
                name, *values = line.split("\t")
                if name == "mod" and len(values) > 1:
                    found["mod"] = values[1]
                elif name == "build" and values:
                    key, _, value = values[0].partition("=")
                    found[key] = value
            if found:
                return found
    return {}


def _find_module_texts(content: mmap.mmap) -> Iterator[str]:
    at = content.find(_MAGIC)
    while at >= 0:
        if at % _ALIGNMENT == 0 and content[at + len(_MAGIC) + 1] & _HAS_STRINGS_INLINE:
            _, next_at = _read_text(content, at + _HEADER_OCTETS)
            text, _ = _read_text(content, next_at)
            yield text[_SENTINEL_OCTETS:-_SENTINEL_OCTETS].decode(errors="replace")
        at = content.find(_MAGIC, at + 1)


def _read_text(content: mmap.mmap, at: int) -> tuple[bytes, int]:
    """Return a text after its length (an unsigned varint), and the place after it."""
    length = shift = 0
    while at < len(content):
        octet = content[at]
        at += 1
        length |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:  # noqa: PLR2004 - the last octet of a varint
            break
    return content[at : at + length], at + length

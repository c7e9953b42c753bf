"""`hitless bundle`: a stored run or comparison as one file for a bug report, with or without the names of the cluster."""

from __future__ import annotations

import json
import re
import secrets
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from commands.anonymous import Pseudonyms
from commands.compare import find_runs
from hitless.errors import BugError, RecordDamagedError, UsageError, attempting
from hitless.parquet import read_rows, write_rows
from hitless.records import CONNECTION_ROW, OVERFLOW_ROW, REFLECTOR_ROW
from hitless.store import read_cluster
from hitless.words import JsonObject

KEY_OCTETS: Final = 32
_DOCUMENTS: Final = ("run.json", "cluster.json", "agents.json", "final.json", "load.json", "verdict.json")
_WITH_ADDRESSES: Final = {"reflector": REFLECTOR_ROW, "connections": CONNECTION_ROW, "overflows": OVERFLOW_ROW}
_AS_THEY_ARE: Final = ("sender.parquet", "skipped.parquet", "clocks.parquet", "load.parquet")
"""Numbers of flows, and times."""


def bundle(path: Path, output: Path | None, *, is_anonymous: bool) -> Path:
    """Pack the folder of a comparison or of one run, by default into `<folder>.tar.gz` here; return the file.

    An anonymous bundle lacks the reports, and names of nodes, zones and endpoints and addresses are replaced.

    Raises:
        UsageError: there is no stored run, or the file is there already.
        RecordDamagedError: the cluster of a run cannot be read, so that nothing can be made anonymous.
        WorldError: the file cannot be written.
    """
    folders = find_runs(path)
    target = Path(f"{path.resolve().name}{'-anonymous' if is_anonymous else ''}.tar.gz") if output is None else output
    if target.exists():
        raise UsageError(f"{target} exists; name a new file", where="--output")
    with attempting(f"write {target}"), tempfile.TemporaryDirectory() as name:
        source = path
        if is_anonymous:
            source = Path(name) / "run"
            _copy_anonymously(path, folders, source)
        with tarfile.open(target, "x:gz") as archive:
            archive.add(source, arcname=target.name.removesuffix(".tar.gz"), filter=_without_owner)
    return target


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _copy_anonymously(path: Path, folders: tuple[Path, ...], target: Path) -> None:
    """Copy the records; one key for all runs, so that a node has the same addresses in each."""
    key, pseudonyms = secrets.token_bytes(KEY_OCTETS), None
    for folder in folders:
        read_cluster(folder)  # refuses what is damaged
        pseudonyms = Pseudonyms(json.loads((folder / "cluster.json").read_bytes()), key)
        inner = target if folder == path else target / folder.name
        inner.mkdir(parents=True)
        left_out = sorted({one.name for one in folder.iterdir()} - set(_copy_run(folder, inner, pseudonyms)))
        if left_out:
            sys.stderr.write(f"hitless: {folder}: left out: {', '.join(left_out)}\n")
        _check(inner, pseudonyms)
    if folders != (path,) and pseudonyms is not None and (path / "verdict.json").exists():
        _write(target / "verdict.json", pseudonyms.replace_in(json.loads((path / "verdict.json").read_bytes())))


def _copy_run(folder: Path, target: Path, pseudonyms: Pseudonyms) -> Iterator[str]:
    """Copy one run's records and yield their names; what cannot be read is not copied."""
    for name in _DOCUMENTS:
        if (folder / name).exists():
            try:
                document = json.loads((folder / name).read_bytes())
            except ValueError:
                continue
            _write(target / name, pseudonyms.replace_in(document))
            yield name
    lines = (folder / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    (target / "events.jsonl").write_text("".join(_replace_lines(lines, pseudonyms)), encoding="utf-8")
    yield "events.jsonl"
    for table, dtype in _WITH_ADDRESSES.items():
        try:
            rows = read_rows(folder / f"{table}.parquet", dtype)
        except RecordDamagedError:
            continue
        write_rows(target / f"{table}.parquet", pseudonyms.replace_addresses(rows))
        yield f"{table}.parquet"
    for name in _AS_THEY_ARE:
        if (folder / name).exists():
            (target / name).write_bytes((folder / name).read_bytes())
            yield name


def _replace_lines(lines: list[str], pseudonyms: Pseudonyms) -> Iterator[str]:
    for line in lines:
        try:
            document: JsonObject = json.loads(line)
        except ValueError:
            return  # the run was cut here
        yield json.dumps(pseudonyms.replace_in(document)) + "\n"


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _check(folder: Path, pseudonyms: Pseudonyms) -> None:
    """Raise BugError if a file still has a name: no bundle is better than one that identifies a cluster.

    Kubernetes names have no underscore, so `is_outside` is a key and not the name `outside`.
    """
    names = [
        re.compile(rb"(?<![A-Za-z0-9_])" + re.escape(name.encode()) + rb"(?![A-Za-z0-9_])") for name in pseudonyms.originals
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        for pattern in names:
            found = pattern.search(content)
            if found is not None:
                raise BugError(f"{path.name}: the bundle would still contain the name {found[0].decode()}")

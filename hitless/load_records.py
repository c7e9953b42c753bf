"""Files of the application load: what its processes leave below one directory, and reading it again.

| file | by | what |
|---|---|---|
| `spec.json` | the harness, before anything runs | the LoadSpec |
| `NAME.requests` | each worker | a header line padded to 4,096 octets, then REQUEST_ROWs, one `write` a request |
| `NAME.json` | each process at its end | its AgentReport: a process without one was killed |

A request is written when it ends, so of a killed worker those that were under way are missing, one a user at most. Standard
library and numpy only: workers write with this.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from hitless.errors import RecordDamagedError, WorldError
from hitless.load import REQUEST_ROW, LoadRecords, LoadSpec
from hitless.records import HEADER_OCTETS, AgentReport, Rows
from hitless.words import Nanoseconds

SCHEMA: Final = "hitless.load/1"
SPEC_FILE: Final = "spec.json"
SUFFIX: Final = ".requests"


class RequestFile:
    """The record of one worker.

    Args:
        path: the file; it is made.
        facts: JSON values for its header.

    Raises:
        WorldError: the file cannot be made.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path = path
        line = json.dumps({"schema": SCHEMA, "row_octets": REQUEST_ROW.itemsize, **facts}, sort_keys=True).encode()
        if len(line) >= HEADER_OCTETS:
            message = f"the header of a record file takes {len(line)} octets, more than the {HEADER_OCTETS - 1} that fit"
            raise ValueError(message)
        try:
            self._file = path.open("xb", buffering=0)
            self._file.write(line.ljust(HEADER_OCTETS - 1) + b"\n")
        except OSError as error:
            message = f"cannot make the record file {path}: {error.strerror}"
            raise WorldError(message) from error

    def append(self, rows: Rows) -> None:
        """Write rows of REQUEST_ROW. Raises WorldError: the disk does not take them."""
        content = rows.tobytes()
        try:
            written = self._file.write(content)
        except OSError as error:
            message = f"cannot write to the record file {self._path}: {error.strerror}"
            raise WorldError(message) from error
        if written != len(content):
            message = f"cannot write to the record file {self._path}: {os.strerror(errno.ENOSPC)}"
            raise WorldError(message)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()


def write_spec(directory: Path, spec: LoadSpec) -> None:
    """Write down what is asked of the load. Raises WorldError."""
    path = directory / SPEC_FILE
    try:
        path.write_text(json.dumps(asdict(spec), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise WorldError(message) from error


def read_load(directory: Path) -> LoadRecords:
    """Read what the processes of a load wrote below a directory, of those that ended well and of killed ones.

    Raises:
        RecordDamagedError: a file is there and cannot be read, or the settings of the load were not stored.
    """
    spec = _read_spec(directory / SPEC_FILE)
    tables = [read_requests(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    rows = np.concatenate([np.zeros(0, REQUEST_ROW), *tables])
    names = {path.stem for path in directory.glob(f"*{SUFFIX}")} | {
        path.name.removesuffix(".settings.json") for path in directory.glob("*.settings.json")
    }
    return LoadRecords(
        spec=spec,
        rows=rows[np.argsort(rows["began"], kind="stable")],
        reports=tuple(_read_report(directory, name) for name in sorted(names)),
    )


def read_requests(path: Path) -> Rows:
    """Read one worker's file; a last row that was cut off is left out. Raises RecordDamagedError."""
    try:
        content = path.read_bytes()
        header: dict[str, Any] = json.loads(content[:HEADER_OCTETS])
        found = (header["schema"], header["row_octets"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: not a record of requests: {error}"
        raise RecordDamagedError(message) from error
    if found != (SCHEMA, REQUEST_ROW.itemsize):
        message = (
            f"{path}: found schema {found[0]} with rows of {found[1]} octets; expected {SCHEMA} with {REQUEST_ROW.itemsize}"
        )
        raise RecordDamagedError(message)
    count = (len(content) - HEADER_OCTETS) // REQUEST_ROW.itemsize
    return np.frombuffer(content, dtype=REQUEST_ROW, offset=HEADER_OCTETS, count=count)


def _read_spec(path: Path) -> LoadSpec:
    try:
        document = json.loads(path.read_bytes())
        return LoadSpec(
            clients=tuple(document["clients"]),
            servers=tuple(document["servers"]),
            users=document["users"],
            interval_ns=Nanoseconds(document["interval_ns"]),
            body_octets=document["body_octets"],
            timeout_ns=Nanoseconds(document["timeout_ns"]),
            duration_ns_max=Nanoseconds(document["duration_ns_max"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: not the settings of a load: {error}"
        raise RecordDamagedError(message) from error


def _read_report(directory: Path, name: str) -> AgentReport:
    path = directory / f"{name}.json"
    if not path.exists():
        return AgentReport(agent=name, counters={}, finished=False)
    try:
        document = json.loads(path.read_bytes())
        return AgentReport(agent=document["agent"], counters=document["counters"], finished=document["finished"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: not a report: {error}"
        raise RecordDamagedError(message) from error

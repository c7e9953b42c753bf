"""Files of the application load: what its processes write below one directory, and their reader.

| file | by | what |
|---|---|---|
| `spec.json` | the harness, before anything runs | the LoadSpec |
| `NAME.requests` | each worker | a record file of REQUEST_ROWs, one `write` a request |
| `NAME.json` | each process at its end | its AgentReport: a process without one was killed |

A request is written when it ends. If a worker was killed, its unfinished requests are missing, at most one per user.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hitless.agents import read_report
from hitless.errors import RecordDamagedError, WorldError
from hitless.load import LoadRecords, LoadSpec
from hitless.records import REQUEST_ROW, read_record

SPEC_FILE: Final = "spec.json"
_SUFFIXES: Final = (".requests", ".settings.json")


def write_spec(directory: Path, spec: LoadSpec) -> None:
    """Write the settings of the load. Raises WorldError."""
    path = directory / SPEC_FILE
    try:
        path.write_text(json.dumps(asdict(spec), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror}") from error


def read_load(directory: Path) -> LoadRecords:
    """Read what the processes of a load wrote below a directory, also killed ones.

    Raises RecordDamagedError: a file is there and cannot be read, or the settings of the load were not stored.
    """
    spec = _read_spec(directory / SPEC_FILE)
    tables = [read_record(path)[1] for path in sorted(directory.glob("*.requests"))]
    rows = np.concatenate([np.zeros(0, REQUEST_ROW), *tables])
    names = {path.name.removesuffix(suffix) for suffix in _SUFFIXES for path in directory.glob(f"*{suffix}")}
    return LoadRecords(
        spec=spec,
        rows=rows[np.argsort(rows["began"], kind="stable")],
        reports=tuple(read_report(directory, name) for name in sorted(names)),
    )


def _read_spec(path: Path) -> LoadSpec:
    try:
        return TypeAdapter(LoadSpec).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RecordDamagedError(f"{path}: not the settings of a load: {error}") from error

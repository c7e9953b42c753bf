"""The files of a history: one Parquet file per summary, so that any tool can read the folder as one data set.

A file bears the hash of its summary: what is added twice is there once, and two sessions can add at the same time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from commands.gate import find_summaries, read_content
from hitless.errors import UsageError, attempting
from hitless.words import JsonObject
from reports.gate.sides import parse_summary
from reports.trend import SCHEMA, Row, make_rows, name_release

_HASH_DIGITS: Final = 32
_KEY: Final = b"schema"
_TYPES: Final = {
    "datetime": pa.timestamp("us", tz="UTC"),
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "float | None": pa.float64(),
    "tuple[str, ...]": pa.list_(pa.string()),
}
_COLUMNS: Final = pa.schema(
    [pa.field(name, _TYPES[str(kind)]) for name, kind in Row.__annotations__.items()], metadata={_KEY: SCHEMA.encode()}
)


def add_summaries(history: Path, paths: Sequence[Path], release: str | None) -> tuple[int, int]:
    """Add summaries to a history, which is made if it is not there.

    Returns:
        How many were added, and how many were there already.

    Raises:
        UsageError: a summary cannot be read, or does not know its version; nothing was added.
        WorldError: the history cannot be written to.
    """
    # A session of suites is there with a summary an arm; the same arm of another session has another hash.
    files = dict.fromkeys(file for path in paths for file in find_summaries(path))
    tables = [_read_summary(file, release) for file in files]
    new = {history / name: table for name, table in tables if not (history / name).exists()}
    with attempting(f"write to the history {history}"):
        history.mkdir(parents=True, exist_ok=True)
        for path, table in new.items():
            part = path.with_suffix(".part")
            pq.write_table(table, part)
            os.replace(part, path)  # noqa: PTH105 - the same call with a clearer name
    return len(new), len(tables) - len(new)


def _read_summary(path: Path, release: str | None) -> tuple[str, pa.Table]:
    """Return the name and the content of a summary's file."""
    content, written_s = read_content(path), path.stat().st_mtime
    stored = parse_summary(content, str(path))
    version = release or name_release(stored.summary.parts)
    if version is None:
        raise UsageError(f"{path} does not state the version of the extension; give --release")
    allowances = tuple(_find_allowances(path, stored.summary.scenario))
    rows = make_rows(stored, version, datetime.fromtimestamp(written_s, UTC), allowances)
    name = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS] + ".parquet"
    return name, pa.Table.from_pylist([asdict(row) for row in rows], schema=_COLUMNS)


def _find_allowances(path: Path, scenario: str) -> Iterator[str]:
    """Yield the allowances that a decision stored beside a summary, or beside its folder, used for a scenario."""
    for place in (path.parent / "gate.json", path.parent.parent / "gate.json"):
        if not place.is_file():
            continue
        try:
            findings: list[JsonObject] = json.loads(place.read_bytes())["findings"]
            used = [one for one in findings if one["scenario"] == scenario and one["allowance"] is not None]
            for one in used:
                said = one["allowance"]
                yield f"{one['rule']} until {said['expires']} by {said['owner']}: {said['reason']}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(where=str(place), found=repr(error), expected="a decision of schema hitless.gate/1") from error
        return


def read_rows(history: Path) -> tuple[Row, ...]:
    """Return all rows, oldest first.

    Raises:
        UsageError: there is no history, or a file of another kind or version.
    """
    files = sorted(history.glob("*.parquet")) if history.is_dir() else []
    if not files:
        raise UsageError("no history here; create one with `hitless history add`", where=str(history))
    rows = [row for path in files for row in _read_file(path)]
    return tuple(sorted(rows, key=lambda row: row.recorded_at))


def _read_file(path: Path) -> Iterator[Row]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(where=str(path), found=str(error), expected="a Parquet file of a history") from error
    schema = (table.schema.metadata or {}).get(_KEY, b"no schema").decode(errors="replace")
    if schema != SCHEMA or not table.schema.equals(_COLUMNS):
        raise UsageError(where=str(path), found=schema, expected=f"{SCHEMA}, the schema that this version reads")
    for one in table.to_pylist():
        yield Row(**{**one, "allowances": tuple(one["allowances"])})


def list_contents(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """Return a line for each release, scenario and arm: trials, those with loss, and the verdicts."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.release, row.scenario, row.arm), []).append(row)
    lines = []
    for key, found in groups.items():
        verdicts = Counter(row.verdict for row in found)
        counts = (
            len(found),
            sum(row.lost > 0 for row in found),
            *(verdicts[name] for name in ("PASS", "FAIL", "INCONCLUSIVE")),
        )
        lines.append((*key, *(f"{count:,}" for count in counts)))
    return lines

"""Probe records as Parquet: a column for each field of a row; an address is 16 octets.

Only this module and commands.history_files import pyarrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hitless.errors import RecordDamagedError
from hitless.records import ADDRESS, CLOCK_ROW, Rows, map_ipv4


def write_clocks(path: Path, clocks: Mapping[str, Rows]) -> None:
    """Write the clocks of all agents as one table with a column `agent`. Raises OSError."""
    table = pa.concat_tables(
        [_table(rows).append_column("agent", pa.array([agent] * rows.size)) for agent, rows in clocks.items()]
        or [_table(np.empty(0, CLOCK_ROW)).append_column("agent", pa.array([], pa.string()))]
    )
    pq.write_table(table, path, compression="zstd")


def read_clocks(path: Path) -> dict[str, Rows]:
    """Read the clocks of all agents. Raises RecordDamagedError."""
    table = _read_table(path)
    if "agent" not in table.column_names:
        raise RecordDamagedError(f"{path}: column 'agent' is missing")
    agents = np.array(table["agent"].to_pylist(), dtype=object)
    clocks = read_rows(path, CLOCK_ROW)
    return {agent: clocks[agents == agent] for agent in dict.fromkeys(agents.tolist())}


def _table(rows: Rows) -> pa.Table:
    return pa.table({name: _encode_column(rows[name]) for name in rows.dtype.names or ()})


def _encode_column(values: Rows) -> Any:  # noqa: ANN401 - any value that pyarrow accepts
    values = np.ascontiguousarray(values)
    if values.dtype == ADDRESS:
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(ADDRESS.itemsize), len(values), [None, pa.py_buffer(values)])
    return values


def _decode_column(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> Rows:
    if dtype != ADDRESS:
        return np.asarray(column.to_numpy())
    if pa.types.is_integer(column.type):  # version 1
        return map_ipv4(column.to_numpy())
    if column.type != pa.binary(ADDRESS.itemsize) or column.null_count:
        raise ValueError(f"an address is {ADDRESS.itemsize} octets, not {column.type}")
    chunks = [
        np.frombuffer(chunk.buffers()[1], dtype=ADDRESS, count=len(chunk), offset=chunk.offset * ADDRESS.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, ADDRESS)


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as a table of their dtype's fields. Raises OSError."""
    pq.write_table(_table(rows), path, compression="zstd")


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RecordDamagedError(f"{path}: {error}") from error


def read_rows(path: Path, dtype: np.dtype[Any], names: Mapping[str, str] | None = None) -> Rows:
    """Read rows of a dtype; `names` has today's names of columns that had others. Raises RecordDamagedError."""
    stored = {now: then for then, now in (names or {}).items()}
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise RecordDamagedError(f"{path}: {error}") from error
    rows = np.empty(file.metadata.num_rows, dtype)
    try:
        # Column by column: beside the rows of a large mesh its whole table would take as much memory again.
        with file:
            present = set(file.schema_arrow.names)
            for name in dtype.names or ():
                then = stored.get(name, name) if stored.get(name, name) in present else name
                rows[name] = _decode_column(file.read(columns=[then])[then], dtype[name])
    except KeyError as error:
        raise RecordDamagedError(f"{path}: column {error} is missing") from error
    except (OSError, ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise RecordDamagedError(f"{path}: a column does not hold numbers: {error}") from error
    return rows

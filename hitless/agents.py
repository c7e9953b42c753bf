"""Reader of the record files and reports of probe agents, also of killed agents.

Standard library and numpy only, as hitless.records: a pod's supervisor trims files, too.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from hitless.errors import RecordDamagedError
from hitless.records import TABLES, AgentReport, ProbeRecords, Rows, read_record

_HOLE_OCTETS: Final = 1 << 40
"""Larger than any record file: no limit."""


def read_agents(directory: Path, agents: Sequence[str]) -> ProbeRecords:
    """Read and sort the records of some agents below a directory.

    Raises RecordDamagedError: a file is there and cannot be read.
    """
    rows = {table: [np.zeros(0, dtype=dtype)] for table, dtype in TABLES.items()}
    clocks: dict[str, Rows] = {}
    for agent in agents:
        for table in TABLES:
            path = directory / f"{agent}.{table}"
            if not path.exists():
                continue
            if table == "sender":
                # Without the right to write, reading takes longer with the same result.
                with suppress(PermissionError):
                    trim(path)
            _, content = read_record(path)
            rows[table].append(content)
            if table == "clock":
                clocks[agent] = content
    whole = {table: np.concatenate(parts) for table, parts in rows.items()}
    sender, reflector, skipped, connections = (whole[table] for table in ("sender", "reflector", "skipped", "connection"))
    return ProbeRecords(
        sender=sender[np.lexsort((sender["seq"], sender["flow"]))],
        reflector=reflector[np.lexsort((reflector["received"], reflector["flow"]))],
        skipped=skipped[np.argsort(skipped["due"], kind="stable")],
        clocks=clocks,
        reports=tuple(read_report(directory, agent) for agent in agents),
        connections=connections[np.lexsort((connections["at"], connections["flow"]))],
        overflows=whole["overflow"],
    )


def read_report(directory: Path, agent: str) -> AgentReport:
    """Read an agent's final report; if there is none, the agent did not finish. Raises RecordDamagedError."""
    path = directory / f"{agent}.json"
    if not path.exists():
        return AgentReport(agent=agent, counters={}, finished=False)
    try:
        return AgentReport(**json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordDamagedError(f"{path}: not an agent's report: {error}") from error


def trim(path: Path) -> None:
    """Truncate the hole at the end of a sparse record file: a killed agent leaves a file for its longest possible run.

    A file system that does not report holes leaves the file as it is, which is only slower to read.
    """
    with path.open("r+b") as file:
        descriptor, end = file.fileno(), 0
        try:
            while end < _HOLE_OCTETS:
                start = os.lseek(descriptor, end, os.SEEK_DATA)
                end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: no data behind `end`
                return
        if end:
            os.truncate(descriptor, end)


def find_agents(directory: Path) -> tuple[str, ...]:
    """Return the names of the agents that left a record file in a directory, in order."""
    return tuple(sorted({path.stem for table in TABLES for path in directory.glob(f"*.{table}")}))

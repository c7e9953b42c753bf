"""Record files as an agent writes them: every row is in a shared file mapping as soon as it is known.

What the agent wrote survives `kill -9`: the sender's table is a shared mapping of a sparse file, in which every probe has its
place from the start; the other tables only grow, by one `write` a batch. `hitless.records` says what the rows are.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hitless.errors import WorldError, attempting
from hitless.records import HEADER_OCTETS, NONE_NS, SENDER_ROW, TABLES, Rows, encode_header

UNANSWERED: Final = 0xFFFF_FFFF
"""reflector_seq of a probe that was logged but not answered because of the rate limit."""


def make_row(flow: int, seq: int, began_ns: int, ended_ns: int, send_errno: int = 0) -> tuple[int, ...]:
    """Return the SENDER_ROW of a probe that was sent, or refused, and is not answered yet."""
    return flow, seq, began_ns, ended_ns, NONE_NS, NONE_NS, NONE_NS, 0, 0, 0, 0, 0, send_errno, 0, 0


class SenderTable:
    """The sender's rows: one per flow and tick, at place seq * flows + flow index, filled in place when the answer comes."""

    def __init__(self, path: Path, count: int, ticks_max: int, facts: Mapping[str, Any]) -> None:
        self._path = path
        self._count = count
        with attempting(f"create the record file {path}"), path.open("wb") as file:
            file.write(encode_header("sender", facts))
            file.truncate(HEADER_OCTETS + ticks_max * self._count * SENDER_ROW.itemsize)
        self.ticks: npt.NDArray[np.void] = np.memmap(
            path, dtype=SENDER_ROW, mode="r+", offset=HEADER_OCTETS, shape=(ticks_max, self._count)
        ).view(np.ndarray)
        """Shape (ticks_max, flows): SENDER_ROW."""
        self.rows: Rows = self.ticks.reshape(-1)
        """The same, flat: the place of a probe is seq * flows + flow index."""

    def finish(self, ticks: int) -> None:
        """Cut the file behind the last tick sent."""
        os.truncate(self._path, HEADER_OCTETS + ticks * self._count * SENDER_ROW.itemsize)


class GrowingTable:
    """A table of `hitless.records.TABLES` whose rows come in order. Raises WorldError: the file cannot be made."""

    def __init__(self, path: Path, table: str, facts: Mapping[str, Any]) -> None:
        self._path = path
        self._dtype = TABLES[table]
        with attempting(f"create the record file {path}"):
            self._file = path.open("wb", buffering=0)
            self._file.write(encode_header(table, facts))

    def append(self, rows: Rows) -> None:
        """Write rows of the table's dtype. Raises WorldError: they cannot be written."""
        if rows.dtype != self._dtype:
            raise TypeError(f"rows of {rows.dtype} in a table of {self._dtype}")
        self.write(rows.tobytes())

    def write(self, content: bytes) -> None:
        """Write whole rows as octets. Raises WorldError: they cannot be written."""
        try:
            written = self._file.write(content)
        except OSError as error:
            raise WorldError(f"cannot write to the record file {self._path}: {error.strerror}") from error
        if written != len(content):
            raise WorldError(f"cannot write to the record file {self._path}: {os.strerror(errno.ENOSPC)}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_report(directory: Path, agent: str, counters: Mapping[str, int], **facts: str) -> None:
    """Write AGENT.json at once or not at all: it says that the agent finished, what it counted, and facts about it."""
    draft, document = directory / f"{agent}.json.draft", {"agent": agent, "counters": dict(counters), "finished": True, **facts}
    draft.write_text(json.dumps(document, sort_keys=True) + "\n")
    draft.replace(directory / f"{agent}.json")

"""`hitless follow`: a running or stored run or comparison, from its files.

It is a separate process: the harness and the probe agents do not wait for it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from commands.live import PERIOD_S, show
from hitless.errors import UsageError
from hitless.events import Event
from hitless.records import HEADER_OCTETS, SENDER_ROW, Rows
from hitless.store import read_cluster, read_header, read_history
from reports.live import SETTLE_NS, LiveRun, Look

PATIENCE_S: Final = 600.0
"""A run that writes nothing for this long was stopped: bringing a real cluster up takes minutes."""
_CHUNK: Final = 200_000
"""Rows that are looked at in one go."""


def follow(path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show what is stored at a path until it is over: a run, or the runs of a comparison one after the other.

    Args:
        path: folder of a run or of a comparison, also one that has just begun.
        sleep: waits a number of seconds.

    Raises:
        UsageError: there is no folder.
    """
    if not path.is_dir():
        what = "no folder" if path.exists() else "does not exist"
        raise UsageError(f"{what}; give the folder of a comparison or of one run", where=str(path))
    shown: set[Path] = set()
    reader: RunReader | None = None
    waited_s = 0.0
    try:
        while True:
            folder = _next_run(path, shown)
            if folder is None and shown and ((path / "run.json").exists() or (path / "verdict.json").exists()):
                return
            is_stopped = waited_s >= PATIENCE_S
            if is_stopped:
                sys.stderr.write(
                    f"hitless: {folder or path}: nothing was written for {PATIENCE_S:g} s; the run was stopped before its end\n"
                )
            if folder is not None and (is_stopped or (folder / "final.json").exists()):
                show([_look_stored(folder)], must_stay=True)
                shown.add(folder)
                reader, waited_s = None, 0.0
            elif is_stopped:
                return
            else:
                if folder is not None:
                    reader = reader or RunReader(folder)
                    waited_s = 0.0 if reader.read() else waited_s
                    show([reader.run.look()])
                sleep(PERIOD_S)
                waited_s += PERIOD_S
    finally:
        show([])  # nothing stays drawn below the cursor


def _next_run(path: Path, shown: set[Path]) -> Path | None:
    """Return the oldest run that was not shown yet; None: there is none."""
    found = [path] if (path / "run.json").exists() else [one.parent for one in path.glob("*/run.json")]
    fresh = [folder for folder in found if folder not in shown]
    return min(fresh, key=lambda folder: (folder / "run.json").stat().st_mtime_ns, default=None)


def _look_stored(folder: Path) -> Look:
    """Return the look of a run that is over. Raises RecordDamagedError: its header or its cluster cannot be read."""
    history = read_history(folder, must_be_whole=False)
    run = LiveRun(header=history.header, facts=history.facts, flows=history.flows)
    run.feed_events(history.events)
    run.feed_probes(history.records.sender)
    return run.look()


class RunReader:
    """Reads a run that lasts, on where it stopped.

    Args:
        folder: of the run, with its header.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offset = 0
        self._places: dict[Path, int] = {}
        self.run = LiveRun(header=read_header(folder))

    def read(self) -> bool:
        """Read what has come; return whether anything has."""
        if self.run.facts is None and (self._folder / "cluster.json").exists():
            self.run.facts, self.run.flows = read_cluster(self._folder)
        events = list(self._events())
        self.run.feed_events(events)
        probes = [rows for path in sorted((self._folder / "agents").glob("*.sender")) for rows in self._probes(path)]
        for rows in probes:
            self.run.feed_probes(rows)
        return bool(events or probes)

    def _events(self) -> Iterator[Event]:
        """Yield the whole lines that were added."""
        with (self._folder / "events.jsonl").open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield Event(**json.loads(line))

    def _probes(self, path: Path) -> Iterator[Rows]:
        """Yield settled probes that were not yielded before; the file is sparse, and missed ticks are holes in it."""
        try:
            count = (path.stat().st_size - HEADER_OCTETS) // SENDER_ROW.itemsize
            if count <= 0:
                return
            rows = np.memmap(path, dtype=SENDER_ROW, mode="r", offset=HEADER_OCTETS, shape=(count,))
        except (OSError, ValueError):
            return  # it was collected just now
        place = self._places.get(path, 0)
        chunk = np.array(rows[place : place + _CHUNK])
        sent = np.flatnonzero(chunk["flow"] != 0)
        if sent.size:
            newest_ns = int(chunk["send_began_ns"][sent].max())
            settled = sent[chunk["send_began_ns"][sent] < newest_ns - SETTLE_NS]
            if settled.size:
                self._places[path] = place + int(settled[-1]) + 1
                yield chunk[settled]

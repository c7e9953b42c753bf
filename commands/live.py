"""Views of runs from their files: `hitless follow`, and the live view of a comparison or a session of suites.

The harness and the probe agents neither wait for a view nor know of it: the live view is a separate process at the lowest
priority. On a terminal it draws below the cursor and leaves the cursor where it was: other programs print there without waiting
for it. Elsewhere it prints a line for each run that lasts. It ends with the process that started it, which holds the other end
of its input.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from commands.terminal import draw_looks
from hitless.errors import RecordDamagedError, UsageError
from hitless.events import Event
from hitless.records import HEADER_OCTETS, SENDER_ROW, Rows
from hitless.store import read_cluster, read_header, read_history
from reports.live import SETTLE_NS, LiveRun, Look, say_line

PERIOD_S: Final = 1.0
PLAIN_PERIOD_S: Final = 10.0
"""Between the lines where there is no terminal. Chosen here: a log of CI stays readable, and a run on kind gets several."""
SILENCE_S: Final = 60.0
"""A run that writes nothing for this long is not shown: it was stopped, or its cluster takes minutes to come up."""
PATIENCE_S: Final = 600.0
"""A run that is followed and writes nothing for this long was stopped: bringing a real cluster up takes minutes."""
_CHUNK: Final = 200_000
"""Rows that are looked at in one go."""
_NICENESS: Final = 19
ERASE: Final = "\x1b[J"
"""ED: from the cursor to the end of the screen. Source: as of `place_below`."""


class LiveView:
    """Shows the runs below a folder while they last, until it is closed.

    Args:
        folder: of the comparison or of the session.
        stream: where it is shown; a stream without a file descriptor shows nothing.
        first: what stands before the lines where there is no terminal: a line break, if someone else's line may be unfinished.
    """

    def __init__(self, folder: Path, stream: TextIO, first: str = "") -> None:
        self._stream = stream
        self._process: subprocess.Popen[bytes] | None = None
        command = [sys.executable, "-m", "commands.live", str(folder), first]
        with suppress(OSError):
            # In a session of its own: Ctrl-C is for the harness, which closes this.
            self._process = subprocess.Popen(  # noqa: S603 - this program
                command, stdin=subprocess.PIPE, stdout=stream.fileno(), stderr=subprocess.DEVNULL, start_new_session=True
            )
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    def erase(self) -> None:
        """Remove what is drawn below the cursor: call it before a line is printed there."""
        if self._process is not None and is_drawable(self._stream):
            self._stream.write(ERASE)
            self._stream.flush()

    def close(self) -> None:
        """End it, and remove what is drawn; safe to call twice."""
        if self._process is not None:
            self._process.kill()  # it has nothing to clean up, and may still be importing
            self._process.communicate()
            self.erase()
            self._process = None


def is_drawable(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that knows control sequences."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class RunReader:
    """Reads a run that lasts, on where it stopped; its folder has the header."""

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


class RunsUnderWay:
    """The runs below a folder that last: in that of a comparison, or in the arms' folders of a session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, tuple[RunReader, float]] = {}

    def looks(self, now_s: float) -> list[Look]:
        """Read what was written since the last call, and return the state of each run, given the monotonic time."""
        found = []
        for path in (*self._folder.glob("*/run.json"), *self._folder.glob("*/*/run.json")):
            folder = path.parent
            if (folder / "final.json").exists():
                self._readers.pop(folder, None)
                continue
            try:
                reader, seen_s = self._readers.get(folder) or (RunReader(folder), now_s)
                seen_s = now_s if reader.read() else seen_s
            except (OSError, RecordDamagedError):
                continue  # its folder is being removed
            self._readers[folder] = reader, seen_s
            if now_s - seen_s < SILENCE_S:
                found.append(reader.run.look())
        return sorted(found, key=lambda look: look.title)


def place_below(lines: list[str], rows: int) -> str:
    """Return what draws lines below the cursor, in one piece, and leaves the cursor where it was.

    Room is made by IND, which scrolls at the last line of the screen and keeps the column.

    Source: DEC VT100 User Guide, chapter 3 (IND, CUU, DECSC, DECRC).
    """
    shown = lines[: max(rows - 2, 0)]
    if not shown:
        return ERASE
    room = "\x1bD" * len(shown) + f"\x1b[{len(shown)}A"
    return "".join((ERASE, room, "\x1b7", *(f"\r\n{line}" for line in shown), "\x1b8"))


def show(looks: list[Look], first: str = "", *, must_stay: bool = False) -> None:
    """Show looks at runs on standard output: on a terminal below the cursor, elsewhere a line each after `first`.

    What must stay is printed on a terminal too, where later output erases the view below the cursor.
    """
    if is_drawable(sys.stdout):
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = draw_looks(looks, size.columns)
        text = ERASE + "".join(f"{line}\n" for line in lines) if must_stay else place_below(lines, size.lines)
    else:
        text = "".join(f"{say_line(look)}\n" for look in looks)
        text = f"{first}{text}" if text else ""
    sys.stdout.write(text)
    sys.stdout.flush()


def follow(path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show what is stored at a path until it is over: a run, or the runs of a comparison one after the other.

    The folder may be one that has just begun; `sleep` waits a number of seconds.

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


def main() -> None:
    """Show the runs below a folder until standard input ends."""
    folder, first = Path(sys.argv[1]), sys.argv[2]
    period_s = PERIOD_S if is_drawable(sys.stdout) else PLAIN_PERIOD_S
    runs = RunsUnderWay(folder)
    while not select.select([sys.stdin], [], [], period_s)[0]:
        show(runs.looks(time.monotonic()), first)


if __name__ == "__main__":
    main()

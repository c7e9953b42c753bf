"""Live view of a comparison or a session of suites: a separate process that reads the files of the runs.

The harness and the probe agents neither wait for it nor know of it, and it runs at the lowest priority. On a terminal it draws
below the cursor and leaves the cursor where it was: other programs print there without waiting for it. Elsewhere it prints a
line for each run that lasts. It ends with the process that started it, which holds the other end of its input.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from commands.follow import RunReader
    from reports.live import Look

PERIOD_S: Final = 1.0
PLAIN_PERIOD_S: Final = 10.0
"""Between the lines where there is no terminal. Chosen here: a log of CI stays readable, and a run on kind gets several."""
SILENCE_S: Final = 60.0
"""A run that writes nothing for this long is not shown: it was stopped, or its cluster takes minutes to come up."""
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


class RunsUnderWay:
    """The runs below a folder that last.

    Args:
        folder: of a comparison, whose runs are in it, or of a session, whose runs are in its arms' folders.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, tuple[RunReader, float]] = {}

    def looks(self, now_s: float) -> list[Look]:
        """Read what was written since the last call, and return the state of each run.

        Args:
            now_s: monotonic time.
        """
        from commands.follow import RunReader  # noqa: PLC0415 - a short session ends before it is needed
        from hitless.errors import RecordDamagedError  # noqa: PLC0415 - as above

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
    """Show looks on standard output: on a terminal below the cursor, elsewhere a line each.

    Args:
        looks: one a run.
        first: stands before the lines.
        must_stay: on a terminal: print it, instead of a view below the cursor that later output erases.
    """
    from commands.terminal import draw_looks  # noqa: PLC0415 - as above
    from reports.live import say_line  # noqa: PLC0415 - as above

    if is_drawable(sys.stdout):
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = draw_looks(looks, size.columns)
        text = ERASE + "".join(f"{line}\n" for line in lines) if must_stay else place_below(lines, size.lines)
    else:
        text = "".join(f"{say_line(look)}\n" for look in looks)
        text = f"{first}{text}" if text else ""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Show the runs below a folder until standard input ends."""
    folder, first = Path(sys.argv[1]), sys.argv[2]
    os.nice(_NICENESS)
    period_s = PERIOD_S if is_drawable(sys.stdout) else PLAIN_PERIOD_S
    runs = RunsUnderWay(folder)
    while not select.select([sys.stdin], [], [], period_s)[0]:
        show(runs.looks(time.monotonic()), first)


if __name__ == "__main__":
    main()

"""The identity of a process: its PID can be reused, the pair of PID and start time cannot."""

from __future__ import annotations

from pathlib import Path


def read_start(process: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None: there is no such process. Source: proc(5)."""
    try:
        line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may contain anything; the text after the last bracket is plain.
    return int(line.rpartition(")")[2].split()[19])

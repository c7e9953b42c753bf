"""How long ten million probes take to be judged and rendered, and how much memory: from stored files to the last report.

The records are synthetic: a cluster of 30 nodes in two zones whose 870 flows are probed for half a minute in each arm. The
measurement is `hitless judge` in its own process, as its user runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.question import Question
from bench.synthetic_runs import SyntheticRun
from bench.tables import Table
from hitless.errors import BugError
from hitless.words import MILLISECOND, Arm, JsonObject
from scenarios.mesh import FULL_MESH

PROBES: Final = 10_000_000
PROBES_QUICK: Final = 2_000_000
NODES: Final = 30
INTERVAL_NS: Final = 5 * MILLISECOND


def measure_judge(folder: Path) -> JsonObject:
    """Judge a stored comparison in its own process; return time, memory and results. Raises BugError."""
    usage = measure_process(("-m", "commands.main", "judge", str(folder)), codes={0, 1, 20})
    page, summary = folder / "report.html", folder / "summary.json"
    if not page.exists():
        raise BugError("`hitless judge` of synthetic records wrote no report")
    return usage | {
        "page_kb": page.stat().st_size // 1000,
        "summary_kb": summary.stat().st_size // 1000,
        "verdict": json.loads((folder / "verdict.json").read_bytes())["verdict"],
    }


def measure_process(arguments: Sequence[str], codes: set[int]) -> JsonObject:
    """Run Python with these arguments; return its time and its own largest resident set. Raises BugError: another exit code."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *arguments], stdout=said, stderr=said)  # noqa: S603 - fixed words and paths of our own
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            said.seek(0)
            raise BugError(f"{' '.join(arguments)} ended with {process.returncode}: {said.read().decode()[-600:]}")
    return {
        "took_s": round(time.monotonic() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "memory_mb": used.ru_maxrss // 1024,
    }


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    probes, flows = PROBES_QUICK if is_quick else PROBES, NODES * (NODES - 1)
    run = SyntheticRun(
        zones=tuple("ab"[index % 2] for index in range(NODES)),
        mesh=FULL_MESH,
        ticks=probes // len(Arm) // flows,
        interval_ns=INTERVAL_NS,
    )
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as name:
        folder = Path(name)
        for arm in Arm:
            run.store(folder / f"{arm.lower()}-1", arm)
        return {"probes": probes, "flows": flows, **measure_judge(folder)}


def _show(answer: JsonObject) -> tuple[Table, ...]:
    columns = ("probes", "flows", "took s", "CPU s", "memory MB", "page kB", "verdict")
    keys = ("probes", "flows", "took_s", "cpu_s", "memory_mb", "page_kb", "verdict")
    row = tuple(f"{answer[key]:,}" if isinstance(answer[key], int) else str(answer[key]) for key in keys)
    note = "Memory: the largest resident set of the process."
    return (Table(title="Judging and rendering stored records", columns=columns, rows=(row,), note=note),)


REPORTS: Final = Question(
    name="reports",
    text="How long do ten million probes take to be judged and rendered, and how much memory?",
    ask=_ask,
    show=_show,
)

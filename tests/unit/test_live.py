"""The live view reads files alone: it disturbs neither what is measured nor what is printed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from commands import live
from commands.live import SILENCE_S, LiveView, RunsUnderWay, is_drawable, place_below
from commands.terminal import draw_looks
from hitless.store import RunStore
from hitless.words import Arm
from probes.recording import SenderTable
from reports.live import say_line
from tests.clocks import JumpingClock
from tests.unit.comparisons import realistic

TITLE: Final = "plain-switch UNGATED trial 1"


def _start(folder: Path) -> RunStore:
    """Store an ungated run up to a moment at which it lasts."""
    known = realistic(Arm.UNGATED, 1)
    running = RunStore(folder, JumpingClock())
    running.write_header(known.header)
    running.write_cluster(known.facts, known.flows, known.counters_before)
    for event in known.events:
        running.events.record(event.name, t_ns=event.t_ns, **event.facts)
    flows = len(np.unique(known.records.sender["flow"]))
    table = SenderTable(running.agents_directory / "all.sender", flows, 500, {})
    table.ticks[:] = known.records.sender.reshape(flows, 500).T
    running.close()
    return running


@pytest.mark.parametrize("place", ["ungated-1", "plain-switch-ungated/1"])
def test_a_run_is_shown_while_it_lasts(tmp_path: Path, place: str) -> None:
    running, runs = _start(tmp_path / place), RunsUnderWay(tmp_path)
    (look,) = runs.looks(0.0)
    assert say_line(look).startswith(f"{TITLE}: time ")
    assert "gate not applicable; native 4 of 4 nodes; cloud routes 8 of 8" in say_line(look)
    assert look.worst
    running.write_final({}, (), (), ())
    assert runs.looks(1.0) == []


def test_a_run_that_writes_nothing_more_is_not_shown(tmp_path: Path) -> None:
    _start(tmp_path / "ungated-1")
    runs = RunsUnderWay(tmp_path)
    assert [len(runs.looks(now_s)) for now_s in (0.0, SILENCE_S - 1, SILENCE_S)] == [1, 1, 0]


def test_the_look_is_drawn_within_the_width_of_the_terminal(tmp_path: Path) -> None:
    _start(tmp_path / "ungated-1")
    lines = draw_looks(RunsUnderWay(tmp_path).looks(0.0), 80)
    assert any("8 of 8" in line for line in lines)
    assert any("probes" in line and "█" in line for line in lines), "the sparkline of a flow"


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        (24, "\x1b[J\x1bD\x1bD\x1b[2A\x1b7\r\none\r\ntwo\x1b8"),
        (3, "\x1b[J\x1bD\x1b[1A\x1b7\r\none\x1b8"),
        (2, "\x1b[J"),
    ],
)
def test_what_is_drawn_fits_the_screen_and_leaves_the_cursor_where_it_was(rows: int, drawn: str) -> None:
    assert place_below(["one", "two"], rows) == drawn


def test_without_a_terminal_it_prints_lines_until_its_input_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _start(tmp_path / "ungated-1")
    reading, writing = os.pipe()

    class Output(io.StringIO):
        def flush(self) -> None:
            os.close(writing)

    output = Output()
    monkeypatch.setattr(live, "PLAIN_PERIOD_S", 0.0)
    monkeypatch.setattr(sys, "argv", ["live", str(tmp_path), "\n"])
    monkeypatch.setattr(sys, "stdout", output)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        live.main()
    assert output.getvalue().startswith(f"\n{TITLE}: time ")
    assert output.getvalue().count("\n") == 2


def test_it_ends_with_what_it_stands_beside(tmp_path: Path) -> None:
    with (tmp_path / "shown").open("w", encoding="utf-8") as stream:
        view = LiveView(tmp_path, stream)
        process = view._process
        assert isinstance(process, subprocess.Popen)
        assert process.poll() is None
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
        view.close()
        assert process.returncode is not None
        view.close()


def test_a_stream_of_memory_shows_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    view = LiveView(tmp_path, stream)
    view.erase()
    view.close()
    assert stream.getvalue() == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("name", "expected"), [("xterm", True), ("dumb", False), (None, False)])
def test_it_draws_where_the_terminal_knows_how(name: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a column of the table
    monkeypatch.delenv("TERM", raising=False)
    if name is not None:
        monkeypatch.setenv("TERM", name)
    assert (is_drawable(_Terminal()), is_drawable(io.StringIO())) == (expected, False)

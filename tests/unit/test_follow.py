"""A run is followed from its files while it lasts and when it is stored, and neither view judges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands.live import PATIENCE_S, PERIOD_S, follow
from hitless.errors import UsageError
from hitless.events import Event
from hitless.records import SENDER_ROW
from hitless.store import RunStore, write_json
from hitless.words import SECOND, Arm, Mode, Nanoseconds
from probes.recording import SenderTable
from reports.live import COLUMNS, LiveRun, say_line
from tests.clocks import JumpingClock
from tests.unit.comparisons import realistic
from tests.unit.test_cut_records import store


def _never(_seconds: float) -> None:
    raise AssertionError("what is stored needs no waiting")


def test_a_stored_run_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(store(tmp_path / "ungated-1", Arm.UNGATED), _never)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("plain-switch UNGATED trial 1: time ")
    assert "; gate not applicable; native 4 of 4 nodes; cloud routes 8 of 8; " in line
    assert "; lost so far 356 of 6,000; worst node-a" in line


def test_the_runs_of_a_stored_comparison_follow_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, arm in (("ungated-1", Arm.UNGATED), ("gated-1", Arm.GATED)):
        store(tmp_path / name, arm)
    write_json(tmp_path / "verdict.json", {})
    follow(tmp_path, _never)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "plain-switch UNGATED trial 1",
        "plain-switch GATED trial 1",
    ]


def test_a_run_is_followed_while_it_lasts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = realistic(Arm.UNGATED, 1)
    running = RunStore(tmp_path / "run", JumpingClock())
    running.write_header(known.header)
    running.events.record("run.started")
    flows = len(np.unique(known.records.sender["flow"]))
    table = SenderTable(running.agents_directory / "all.sender", flows, 500, {})
    ticks = known.records.sender.reshape(flows, 500).T

    def live() -> Iterator[None]:
        """Go on by half a second of the run each time."""
        yield
        running.write_cluster(known.facts, known.flows, known.counters_before)
        yield
        for first in range(0, 500, 100):
            table.ticks[first : first + 100] = ticks[first : first + 100]
            until = int(ticks[first + 99]["send_began_ns"].max())
            since = int(ticks[first - 1]["send_began_ns"].max()) if first else 0
            for event in known.events:
                if since < event.t_ns <= until and event.name != "run.started":
                    running.events.record(event.name, t_ns=event.t_ns, **event.facts)
            yield
        running.write_records(known.records)
        running.write_final({}, (), (), ())
        running.close()
        yield

    steps = live()
    follow(tmp_path / "run", lambda _seconds: next(steps))
    lines = capsys.readouterr().out.splitlines()
    assert "lost in the last second not known yet" in lines[0]
    assert "native 0 of 0 nodes" in lines[0]
    told = [line.split("lost so far ")[1].split(";")[0] for line in lines]
    offered = [int(one.split(" of ")[1].replace(",", "")) for one in told]
    assert offered == sorted(offered)
    assert 0 < offered[-3] < 6000, "probes whose answer may still come are not counted"
    assert told[-1] == "356 of 6,000"


def test_a_run_that_writes_nothing_more_is_called_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, waited = realistic(Arm.GATED, 1), list[float]()
    stopped = RunStore(tmp_path / "run", JumpingClock())
    stopped.write_header(known.header)
    stopped.write_cluster(known.facts, known.flows, {})
    stopped.events.record("run.started")
    stopped.close()
    follow(tmp_path / "run", waited.append)
    assert sum(waited) == pytest.approx(PATIENCE_S, abs=2 * PERIOD_S)
    assert capsys.readouterr().err == (
        f"hitless: {tmp_path / 'run'}: nothing was written for 600 s; the run was stopped before its end\n"
    )


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the folder of a comparison or of one run"):
        follow(tmp_path / "nowhere", _never)


def test_a_sparkline_shows_when_a_flow_lost() -> None:
    known = realistic(Arm.GATED, 1)
    run = LiveRun(header=known.header, facts=known.facts, flows=known.flows)
    rows = np.zeros(100, SENDER_ROW)
    rows["flow"], rows["received"] = 1, 1
    rows["send_began_ns"] = np.arange(100) * SECOND // 10
    rows["received"][50:60] = -1
    run.feed_probes(rows)
    (worst,) = run.look().worst
    assert (worst[0], worst[1], len(worst[2])) == (known.flows[0].label, 10, COLUMNS)
    assert (worst[2][: COLUMNS // 2].strip(), worst[2][COLUMNS // 2 :].rstrip()) == ("", "█▇▂")


def test_modes_and_routes_follow_the_events() -> None:
    known = realistic(Arm.GATED, 1)
    run = LiveRun(header=known.header, facts=known.facts, flows=known.flows)
    opened = next(event.t_ns for event in known.events if event.name == "gate.opened")
    run.feed_events(event for event in known.events if event.t_ns < opened)
    assert "gate holds, 1 node missing; native 0 of 4 nodes; cloud routes 8 of 8" in say_line(run.look())
    run.feed_events(event for event in known.events if event.t_ns >= opened)
    assert "native 4 of 4 nodes" in say_line(run.look())


def test_a_gate_that_holds_without_naming_the_nodes_is_shown() -> None:
    """A released extension says that it waits, not for which nodes."""
    known = realistic(Arm.GATED, 1)
    run = LiveRun(header=known.header, facts=known.facts, flows=known.flows)
    held = {"missing": None, "error": "waiting", "retry_ns": None}
    run.feed_events([Event(t_ns=Nanoseconds(0), name="gate.held", facts=held)])
    assert "gate holds; " in say_line(run.look())


def test_routes_that_a_native_run_starts_with_are_counted_until_a_fault_takes_one() -> None:
    known = realistic(Arm.GATED, 1)
    header = replace(known.header, start_mode=Mode.NATIVE)
    run = LiveRun(header=header, facts=known.facts, flows=known.flows)
    assert "cloud routes 8 of 8" in say_line(run.look())
    lost = {"fault": "node-route-lost", "options": {"zone": "a", "node": "node-b1"}}
    run.feed_events([Event(t_ns=Nanoseconds(1), name="fault.injected", facts=lost)])
    assert "cloud routes 7 of 8" in say_line(run.look())
    run.feed_events([Event(t_ns=Nanoseconds(2), name="fault.cured", facts=lost)])
    assert "cloud routes 8 of 8" in say_line(run.look())

"""What every Load must do: the conformance suite of the port, with real requests.

A test module takes the suite in by subclassing `LoadConformance` and giving three fixtures: `load`, an implementation that was
never started and is stopped afterwards; `spec`, a load of one client at least, whose servers answer; and `clock`, whose epoch
the processes are told.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hitless.clock import RunClock, wait_until
from hitless.errors import BugError
from hitless.load import Load, LoadSpec, RequestOutcome

LIVE_S = 60.0


def wait_live(load: Load, clock: RunClock) -> None:
    wait_until(load.is_live, timeout_s=LIVE_S, poll_s=0.01, unmet="not every user was answered", clock=clock)


class LoadConformance:
    def test_before_it_starts_it_is_not_live_has_no_records_and_may_be_stopped(self, load: Load) -> None:
        assert not load.is_live()
        load.stop()
        with pytest.raises(BugError):
            load.collect()

    def test_every_user_is_answered_and_the_records_come_home(
        self, load: Load, spec: LoadSpec, clock: RunClock, tmp_path: Path
    ) -> None:
        began_ns = clock.now_ns()
        load.start(spec, tmp_path / "run", clock.epoch_ns)
        with pytest.raises(BugError):
            load.start(spec, tmp_path / "again", clock.epoch_ns)
        wait_live(load, clock)
        load.stop()
        load.stop()
        records, ended_ns = load.collect(), clock.now_ns()
        rows = records.rows
        assert records.spec == spec
        assert all(report.finished for report in records.reports)
        assert {(row["client"], row["user"]) for row in rows[rows["outcome"] == RequestOutcome.ANSWERED]} == {
            (client, user) for client in range(len(spec.clients)) for user in range(spec.users // len(spec.clients))
        }
        # All of it on the run clock, in the order in which it began.
        assert rows["began"].tolist() == sorted(rows["began"].tolist())
        assert began_ns <= rows["due"].min()
        assert (rows["due"] <= rows["began"]).all()
        assert (rows["began"] <= rows["ended"]).all()
        assert rows["ended"].max() <= ended_ns

    def test_it_may_be_started_again_and_forgets_the_first_load(
        self, load: Load, spec: LoadSpec, clock: RunClock, tmp_path: Path
    ) -> None:
        load.start(spec, tmp_path / "first", clock.epoch_ns)
        load.stop()
        second_ns = clock.now_ns()
        load.start(spec, tmp_path / "second", clock.epoch_ns)
        wait_live(load, clock)
        load.stop()
        assert (load.collect().rows["due"] >= second_ns).all()
